"""The commands pause and resume: backfills that run at a Prefect server."""

from collections.abc import Sequence

import click

from pilotline.flows.factory.pausing import BackfillRun, pause_backfills, resume_backfills
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_json
from pilotline.flows.screen.options import json_option


@click.command()
@click.argument("model")
@json_option
def pause(model: str, as_json: bool) -> None:
    """Pause the running backfills of MODEL after the days they are at."""
    runs = pause_backfills(current_home(), model)
    _print(runs, "paused after the days it is at", as_json)
    if not as_json:
        out.print(f"Next: pilotline resume {model}")


@click.command()
@click.argument("model")
@json_option
def resume(model: str, as_json: bool) -> None:
    """Let the paused backfills of MODEL go on."""
    _print(resume_backfills(current_home(), model), "goes on", as_json)


def _print(runs: Sequence[BackfillRun], what: str, as_json: bool) -> None:
    if as_json:
        print_json(runs)
        return
    for run in runs:
        out.print(f"{run.name}: {what}", markup=False)
