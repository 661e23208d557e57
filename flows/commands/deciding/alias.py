"""The command alias: a name that points at a version."""

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out
from pilotline.flows.server.at_server import announce
from pilotline.registry.gates import resolve
from pilotline.registry.record import get_model, remove_alias, set_alias


@click.command()
@click.argument("model")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Remove the alias instead.")
def alias(model: str, name: str, version: str | None, remove: bool) -> None:
    """Point alias NAME of MODEL at VERSION; champion is protected."""
    if remove == (version is not None):
        raise click.UsageError("Give VERSION, or --remove.")
    home = current_home()
    announce(home)
    with home.open_registry() as registry, registry.write() as session:
        if version is None:
            remove_alias(session, get_model(session, model).id, name)
            out.print(f"{model}@{name} is removed.", markup=False)
            return
        found = resolve(session, model, version)
        set_alias(session, name, found)
        out.print(f"{model}@{name} is {found.number}.", markup=False)
