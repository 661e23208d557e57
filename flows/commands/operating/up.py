"""The command up: the factory on this machine."""

import sys

import click

from pilotline.flows.factory.up import PACE, Pace, Ready, keep_up
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import err, out, print_facts, progress
from pilotline.flows.server.facts import hold_up
from pilotline.tasks.home import Home
from pilotline.tasks.lab import factory_policy
from pilotline.tasks.sandbox import NO_BOUNDARY, require_isolation


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
def up(port: int) -> None:
    """Run the factory on this machine: Prefect server and UI, worker, deployments, schedules.

    With PREFECT_API_URL set, everything but a server of its own.
    """
    run_up(port)


def run_up(port: int, pace: Pace = PACE) -> None:
    """Run the factory until Ctrl-C or SIGTERM.

    Raises:
        SettingsError: one runs already, the port is taken, or a process does not come up.
        IsolationError: this machine isolates less than the policy asks for.
    """
    home = current_home()
    home.make()
    home.require_lab()
    home.open_registry().close()
    tier = require_isolation(factory_policy(home).minimum_isolation)
    if tier.name == "C":
        err.print(f"[yellow]warning:[/] isolation tier C ({tier.why}): {NO_BOUNDARY}")
    with hold_up(home), progress("starting the factory"):
        keep_up(home, port, pace, lambda ready: _announce(home, ready))
    out.print("Stopped.")


def _announce(home: Home, ready: Ready) -> None:
    print_facts(
        [
            ("Prefect UI", ready.api_url.removesuffix("/api")),
            ("API", ready.api_url),
            ("home", str(home.root)),
            ("logs", str(home.prefect / "logs")),
            ("scheduled", f"{ready.scheduled} model{'s' * (ready.scheduled != 1)}"),
            ("ready in", f"{ready.seconds:.1f} s"),
        ]
    )
    out.print("Ctrl-C stops it; 'pilotline status' shows how it goes.")
    sys.stdout.flush()
