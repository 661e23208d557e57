"""The command history: who was champion when."""

from datetime import datetime

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json, print_table
from pilotline.flows.screen.options import Moment, json_option, typed
from pilotline.flows.screen.text import local, show
from pilotline.registry.form import NoChampionError
from pilotline.tasks.explain import show_history


@click.command()
@click.argument("model")
@click.option("--at", type=Moment(), help="Who was champion at that time.")
@click.option("--known-at", type=Moment(), help="As the registry knew it then.")
@json_option
def history(model: str, at: datetime | None, known_at: datetime | None, as_json: bool) -> None:
    """Say which version of MODEL was champion when, and who put it there.

    TIME is such as 2026-11-21T09:30, or as it is printed here; a day alone means its end.
    """
    with current_home().open_registry() as registry:
        try:
            found = show_history(registry, model, at, known_at)
        except NoChampionError as err:
            known = show_history(registry, model, None, known_at)
            first = min(known, key=lambda reign: str(reign["effective_from"]), default=None)
            began = f"{first['version']}, from {local(first['effective_from'])}" if first else ""
            raise NoChampionError(model, typed("at") if at else "", began) from err
    if as_json:
        print_json(found)
        return
    if not found:
        then = f" that was known at {show(known_at)}" if known_at else ""
        out.print(f"No promotion of {model} is on record{then}.", markup=False)
        return
    rows = [
        (
            reign["version"] + _since(reign["revoked_since"]),
            local(reign["effective_from"]) + (" (backdated)" if reign["backdated"] else ""),
            reign["previous"],
            reign["kind"] + (f": {reign['reason']}" if reign["reason"] else ""),
            ", ".join(f"{a['gate']}: {a['by']} ({a['identity']})" for a in reign["approvals"]),
            reign["digest"][:12],
        )
        for reign in found
    ]
    columns = ["champion", "from", "before", "how", "approved by", "digest"]
    print_table(f"Champions of {model}", columns, rows)


def _since(revoked: str | None) -> str:
    return f" (revoked since {local(revoked)})" if revoked else ""
