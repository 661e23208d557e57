"""What each file of tests and each session fixture may cost, in CPU seconds of the whole tree.

budgets.toml is written by ``make budgets``. Its seconds are those of a machine that runs the
calibration line in one: what a run measured is divided by what that line took in the same run.
"""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).resolve().parents[1] / "budgets.toml"
FACTOR, SPARE_S = 1.5, 2.0  # what a busy neighbour or another processor may add
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
    """Return what a run cost, in seconds of the machine that does the calibration line in one."""
    costs = Costs()
    for fact in records:
        part = costs.session if fact["kind"] == "session" else costs.files
        cost = part[fact["name"]]
        cost.cpu_s += fact["cpu_s"] / slowness
        cost.wall_s += fact.get("wall_s", 0.0) / slowness
    return costs


def find_excess(costs: Costs, budgets: Costs) -> list[str]:
    """Return a sentence for each file or session fixture that costs more than its line allows."""
    found = []
    for what, spent, allowed in (
        ("", costs.files, budgets.files),
        ("Session fixture ", costs.session, budgets.session),
    ):
        for name, cost in sorted(spent.items()):
            line = allowed.get(name)
            if line is None:
                found.append(f"{what}{name} has no budget. Run make budgets and look at its line.")
            elif cost.cpu_s > (limit := FACTOR * line.cpu_s + SPARE_S):
                found.append(
                    f"{what}{name} took {cost.cpu_s:.1f} CPU s, at most {limit:.1f} are allowed "
                    f"({line.cpu_s:.1f} on record). Make it cheaper, or say why in the commit that "
                    "runs make budgets."
                )
    return found
