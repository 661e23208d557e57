"""The command show: a model, or one of its versions."""

from typing import Any

import click

from pilotline.flows.commands.reading.models import say_champion
from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import out, print_facts, print_json, print_table
from pilotline.flows.screen.evidence import print_verification
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import local, show
from pilotline.registry.gates import split_reference
from pilotline.tasks.explain import show_model, show_version

SHOWN_RUNS = 7  # on a screen; --json gives all


@click.command("show")
@click.argument("text", metavar="MODEL[@REF]")
@json_option
def show_(text: str, as_json: bool) -> None:
    """Show a model, or one version: a number, an alias, ~=2.1, or as-of:DATE."""
    name, reference = split_reference(text)
    with current_home().open_registry() as registry:
        found = (
            show_model(registry, name)
            if reference is None
            else show_version(registry, name, reference)
        )
    if as_json:
        print_json(found)
    elif reference is None:
        _print_model(found)
    else:
        _print_version(found)


def _print_model(found: dict[str, Any]) -> None:
    print_facts(
        [
            *((name, found[name]) for name in ("model", "description", "owner")),
            ("champion", say_champion(found)),
        ]
    )
    rows = [
        (
            version["version"],
            version["status"],
            ", ".join(version["aliases"]) or "-",
            version["metrics"].get("roc_auc"),
            version["runs"],
            local(version["recorded_at"]),
            version["reason"],
        )
        for version in found["versions"]
    ]
    columns = ["version", "status", "aliases", "roc_auc", "runs", "registered", "number because"]
    print_table("Versions", columns, rows)


def _print_version(found: dict[str, Any]) -> None:
    verification = found["verification"]
    print_facts(
        [
            ("version", f"{found['model']} {found['version']}"),
            ("status", _say_status(found["status"], found["status_change"])),
            ("aliases", ", ".join(found["aliases"]) or "-"),
            ("digest", found["digest"]),
            ("number because", found["reason"]),
            ("author", found["author"]),
            ("registered", local(found["recorded_at"])),
            ("interpreter", f"{found['interpreter']} on {found['platform']}"),
            ("verification", _verdict(verification)),
        ]
    )
    out.print()
    out.print(show(found["notes"].strip()), markup=False)
    approvals = [
        (a["gate"], a["decision"], a["by"], a["identity"], local(a["recorded_at"]), a["comment"])
        for a in found["approvals"]
    ]
    columns = ["gate", "decision", "by", "identity", "when", "comment"]
    print_table("Decisions", columns, approvals)
    if verification:
        place = f"{verification['platform']}, isolation {verification['isolation']}"
        print_verification(f"Verification on {place}", verification)
    print_table("Metrics on the held-out days", ["metric", "value"], found["metrics"].items())
    learned = []
    for dataset, table in found["learned_from"].items():
        for use in ("train", "holdout", "joined"):
            days = sorted(day for day, p in table["partitions"].items() if p["use"] == use)
            if days:
                span = f"{days[0]} to {days[-1]}"
                learned.append((dataset, str(table["table_version"]), use, span, len(days)))
    print_table("Learned from", ["dataset", "table version", "use", "days", "count"], learned)
    latest = sorted(found["runs"], key=lambda run: run["date"])[-SHOWN_RUNS:]
    runs = [
        (run["id"], run["date"], run["variant"], run["state"], run["rows"], run["isolation"])
        for run in latest
    ]
    title = f"Runs: {len(found['runs'])}" + (f", the last {SHOWN_RUNS} days" if runs else "")
    print_table(title, ["run", "date", "variant", "state", "rows", "isolation"], runs)


def _verdict(verification: dict[str, Any] | None) -> str:
    if verification is None:
        return "not done yet"
    return "passed" if verification["passed"] else "FAILED"


def _say_status(status: str, change: dict[str, Any] | None) -> str:
    """Return a status with who gave it, when and why; approvals have a table of their own."""
    if change is None or status == "approved":
        return status
    by = f"{change['by']} ({change['identity']})"
    return f"{status} since {local(change['recorded_at'])} by {by}: {change['reason']}"
