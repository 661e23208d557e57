"""The command line: one command a verb, heavy imports inside the bodies."""

import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Day(click.ParamType[date]):
    """A date as YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> date:
        """Return the date, or fail as wrong use."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date; expected YYYY-MM-DD, such as 2013-02-01.", param)


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601; without a zone it is the user's own, without a time the day's end."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> datetime:
        """Return the moment with its zone, or fail as wrong use."""
        if isinstance(value, datetime):
            return value
        try:
            if len(value) == len("YYYY-MM-DD"):  # a day means its end, as in as-of:DATE
                return datetime.fromisoformat(value).astimezone() + timedelta(days=1)
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f"{value!r} is no time; expected such as 2026-11-21T09:30.", param)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON value.")(command)


class Commands(click.Group):
    """Commands in the order of a model's life, with errors in words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they were written."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a refusal is one message and exit status 1."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted; what was committed stays, run it again to go on.", err=True)
            sys.exit(130)
        except Exception as err:
            if not is_refusal(err):
                raise
            click.echo(f"Error: {err}", err=True)
            sys.exit(1)


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
@json_option
def demo(as_json: bool) -> None:
    """Show the whole life of one model on real flights."""
    from flows.commands import run_demo

    run_demo(as_json)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what works on this machine: isolation, environments, database, server."""
    from flows.doctor import run_doctor

    sys.exit(run_doctor(as_json))


@main.command()
@click.argument("dataset")
@click.option("--date", "day", type=Day(), help="One day.")
@click.option("--start", type=Day(), help="First day of a range.")
@click.option("--end", type=Day(), help="Last day of a range, included.")
@json_option
def ingest(
    dataset: str, day: date | None, start: date | None, end: date | None, as_json: bool
) -> None:
    """Bring days of DATASET in from its source."""
    if (day is None) == (start is None or end is None) or (day and (start or end)):
        raise click.UsageError("Give --date, or --start and --end.")
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
        click.option("--comment", required=True, help="Why; it is kept."),
        click.option("--by", "approver", required=True, help="Who decides."),
        click.option("--gate", required=True, type=click.Choice(["review", "go-live"])),
        click.argument("version"),
        click.argument("model"),
    ):
        command = option(command)
    return command


@main.command()
@decision_options
def approve(model: str, version: str, gate: str, approver: str, comment: str) -> None:
    """Approve VERSION of MODEL at a gate."""
    from flows.commands import run_decision

    run_decision(model, version, gate, "approve", approver, comment)


@main.command()
@decision_options
def reject(model: str, version: str, gate: str, approver: str, comment: str) -> None:
    """Reject VERSION of MODEL at a gate."""
    from flows.commands import run_decision

    run_decision(model, version, gate, "reject", approver, comment)


@main.command()
@click.argument("model")
@click.argument("version")
@json_option
def release(model: str, version: str, as_json: bool) -> None:
    """Advance VERSION of MODEL towards champion as far as the decisions allow."""
    from flows.commands import run_release

    sys.exit(run_release(model, version, as_json))


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
@click.option("only_plan", "--plan", is_flag=True, help="Show what it would do, and stop.")
@json_option
def backfill(
    model: str,
    start: date,
    end: date,
    using: str,
    learned: bool,
    only_plan: bool,
    as_json: bool,
) -> None:
    """Score a range of days of MODEL: only what is missing, failed or stale."""
    if end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from flows.commands import run_backfill

    sys.exit(run_backfill(model, start, end, using, learned, only_plan, as_json))


@main.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="Judge up to this day.")
@json_option
def monitor(model: str, day: date, as_json: bool) -> None:
    """Judge MODEL in production: realized performance and drift."""
    from flows.commands import run_monitor

    run_monitor(model, day, as_json)


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
    """Say which version of MODEL was champion when, and who put it there."""
    from flows.reading import show_champions

    show_champions(model, at, known_at, as_json)


@main.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="The prediction's day.")
@click.option("--key", required=True, help="carrier=UA,flight=1018,origin=EWR, or the values.")
@json_option
def trace(model: str, day: date, key: str, as_json: bool) -> None:
    """Say where one prediction of MODEL came from."""
    from flows.reading import trace_key

    trace_key(model, day, key, as_json)
