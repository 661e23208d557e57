"""What a tier leaves out, seen by collecting it in a process of its own."""

import os
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tests.support.tiers import read_table

TWINS = "registry/test_aliases.py"  # runs on both databases
WAITS = "tasks/test_hostile_children.py"


def collect(*words: str) -> list[str]:
    """Return the lines of what pytest would run: a file and its number of tests."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:xdist", *words],
        cwd=ROOT,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 5), done.stdout + done.stderr  # 5: nothing to run
    return [line for line in done.stdout.splitlines() if ".py" in line]


def test_the_quick_tier_runs_no_twin_on_postgresql() -> None:
    words = (f"tests/{TWINS}",)
    quick, all_of_it = collect("--tier", "quick", *words), collect("--tier", "ci", *words)
    assert quick
    assert sum_of(all_of_it) == 2 * sum_of(quick)


def sum_of(lines: list[str]) -> int:
    """Return how many tests the lines count."""
    return sum(int(line.rsplit(": ", 1)[1]) for line in lines)


@pytest.mark.parametrize(("only", "there"), [("waits", True), ("computes", False)])
def test_each_of_the_two_passes_runs_its_own_files(only: str, there: bool) -> None:
    assert read_table()[WAITS].waits
    found = collect("--tier", "ci", "--only", only, f"tests/{WAITS}", "tests/tasks/test_svg.py")
    assert any(WAITS in line for line in found) is there
    assert any("test_svg.py" in line for line in found) is not there
