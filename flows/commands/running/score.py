"""The command score: one day of a model."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import print_facts, print_json
from pilotline.flows.screen.options import Day, json_option
from pilotline.flows.server.at_server import flow_run
from pilotline.registry.gates import resolve
from pilotline.tasks.lab import load_bundle


@click.command()
@click.argument("model")
@click.option("--date", "day", type=Day(), required=True, help="The day to score.")
@click.option("--shadow", metavar="VERSION", help="Score this version beside production.")
@json_option
def score(model: str, day: date, shadow: str | None, as_json: bool) -> int:
    """Score one day of MODEL with its champion."""
    result = _find_unchanged(model, day, shadow)
    if result is None:
        with flow_run(f"scoring {model} {day}"):
            from pilotline.flows.score import score

            result = score(model, day, shadow)
    if as_json:
        print_json(asdict(result))
    else:
        facts: list[tuple[str, object]] = [
            ("day", day),
            ("state", result.state),
            ("version", f"{model} {result.scorers}"),
            ("variant", f"shadow/{result.number}" if shadow else "production"),
            ("run", result.run_id),
            ("rows", result.rows),
            ("isolation", f"tier {result.isolation}" if result.isolation else None),
        ]
        if result.reason:
            facts.append(("reason", result.reason))
        print_facts([*facts, *_describe_resources(result.resources or {})])
    return 1 if result.state == "failed" else 0


def _describe_resources(used: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return what a run used, in words with units; nothing for a day that was left as it is."""
    if not used:
        return []
    times = (
        "{wall_s:.2f} s from claim to commit, of it {start_s:.2f} s start and {predict_s:.2f} s "
        "predict; {build_s:.2f} s environment before"
    )
    memory = "{child_peak_mib:.0f} MiB child, {parent_peak_mib:.0f} MiB parent"
    return [
        ("time", times.format(**used)),
        ("memory", memory.format(**used)),
        ("data", f"{used['bytes_in']:,} bytes in, {used['bytes_out']:,} bytes out"),
    ]


def _find_unchanged(model: str, day: date, shadow: str | None) -> Any:
    """Return a day that needs no scoring, None for one that does.

    A wrong model, version or day is told here, before a server is started.
    """
    from pilotline.tasks.score import check_record, find_unchanged, plan_job, plan_production

    with current_home().open_registry() as registry:
        if not shadow:
            return find_unchanged(registry, plan_production(registry, model, ""), day)
        with registry.read() as session:
            version = resolve(session, model, shadow)
        check_record(registry, version)
        job = plan_job(load_bundle(registry, version), f"shadow/{version.number}", "")
        return find_unchanged(registry, job, day)
