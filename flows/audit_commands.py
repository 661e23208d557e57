"""Commands that look through the registry or clean it: audit, gc."""

import sys
from dataclasses import asdict
from datetime import timedelta

import click

from flows.run.place import current_home
from flows.screen.console import out, print_facts, print_json, print_table, progress
from flows.screen.text import write_json


def verify_registry(head: str | None, as_json: bool) -> int:
    """Audit everything; return 1 if something is wrong."""
    import logging

    from registry.audit import audit
    from registry.errors import AuditError

    log = logging.getLogger("pilotline")
    with current_home().open_registry() as registry, progress("auditing"):
        try:
            found = audit(registry, head, log.info)
        except AuditError as err:
            if not as_json:
                raise AuditError(err.chain, err.thing, err.problem, more="") from err
            print_json(
                {"sound": False, "chain": err.chain, "thing": err.thing, "problem": err.problem}
            )
            return 1
    if as_json:
        print_json({"sound": True, **asdict(found)})
        return 0
    print_facts(
        [
            ("chains", found.chains),
            ("events", found.events),
            ("versions", found.versions),
            ("blobs hashed again", found.blobs),
            ("verdict", "every chain verifies, and the present state is their fold"),
        ]
    )
    if head is None:
        out.print("Without --head HASH, kept elsewhere, a rewriting of everything is not found.")
    return 0


def print_heads(as_json: bool) -> None:
    """Print the head of every chain."""
    from registry.audit import list_heads

    with current_home().open_registry() as registry, registry.read() as session:
        heads = list_heads(session)
    if as_json:
        print_json([asdict(head) for head in heads])
        return
    rows = [(head.chain, head.seq, head.hash) for head in heads]
    if not out.is_terminal:  # for a file or another program
        for row in rows:
            out.print(*row, markup=False)
        return
    print_table("Heads", ["chain", "events", "hash of the last"], rows)


def print_events() -> None:
    """Print every event as one JSON line."""
    from registry.audit import export_events

    with current_home().open_registry() as registry, registry.read() as session:
        for event in export_events(session):
            sys.stdout.write(write_json(event) + "\n")


def collect(only_plan: bool, grace_hours: float, as_json: bool) -> None:
    """Collect garbage, or say what that would remove."""
    from registry.garbage import LEAST_GRACE, MOST_GRACE, collect_garbage
    from tasks.lake_garbage import vacuum_lake

    least, most = (bound / timedelta(hours=1) for bound in (LEAST_GRACE, MOST_GRACE))
    if not least <= grace_hours <= most:  # nor a NaN
        expected = f"expected {least:g} to {most:,.0f} hours"
        raise click.UsageError(f"--grace-hours {grace_hours:g}: {expected}.")
    grace = timedelta(hours=grace_hours)
    home = current_home()
    with home.open_registry() as registry:
        found = collect_garbage(registry, grace, only_plan=only_plan)
        tables = vacuum_lake(registry, home.lake, grace, only_plan=only_plan)
    if as_json:
        of_lake = [asdict(table) for table in tables]
        print_json({**asdict(found), "size_bytes": found.size_bytes, "lake": of_lake})
        return
    word = "would remove" if only_plan else "removed"
    mib = found.size_bytes / 2**20
    out.print(
        f"{word} {len(found.removed):,} blobs, {mib:.1f} MiB; "
        f"{found.kept:,} are in use, {found.young:,} too young."
    )
    for table in tables:
        out.print(
            f"{word} {len(table.files):,} data files, {table.size_bytes / 2**20:.1f} MiB, of table "
            f"{table.table}; {table.kept_versions:,} older versions of it are in use."
        )
