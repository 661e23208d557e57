"""The command rollback: the champion before is champion again."""

import getpass
from dataclasses import asdict
from datetime import date

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.run.telling import deliver_due
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import deciding_options
from pilotline.flows.server.at_server import announce
from pilotline.registry.gates import Presence, shown_partitions
from pilotline.registry.record import get_version
from pilotline.registry.runs import PRODUCTION
from pilotline.tasks.decide import roll_back
from pilotline.tasks.home import Home


@click.command()
@click.argument("model")
@deciding_options
def rollback(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Make the champion before the present one champion again."""
    home, who = current_home(), by or getpass.getuser()
    announce(home)
    reign = roll_back(home, model, reason, who, Presence(who, code) if code else None)
    deliver_due()
    if as_json:
        print_json(asdict(reign))
        return
    out.print(f"{model} {reign.number} is champion again, no longer {reign.previous}.")
    days = _days_of(home, model, str(reign.previous))
    if not days:
        out.print(f"Nothing to score again: no production day shows {reign.previous}.")
        return
    span = f"--start {days[0]} --end {days[-1]}"
    out.print(f"Next: pilotline backfill {model} {span} --using champion --plan", markup=False)


def _days_of(home: Home, model: str, number: str) -> list[date]:
    """Return the days of production of which readers see predictions of a version."""
    with home.open_registry() as registry, registry.read() as session:
        shown = shown_partitions(session, get_version(session, model, number))
    return [day for variant, day, _ in shown if variant == PRODUCTION]
