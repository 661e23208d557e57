"""The command line of the record: who decides and who reads, audit, search, moving."""

import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from flows.screen.options import Day, Head, json_option

# What a version's status can be (registry/versions.py, which --help must not import).
STATUSES = ("registered", "approved", "rejected", "deprecated", "revoked", "archived")
SUFFIX = re.compile(r"\.[A-Za-z]\w*")  # with a letter: a folder may be called flight-delay-1.0.0


@click.group()
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


@click.group()
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


@click.command()
@click.option("--now", "every", is_flag=True, help="Try also what was put off until later.")
@json_option
def notify(every: bool, as_json: bool) -> None:
    """Send what consumers are still to be told; what fails is due again later."""
    from flows.people_commands import send_due

    sys.exit(send_due(every, as_json))


@click.group()
def audit() -> None:
    """Check the record, print its heads, export it."""


@audit.command("verify")
@click.option("--head", type=Head(), help="A head kept elsewhere, which must still be there.")
@json_option
def audit_verify(head: str | None, as_json: bool) -> None:
    """Walk every chain, compare the present state with it, hash every blob again."""
    from flows.audit_commands import verify_registry

    sys.exit(verify_registry(head, as_json))


@audit.command("head")
@json_option
def audit_head(as_json: bool) -> None:
    """Print the last event of every chain; keep it where no administrator of this can write.

    In a pipe it is one line a chain: its name, the number of its last event, the hash of that.
    """
    from flows.audit_commands import print_heads

    print_heads(as_json)


@audit.command("export")
def audit_export() -> None:
    """Print every event as JSON lines, which a short script can verify without pilotline."""
    from flows.audit_commands import print_events

    print_events()


@click.command()
@click.option("--plan", "only_plan", is_flag=True, help="Say what it would remove, and stop.")
@click.option(
    "--grace-hours",
    type=float,
    default=24.0,
    show_default=True,
    help="Keep what is younger; at least 2.",
)
@json_option
def gc(only_plan: bool, grace_hours: float, as_json: bool) -> None:
    """Remove blobs that nothing names, and data files that no table version in use needs.

    A table's version is in use while a model version learned from it or a run read it. Files that
    a crashed writer left go too.
    """
    from flows.audit_commands import collect

    collect(only_plan, grace_hours, as_json)


@click.command()
@click.argument("dataset")
@click.option("--date", "day", type=Day(), help="Only this day's.")
@click.option(
    "--release",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check the corrected rows in this .json or .csv file and let in those that pass.",
)
@click.option(
    "--release-row",
    "numbers",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="N",
    help="Check row N of --date again as it is; again for several.",
)
@click.option("--docs", is_flag=True, help="Write the Data Docs page of --date; print its path.")
@json_option
def quarantine(
    dataset: str,
    day: date | None,
    path: Path | None,
    numbers: tuple[int, ...],
    docs: bool,
    as_json: bool,
) -> None:
    """Show the rows of DATASET set aside, and why; let corrected ones in.

    What --json prints can be corrected in place and given to --release. A row passes the same
    checks as at ingestion, with the accepted rows of its day; what does not pass stays. The day's
    source still decides: once its rows change, an ingest undoes what was released.
    """
    from flows.quarantine_commands import release_quarantined, show_quarantine, write_data_docs

    if docs:
        if day is None or path is not None or numbers or as_json:
            raise click.UsageError("Give --docs with --date, and nothing else.")
        write_data_docs(dataset, day)
        return
    if path is not None and numbers:
        raise click.UsageError("Give --release or --release-row, not both.")
    if numbers and day is None:
        raise click.UsageError("Give --date too: rows are numbered within a day.")
    if path is None and not numbers:
        show_quarantine(dataset, day, as_json)
        return
    sys.exit(release_quarantined(dataset, day, path, numbers, as_json))


@click.command()
@click.argument("model")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@json_option
def diff(model: str, before: str, after: str, as_json: bool) -> None:
    """Say what changed from version A of MODEL to version B."""
    from flows.diff_command import show_diff

    show_diff(model, before, after, as_json)


@click.command()
@click.argument("model")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new path.")
@click.option("--with-wheels", is_flag=True, help="Also the packages its environments need.")
@json_option
def export(model: str, out: Path, with_wheels: bool, as_json: bool) -> None:
    """Write MODEL with its whole history to a folder, or to a .tar or .tar.gz file."""
    if not out.name.endswith((".tar", ".tar.gz")) and SUFFIX.fullmatch(out.suffix):
        raise click.UsageError(
            f"--out {str(out)!r}: expected a name that ends in .tar or .tar.gz, or a folder's "
            "without a suffix."
        )
    from flows.moving_commands import run_export

    run_export(model, out, with_wheels, as_json)


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--by", help="Who brings it; by default the user of this machine.")
@click.option("--code", help="The one-time code on the device of --by, where the policy asks.")
@json_option
def import_(path: Path, by: str | None, code: str | None, as_json: bool) -> None:
    """Bring a model that was exported to PATH into this registry, or refuse it whole.

    Its champion comes along, on the approvals it had: where the policy asks for one-time codes,
    an enrolled approver vouches for it.
    """
    from flows.moving_commands import run_import

    run_import(path, by, code, as_json)


@click.command()
@click.argument("text", default="")
@click.option("--owner", help="Whose; the whole name.")
@click.option("--tag", "tags", multiple=True, help="Has this tag; again for several.")
@click.option(
    "--status", type=click.Choice(STATUSES, case_sensitive=False), help="Some version is this."
)
@click.option("--feature", "features", multiple=True, help="Reads this column; again for several.")
@click.option("--dataset", help="Reads this dataset (not: is judged by it).")
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


@click.command()
@click.argument("model", required=False)
@click.option(
    "--by",
    type=click.Choice(["run", "version", "model", "owner"]),
    default="version",
    show_default=True,
    help="What to add up.",
)
@click.option("--start", type=Day(), help="First day (UTC) on which runs began.")
@click.option("--end", type=Day(), help="Last such day, included.")
@click.option("--variant", help="Only this: production, shadow/1.0.1 ...")
@json_option
def costs(
    model: str | None,
    by: str,
    start: date | None,
    end: date | None,
    variant: str | None,
    as_json: bool,
) -> None:
    """Say what scoring cost, of MODEL or of all models, at the prices of costs.toml.

    A run costs its CPU-hours and its GiB-hours from claim to commit. GiB-hours are the peak memory
    of parent and child times the hours, an upper bound. Runs that failed or were superseded count
    too: their share of the cost is "for nothing".
    """
    if start and end and end < start:
        raise click.UsageError(f"{end} is before {start}. Swap --start and --end.")
    from flows.costs_command import show_costs

    show_costs(by, model, variant, start, end, as_json)


COMMANDS = (
    approvers,
    consumers,
    notify,
    audit,
    gc,
    quarantine,
    diff,
    export,
    import_,
    search,
    costs,
)
