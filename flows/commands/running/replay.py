"""The command replay: whether a run comes out the same from the record alone."""

from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

from pilotline.flows.run.place import current_home
from pilotline.flows.screen.console import print_facts, print_json
from pilotline.flows.screen.options import json_option
from pilotline.flows.screen.text import show
from pilotline.flows.server.at_server import flow_run

if TYPE_CHECKING:
    from pilotline.tasks.explain import Difference


@click.command()
@click.argument("run_id")
@json_option
def replay(run_id: str, as_json: bool) -> int:
    """Score a run again from the record alone and compare: 0 equal, 1 not."""
    from pilotline.tasks.explain import find_replayable

    with current_home().open_registry() as registry:
        find_replayable(registry, run_id)  # a run that cannot be is told before a server is started
    with flow_run(f"replaying {run_id}"):
        from pilotline.flows.replay import replay

        replayed = replay(run_id)
    if as_json:
        print_json(asdict(replayed, dict_factory=_finite))
        return 0 if replayed.equal else 1
    figures = replayed.figures
    facts: list[tuple[str, object]] = [
        ("run", replayed.run_id),
        ("version", f"{replayed.model} {replayed.number}"),
        ("predictions", f"{replayed.variant} {replayed.date}"),
        ("verdict", "equal, bit by bit" if replayed.equal else "NOT EQUAL"),
        ("compared with", replayed.compared_with),
        (
            "rows",
            f"{show(figures.recorded)} recorded, {show(figures.replayed)} replayed, "
            f"{show(figures.differing)} differing",
        ),
        ("largest gap", f"{figures.largest!r} between two numbers"),
        ("isolation", f"tier {replayed.isolation}"),
    ]
    if figures.first is not None:
        facts += _describe(figures.first)
    print_facts(facts)
    return 0 if replayed.equal else 1


def _describe(first: "Difference") -> list[tuple[str, object]]:
    """Return the first difference; numbers to their last digit."""
    key = ", ".join(f"{name}={value}" for name, value in first.key.items())
    return [
        ("first at", key),
        ("  column", first.column or "the whole row"),
        ("  recorded", _exact(first.recorded)),
        ("  replayed", _exact(first.replayed)),
    ]


def _finite(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dataclass's fields; JSON has no word for NaN and infinity, so they become text."""
    return {
        name: str(value) if isinstance(value, float) and not isfinite(value) else value
        for name, value in items
    }


def _exact(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
