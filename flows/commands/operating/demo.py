"""The command demo: the whole life of one model on real flights."""

import shutil
from datetime import datetime
from pathlib import Path

import click

from pilotline.flows.commands.operating.demo_report import print_report
from pilotline.flows.run.place import current_home, is_outside
from pilotline.flows.screen.console import log, print_json, tell
from pilotline.flows.screen.logs import CHAPTER
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import at_server, no_heartbeat
from pilotline.tasks.example import copy_lab, require_flights, seed_flights
from pilotline.tasks.home import Home
from pilotline.tasks.shipped import DEPLOYMENTS


@click.command()
@click.option("--shift-to-today", is_flag=True, help="Then add flights of these days, for nights.")
@json_option
def demo(shift_to_today: bool, as_json: bool) -> None:
    """Show the whole life of one model on real flights.

    Where there is no lab it begins with a copy of the example's, in the working folder.
    """
    home = find_or_begin()
    home.require_lab()
    require_flights(_source(home))
    home.open_registry().close()  # a wrong address is told before a server is started
    with at_server("seeding the example's database") as server:
        prepare_home(home)
        if home.registry_is_elsewhere:
            log.warning(
                "the demo's approvals are names only, and go into the shared registry %s",
                home.registry_shown,
            )
        log.log(CHAPTER, "1. An online database: the flights of 2013, some broken on purpose")
        seeded = seed_flights(_source(home), log.info)
        from pilotline.flows.lifecycle import lifecycle

        with no_heartbeat(server):
            summary = lifecycle(seeded)
        if shift_to_today:
            from pilotline.tasks.example import shift_flights

            found = shift_flights(_source(home), datetime.now().astimezone().date())
            log.log(
                CHAPTER,
                "Flights of these days: 2013 again, %s weeks later, %s to %s",
                found.weeks,
                found.first,
                found.last,
            )
    if as_json:
        print_json(summary)
    else:
        print_report(summary, home)


def find_or_begin() -> Home:
    """Return the home; where there is none, that of a new project in the working folder.

    Raises:
        SettingsError: no project can be begun, for want of the flights or of a folder to write.
    """
    if is_outside():
        folder = Path.cwd()
        require_flights(folder / "online.db")  # which a new project has not yet
        lab = show(copy_lab(folder))
        tell(f"No lab is above this folder: the example's was copied to {lab}.")
    return current_home()


def _source(home: Home) -> Path:
    """Return where the example's online database is; its datasets name it."""
    return home.root / "online.db"


def prepare_home(home: Home) -> None:
    """Give a new home the example's own policy, which a machine without bubblewrap can meet."""
    own = home.root / "policy.toml"
    if not own.exists():
        shutil.copyfile(DEPLOYMENTS / "policy-demo.toml", own)
