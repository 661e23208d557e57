"""The command line: one command a verb, heavy imports inside the bodies."""

import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
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
        json_option,
        click.option("--comment", required=True, help="Why; it is kept."),
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


def retiring_options(command: Command) -> Command:
    """Add what rollback, deprecate, revoke and archive share."""
    for option in (
        json_option,
        click.option("--code", help="The one-time code on the device of --by."),
        click.option("--by", help="Who says so; by default the user of this machine."),
        click.option("--reason", required=True, help="Why; it is kept."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("model")
@retiring_options
def rollback(model: str, reason: str, by: str | None, code: str | None, as_json: bool) -> None:
    """Make the champion before the present one champion again."""
    from flows.retiring_commands import run_rollback

    run_rollback(model, reason, by, code, as_json)


@main.command()
@click.argument("model")
@click.argument("version")
@retiring_options
def deprecate(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Mark VERSION of MODEL as one to move off."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "deprecated", reason, by, code, as_json)


@main.command()
@click.argument("model")
@click.argument("version")
@retiring_options
def revoke(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Forbid VERSION of MODEL for good, and say what came from it."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "revoked", reason, by, code, as_json)


@main.command()
@click.argument("model")
@click.argument("version")
@retiring_options
def archive(
    model: str, version: str, reason: str, by: str | None, code: str | None, as_json: bool
) -> None:
    """Put VERSION of MODEL away; a model whose versions all are is hidden from search."""
    from flows.retiring_commands import run_retire

    run_retire(model, version, "archived", reason, by, code, as_json)


@main.command()
@click.argument("model")
@click.argument("name")
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Remove the alias instead.")
def alias(model: str, name: str, version: str | None, remove: bool) -> None:
    """Point alias NAME of MODEL at VERSION; champion is protected."""
    if remove == (version is not None):
        raise click.UsageError("Give VERSION, or --remove.")
    from flows.retiring_commands import run_alias

    run_alias(model, name, version)


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


@main.group()
def approvers() -> None:
    """Who can decide with a one-time code."""


@approvers.command("key")
def approvers_key() -> None:
    """Print a new key for PILOTLINE_APPROVAL_KEY, under which secrets are stored."""
    from registry.vault import make_key

    click.echo(make_key())


@approvers.command("add")
@click.argument("name")
@click.option("--by", help="An enrolled approver who vouches; the first needs none.")
@click.option("--code", help="The one-time code on that approver's device.")
def approvers_add(name: str, by: str | None, code: str | None) -> None:
    """Enrol NAME and show, once, what to scan with an authenticator."""
    if (by is None) != (code is None):
        raise click.UsageError("Give --by and --code together.")
    from flows.people_commands import add_approver

    add_approver(name, by, code)


@approvers.command("list")
@json_option
def approvers_list(as_json: bool) -> None:
    """List who is enrolled, and which gates the policy opens to them."""
    from flows.people_commands import show_approvers

    show_approvers(as_json)


@approvers.command("remove")
@click.argument("name")
@click.option("--by", required=True, help="An enrolled approver; NAME itself may be.")
@click.option("--code", required=True, help="The one-time code on that approver's device.")
def approvers_remove(name: str, by: str, code: str) -> None:
    """Remove NAME; what it approved and nothing used yet counts no more."""
    from flows.people_commands import drop_approver

    drop_approver(name, by, code)


@main.group()
def consumers() -> None:
    """Who reads a model's predictions and is told of changes."""


@consumers.command("add")
@click.argument("model")
@click.argument("name")
@click.option("--contact", required=True, help="name@example.org, json://HOST/PATH or env:NAME.")
@click.option("--needs", default="", help="Versions it can take, such as ~=1.2.")
def consumers_add(model: str, name: str, contact: str, needs: str) -> None:
    """Note that NAME reads the predictions of MODEL."""
    from flows.people_commands import put_consumer

    put_consumer(model, name, contact, needs)


@consumers.command("list")
@click.argument("model")
@json_option
def consumers_list(model: str, as_json: bool) -> None:
    """List the consumers of MODEL."""
    from flows.people_commands import show_consumers

    show_consumers(model, as_json)


@consumers.command("remove")
@click.argument("model")
@click.argument("name")
def consumers_remove(model: str, name: str) -> None:
    """Forget that NAME reads the predictions of MODEL."""
    from flows.people_commands import drop_consumer

    drop_consumer(model, name)


@main.command()
@click.option("--now", "every", is_flag=True, help="Try also what was put off until later.")
@json_option
def notify(every: bool, as_json: bool) -> None:
    """Send what consumers are still to be told; what fails is due again later."""
    from flows.people_commands import send_due

    sys.exit(send_due(every, as_json))


@main.group()
def audit() -> None:
    """Check the record, print its heads, export it."""


@audit.command("verify")
@click.option("--head", metavar="HASH", help="A head kept elsewhere, which must still be there.")
@json_option
def audit_verify(head: str | None, as_json: bool) -> None:
    """Walk every chain, compare the present state with it, hash every blob again."""
    from flows.audit_commands import verify_registry

    sys.exit(verify_registry(head, as_json))


@audit.command("head")
@json_option
def audit_head(as_json: bool) -> None:
    """Print the last event of every chain; keep it where no administrator of this can write."""
    from flows.audit_commands import print_heads

    print_heads(as_json)


@audit.command("export")
def audit_export() -> None:
    """Print every event as JSON lines, which a short script can verify without pilotline."""
    from flows.audit_commands import print_events

    print_events()


@main.command()
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would remove, and stop.")
@click.option("--grace-hours", type=float, default=24.0, show_default=True, help="Keep younger.")
@json_option
def gc(only_plan: bool, grace_hours: float, as_json: bool) -> None:
    """Remove blobs that nothing names any more."""
    from flows.audit_commands import collect

    collect(only_plan, grace_hours, as_json)


@main.command()
@click.argument("model")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@json_option
def diff(model: str, before: str, after: str, as_json: bool) -> None:
    """Say what changed from version A of MODEL to version B."""
    from flows.diff_command import show_diff

    show_diff(model, before, after, as_json)


@main.command()
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new path.")
@json_option
def export(model: str, out: Path, as_json: bool) -> None:
    """Write MODEL with its whole history to a folder, or to a .tar or .tar.gz file."""
    from flows.moving_commands import run_export

    run_export(model, out, as_json)


@main.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@json_option
def import_(path: Path, as_json: bool) -> None:
    """Bring a model that was exported to PATH into this registry, or refuse it whole."""
    from flows.moving_commands import run_import

    run_import(path, as_json)


@main.command()
@click.argument("text", default="")
@click.option("--owner", help="Whose; the whole name.")
@click.option("--tag", "tags", multiple=True, help="Has this tag; again for several.")
@click.option("--status", help="Some version is this: registered, approved, revoked ...")
@click.option("--feature", "features", multiple=True, help="Reads this column; again for several.")
@click.option("--dataset", help="Reads this dataset.")
@click.option("--metric", "metrics", multiple=True, help="Such as 'roc_auc>=0.6'.")
@click.option("--min-runs", type=click.IntRange(0, 1_000_000), default=0, help="In 30 days.")
@click.option("--consumer", help="Is read by this consumer.")
@click.option("--archived", is_flag=True, help="Also models of which every version is archived.")
@click.option("--sort", type=click.Choice(["name", "usage", "rank", "scored"]), default="name")
@click.option("--page", type=click.IntRange(1, 1_000_000), default=1, show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
def search(as_json: bool, metrics: tuple[str, ...], **asked: Any) -> None:
    """Find models by the beginnings of words in TEXT and by what they are, use and do."""
    from flows.search_commands import run_search

    run_search(asked, metrics, as_json)
