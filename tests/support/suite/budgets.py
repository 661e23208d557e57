"""What each file of tests and each session fixture may cost, in CPU seconds of the whole tree.

budgets.toml is written by ``make budgets``. Its seconds are those of a machine that runs the
calibration line in one: what a run measured is divided by what that line took at the same time.
"""

import json
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.places import TESTS

TABLE = TESTS / "budgets.toml"
FACTOR, SPARE_S = 1.5, 2.0  # what a busy neighbour or another processor may add
ONCE_FACTOR = 3.0  # of a session fixture, which is not made again alone to see who was busy
TELLING_S = 1.0  # a line of less says nothing about the machine
MOST_DEARER = 2.0  # what no machine explains: two threads of one core cost 1.6 times as much
HEADER = """\
# Written by make budgets; do not edit. Seconds of a machine that does
# python3 -c "sum(range(10**8))" in one second: cpu_s of the whole process tree, wall_s to order by.
"""


@dataclass
class Cost:
    """What a file or a session fixture costs."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass
class Costs:
    """What a run cost, or may cost."""

    files: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))
    session: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))


def read_budgets(path: Path = TABLE) -> Costs:
    """Return the budgets; none where the table was never written."""
    if not path.exists():
        return Costs()
    found = tomllib.loads(path.read_text("utf-8"))
    return Costs(
        {name: Cost(**line) for name, line in found["files"].items()},
        {name: Cost(**line) for name, line in found["session"].items()},
    )


def write_budgets(costs: Costs, path: Path = TABLE) -> None:
    """Write what a run cost as the budgets from now on."""
    lines = [HEADER]
    for title, part in (("files", costs.files), ("session", costs.session)):
        lines.append(f"[{title}]\n")
        lines += [
            f'"{name}" = {{ cpu_s = {cost.cpu_s:.1f}, wall_s = {cost.wall_s:.1f} }}\n'
            for name, cost in sorted(part.items())
        ]
    path.write_text("".join(lines), "utf-8")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the facts that the processes of a run noted."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def sum_up(records: Iterable[Mapping[str, Any]], slowness: float) -> Costs:
    """Return what a run cost, in seconds of the machine that does the calibration line in one.

    Args:
        records: what the processes of the run noted.
        slowness: of the machine over the whole run, for those that did not note it themselves.
    """
    costs = Costs()
    for fact in records:
        part = costs.session if fact["kind"] == "session" else costs.files
        cost, slow = part[fact["name"]], fact.get("slowness", slowness)
        cost.cpu_s += fact["cpu_s"] / slow
        cost.wall_s += fact.get("wall_s", 0.0) / slow
    return costs


def blend(costs: Costs, budgets: Costs) -> Costs:
    """Return the budgets after a run: a line moves only where it clearly no longer holds."""
    return Costs(
        {name: _blend(cost, budgets.files.get(name)) for name, cost in costs.files.items()},
        {name: _blend(cost, budgets.session.get(name)) for name, cost in costs.session.items()},
    )


def _blend(cost: Cost, line: Cost | None) -> Cost:
    if line is None or line.cpu_s > cost.cpu_s * FACTOR + SPARE_S:
        return cost
    return max(cost, line, key=lambda one: one.cpu_s)


@dataclass(frozen=True)
class Excess:
    """What costs more than its line allows, or has none."""

    name: str
    is_file: bool
    said: str


def find_excess(costs: Costs, budgets: Costs, dearer: float = 1.0) -> list[Excess]:
    """Return each file and session fixture that costs more than its line allows.

    Args:
        costs: what a run cost.
        budgets: what it may cost.
        dearer: how many times dearer everything was in that run.
    """
    found = []
    for is_file, spent, allowed, factor in (
        (True, costs.files, budgets.files, FACTOR),
        (False, costs.session, budgets.session, ONCE_FACTOR),
    ):
        for name, cost in sorted(spent.items()):
            line = allowed.get(name)
            what = name if is_file else f"Session fixture {name}"
            if line is None:
                if not is_file and cost.cpu_s <= SPARE_S:
                    continue  # it makes next to nothing
                said = f"{what} has no budget. Run make budgets and look at its line."
                found.append(Excess(name, is_file, said))
            elif cost.cpu_s > (limit := dearer * factor * line.cpu_s + SPARE_S):
                said = (
                    f"{what} took {cost.cpu_s:.1f} CPU s, at most {limit:.1f} are allowed "
                    f"({line.cpu_s:.1f} on record). Make it cheaper, or say why in the commit that "
                    "runs make budgets."
                )
                found.append(Excess(name, is_file, said))
    return found


def find_dearer(costs: Costs, budgets: Costs) -> float:
    """Return how many times dearer than its line half of the files were, from 1 to 2.

    The calibration line runs on one core and stays in its cache. Where two cores share what they
    are made of, or neighbours take it, everything costs more than the line says: no file's fault.
    """
    ratios = [
        cost.cpu_s / budgets.files[name].cpu_s
        for name, cost in costs.files.items()
        if name in budgets.files and budgets.files[name].cpu_s >= TELLING_S
    ]
    return min(MOST_DEARER, max(1.0, statistics.median(ratios))) if ratios else 1.0
