"""The commands audit: the record checked, its heads, its events."""

import logging
import sys
from dataclasses import asdict

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_facts, print_json, print_table, progress
from pilotline.flows.screen.options import Head, json_option
from pilotline.flows.screen.text import write_json
from pilotline.registry.audit import audit as audit_registry
from pilotline.registry.audit import export_events, list_heads
from pilotline.registry.form import AuditError


@click.group()
def audit() -> None:
    """Check the record, print its heads, export it."""


@audit.command("verify")
@click.option("--head", type=Head(), help="A head kept elsewhere, which must still be there.")
@json_option
def audit_verify(head: str | None, as_json: bool) -> int:
    """Walk every chain, compare the present state with it, hash every blob again."""
    log = logging.getLogger("pilotline")
    with current_home().open_registry() as registry, progress("auditing"):
        try:
            found = audit_registry(registry, head, log.info)
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


@audit.command("head")
@json_option
def audit_head(as_json: bool) -> None:
    """Print the last event of every chain; keep it where no administrator of this can write.

    In a pipe it is one line a chain: its name, the number of its last event, the hash of that.
    """
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


@audit.command("export")
def audit_export() -> None:
    """Print every event as JSON lines, which a short script can verify without pilotline."""
    with current_home().open_registry() as registry, registry.read() as session:
        for event in export_events(session):
            sys.stdout.write(write_json(event) + "\n")
