"""The command release: a version towards champion, as far as the decisions allow."""

from dataclasses import asdict
from datetime import datetime

import click

from pilotline.flows.commands.running.verify import check_version
from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.evidence import print_verification
from pilotline.flows.screen.options import Moment, json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import flow_run
from pilotline.registry.gates import champion_before
from pilotline.registry.record import reigns
from pilotline.tasks.explain import show_version


@click.command()
@click.argument("model")
@click.argument("version")
@click.option("--effective-from", type=Moment(), help="Count from then, if policy allows it.")
@click.option("--break-consumers", default="", metavar="REASON", help="Though it breaks some.")
@json_option
def release(
    model: str,
    version: str,
    effective_from: datetime | None,
    break_consumers: str,
    as_json: bool,
) -> int:
    """Advance VERSION of MODEL towards champion as far as the decisions allow."""
    check_version(model, version)
    with flow_run(f"releasing {model} {version}"):
        from pilotline.flows.release import release

        released = release(model, version, effective_from, break_consumers)
    if released.state == "champion":
        deliver_due()
    if as_json:
        print_json(asdict(released))
    else:
        if released.verification:
            _print_evidence(model, version)
        out.print(f"{model} {version}: {show(released.reason)}", markup=False)
        if released.command:
            out.print(f"Next: {released.command}", markup=False)
        if released.state != "champion":
            _print_way_back(model, version)
    return 0 if released.state in ("champion", "waiting") else 1


def _print_way_back(model: str, version: str) -> None:
    """Say that the champion before needs no release."""
    from pilotline.tasks.decide import asks_for_code

    home = current_home()
    with home.open_registry() as registry, registry.read() as session:
        if champion_before(session, model) != version:
            return
        present = reigns(session, model)[-1].number
    code = " --by NAME --code CODE" if asks_for_code(home, model, present) else ""
    out.print(f"It was champion before: pilotline rollback {model}{code} --reason TEXT goes back.")


def _print_evidence(model: str, version: str) -> None:
    """Print what go-live is decided on, out of the registry's record."""
    with current_home().open_registry() as registry:
        found = show_version(registry, model, version)["verification"]
    if found is not None:
        title = f"Verified on {found['platform']}, isolation {found['isolation']}"
        print_verification(title, found)
