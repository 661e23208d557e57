"""The command line: one command a verb, heavy imports inside the bodies."""

import os
import sys
from collections.abc import Callable
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click

from flows.deciding_cli import DECIDING
from flows.record_cli import COMMANDS
from flows.screen.options import Command, Day, Moment, Words, json_option, typed
from tasks.logs import note


class Commands(click.Group):
    """Commands in the order of a model's life, with errors in words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they were written."""
        return list(self.commands)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, or a group of them, whose log lines are about what it is given."""
        for one in (cmd, *(cmd.commands.values() if isinstance(cmd, click.Group) else ())):
            if one.callback is not None:
                one.callback = _noting(one.callback)
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Return what is left for the command; bytes that are no text are wrong use."""
        for word in args:
            if any("\udc80" <= character <= "\udcff" for character in word):
                raise click.UsageError(f"{word!r} is no text in UTF-8. Type it again.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a refusal is one message and exit status 1."""
        try:
            _keep_lines()
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted; what was committed stays, run it again to go on.", err=True)
            sys.exit(130)
        except Exception as err:
            if not is_refusal(err):
                raise
            _complain(str(err))
            sys.exit(1)


def _noting(act: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(act)
    def noted(*args: Any, **given: Any) -> Any:
        note(model=given.get("model"), version=given.get("version"), date=given.get("day"))
        return act(*args, **given)

    return noted


def _keep_lines() -> None:
    """Let what is logged be written as lines where PILOTLINE_LOG asks for it."""
    if os.environ.get("PILOTLINE_LOG"):  # first: it costs nothing where nobody asks
        from flows.screen.logs import log_lines, way_of

        log_lines(way_of(os.environ))


def _complain(text: str) -> None:
    from flows.screen.console import log  # names in it may come from outside
    from flows.screen.logs import lines_are_kept
    from flows.screen.text import show  # names in it may come from outside

    if lines_are_kept():
        log.error(text)
    else:
        click.echo(f"Error: {show(text)}", err=True)


def is_refusal(error: Exception) -> bool:
    """Tell whether ``error`` is one of ours, whose message says what to do."""
    from registry.errors import RegistryError
    from tasks.errors import StepError

    return isinstance(error, RegistryError | StepError)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pilotline")
def main() -> None:
    """Take a model from a folder in the lab to an approved, scored, monitored service.

    The home (registry, lake, blobs) is .pilotline beside lab/, or PILOTLINE_HOME.
    """


@main.command()
@click.option("--shift-to-today", is_flag=True, help="Then add flights of these days, for nights.")
@json_option
def demo(shift_to_today: bool, as_json: bool) -> None:
    """Show the whole life of one model on real flights."""
    from flows.commands import run_demo

    run_demo(as_json, shift_to_today)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what works on this machine: isolation, environments, database, server."""
    from flows.factory.doctor import run_doctor

    sys.exit(run_doctor(as_json))


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
def up(port: int) -> None:
    """Run the factory on this machine: Prefect server and UI, worker, deployments, schedules.

    With PREFECT_API_URL set, everything but a server of its own.
    """
    from flows.factory.up import run_up

    run_up(port)


@main.command()
@json_option
def status(as_json: bool) -> None:
    """Say how the factory is: server, worker, schedules, late runs, approvals that wait."""
    from flows.factory.status import run_status

    sys.exit(run_status(as_json))


@main.command()
@click.argument("dataset")
@click.option("--date", "day", type=Day(), help="One day.")
@click.option("--start", type=Day(), help="First day of a range.")
@click.option("--end", type=Day(), help="Last day of a range, included.")
@click.option("--new", "only_new", is_flag=True, help="From the last day that is in to yesterday.")
@json_option
def ingest(
    dataset: str,
    day: date | None,
    start: date | None,
    end: date | None,
    only_new: bool,
    as_json: bool,
) -> None:
    """Bring days of DATASET in from its source.

    The same rows again change nothing. --new goes on after the last day that is in, up to --end
    or to yesterday in the dataset's zone.
    """
    if only_new:
        if day or start:
            raise click.UsageError(
                "--new finds the first day itself: leave --date and --start out."
            )
        from flows.ingest_commands import ingest_new

        ingest_new(dataset, end, as_json)
        return
    if (day is None) == (start is None or end is None) or (day and (start or end)):
        raise click.UsageError("Give --date, or --start and --end, or --new.")
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from flows.commands import run_ingest

    first, last = (day, day) if day else (start, end)
    assert first is not None
    assert last is not None
    run_ingest(dataset, first, last, as_json)


@main.command()
@click.argument("model")
@click.option("--until", type=Day(), help="Last day it may learn from.")
@click.option("--from", "parent", help="The version it descends from.")
@click.option("--notes", default="", help="Release notes; else the list of differences.")
@json_option
def train(model: str, until: date | None, parent: str | None, notes: str, as_json: bool) -> None:
    """Train MODEL from the lab and register the version."""
    from flows.commands import run_train

    run_train(model, until, parent, notes, as_json)


def decision_options(command: Command) -> Command:
    """Add what approve and reject share."""
    for option in (
        json_option,
        click.option("--comment", type=Words(), required=True, help="Why; it is kept."),
        click.option("--code", help="The one-time code on the approver's device."),
        click.option("--by", "approver", required=True, help="Who decides."),
        click.option("--gate", required=True, type=click.Choice(["review", "go-live"])),
        click.argument("version"),
        click.argument("model"),
    ):
        command = option(command)
    return command


@main.command()
@decision_options
def approve(
    model: str,
    version: str,
    gate: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Approve VERSION of MODEL at a gate."""
    from flows.commands import run_decision

    run_decision(model, version, gate, "approve", approver, code, comment, as_json)


@main.command()
@decision_options
def reject(
    model: str,
    version: str,
    gate: str,
    approver: str,
    code: str | None,
    comment: str,
    as_json: bool,
) -> None:
    """Reject VERSION of MODEL at a gate."""
    from flows.commands import run_decision

    run_decision(model, version, gate, "reject", approver, code, comment, as_json)


@main.command()
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
) -> None:
    """Advance VERSION of MODEL towards champion as far as the decisions allow."""
    from flows.commands import run_release

    sys.exit(run_release(model, version, effective_from, break_consumers, as_json))


for command in DECIDING:  # here, as --help lists commands in the order of a model's life
    main.add_command(command)


@main.command()
@click.argument("model")
@click.argument("version")
@json_option
def verify(model: str, version: str, as_json: bool) -> None:
    """Verify VERSION of MODEL in its real environment."""
    from flows.commands import run_verify

    sys.exit(run_verify(model, version, as_json))


@main.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="The day to score.")
@click.option("--shadow", metavar="VERSION", help="Score this version beside production.")
@json_option
def score(model: str, day: date, shadow: str | None, as_json: bool) -> None:
    """Score one day of MODEL with its champion."""
    from flows.commands import run_score

    sys.exit(run_score(model, day, shadow, as_json))


@main.command()
@click.argument("model")
@click.option("--start", type=Day(), required=True, help="First day.")
@click.option("--end", type=Day(), required=True, help="Last day, included.")
@click.option("--using", required=True, metavar="champion|as-of|VERSION", help="Who scores.")
@click.option("--include-training-days", "learned", is_flag=True, help="Score those too.")
@click.option("--reason", default="", help="Why it may replace what another version made.")
@click.option("only_plan", "--plan", is_flag=True, help="Show what it would do, and stop.")
@json_option
def backfill(
    model: str,
    start: date,
    end: date,
    using: str,
    learned: bool,
    reason: str,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Score a range of days of MODEL: only what is missing, failed or stale."""
    if end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from flows.commands import run_backfill

    sys.exit(run_backfill(model, start, end, using, learned, reason, only_plan, as_json))


@main.command()
@click.argument("model")
@json_option
def pause(model: str, as_json: bool) -> None:
    """Pause the running backfills of MODEL after the days they are at."""
    from flows.factory.pausing import run_pause

    run_pause(model, as_json)


@main.command()
@click.argument("model")
@json_option
def resume(model: str, as_json: bool) -> None:
    """Let the paused backfills of MODEL go on."""
    from flows.factory.pausing import run_resume

    run_resume(model, as_json)


@main.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="Judge up to this day.")
@json_option
def monitor(model: str, day: date, as_json: bool) -> None:
    """Judge MODEL in production: realized performance, drift, challengers, staleness."""
    from flows.monitor_command import run_monitor

    run_monitor(model, day, as_json)


@main.command()
@click.argument("model")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The page's file; by default reports/MODEL.html in the home.",
)
@click.option("--start", type=Day(), help="First day of data; by default at most a year back.")
@click.option("--end", type=Day(), help="Last day, included; by default the last one scored.")
@json_option
def report(
    model: str, out: Path | None, start: date | None, end: date | None, as_json: bool
) -> None:
    """Write a page on MODEL: what is open, operations, performance, drift.

    One HTML file, which loads nothing from elsewhere. --json prints its facts, and writes the page
    only where --out names it.
    """
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from flows.report_command import run_report

    run_report(model, out, start, end, as_json)


@main.command()
@json_option
def models(as_json: bool) -> None:
    """List the registered models."""
    from flows.reading import list_models

    list_models(as_json)


@main.command()
@click.argument("reference", metavar="MODEL[@REF]")
@json_option
def show(reference: str, as_json: bool) -> None:
    """Show a model, or one version: a number, an alias, ~=2.1, or as-of:DATE."""
    from flows.reading import show_reference

    show_reference(reference, as_json)


@main.command()
@click.argument("model")
@click.option("--at", type=Moment(), help="Who was champion at that time.")
@click.option("--known-at", type=Moment(), help="As the registry knew it then.")
@json_option
def history(model: str, at: datetime | None, known_at: datetime | None, as_json: bool) -> None:
    """Say which version of MODEL was champion when, and who put it there.

    TIME is such as 2026-11-21T09:30, or as it is printed here; a day alone means its end.
    """
    from flows.reading import show_champions

    show_champions(model, at, known_at, as_json, typed("at") if at else "")


@main.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="The prediction's day.")
@click.option("--key", required=True, help="carrier=UA,flight=1018,origin=EWR, or the values.")
@json_option
def trace(model: str, day: date, key: str, as_json: bool) -> None:
    """Say where one prediction of MODEL came from."""
    from flows.reading import trace_key

    trace_key(model, day, key, as_json)


@main.command()
@click.argument("reference", metavar="REF")
@click.option("--date", "day", type=Day(), help="The day of a data version or prediction.")
@click.option("--key", help="One prediction: carrier=UA,flight=1018,origin=EWR, or the values.")
@click.option("--digest", metavar="PREFIX", help="An earlier data version of the day.")
@json_option
def lineage(
    reference: str, day: date | None, key: str | None, digest: str | None, as_json: bool
) -> None:
    """Show what REF came from and led to.

    REF is MODEL, MODEL@REF, a run's id or a DATASET with --date; MODEL with --date is the
    predictions of that day, with --key one of them. --json prints OpenLineage events.
    """
    if day is None and (key is not None or digest is not None):
        raise click.UsageError("Give --date too: --key and --digest are of one day.")
    from flows.lineage_commands import show_lineage

    show_lineage(reference, day, key, digest, as_json)


@main.command()
@click.argument("run_id")
@json_option
def replay(run_id: str, as_json: bool) -> None:
    """Score a run again from the record alone and compare: 0 equal, 1 not."""
    from flows.lineage_commands import run_replay

    sys.exit(run_replay(run_id, as_json))


for command in COMMANDS:
    main.add_command(command)
