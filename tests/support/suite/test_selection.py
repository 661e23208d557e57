"""What a tier leaves out, seen by collecting it in a process of its own."""

import os
import subprocess
import sys

import pytest

from tests.support.places import ROOT
from tests.support.suite.tiers import read_table

TWINS = "registry/record/test_aliases.py"  # runs on both databases
WAITS = "tasks/sandbox/test_hostile_children.py"


def collect(*words: str) -> list[str]:
    """Return the ids of the tests that pytest would run."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *words],
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
    assert (
        set(all_of_it) - set(quick) == {one for one in all_of_it if "[postgresql" in one} != set()
    )


@pytest.mark.parametrize(("only", "there"), [("waits", True), ("computes", False)])
def test_each_of_the_two_passes_runs_its_own_files(only: str, there: bool) -> None:
    assert read_table()[WAITS].waits
    found = collect(
        "--tier", "ci", "--only", only, f"tests/{WAITS}", "tests/tasks/report/plots/test_frame.py"
    )
    assert any(WAITS in line for line in found) is there
    assert any("test_frame.py" in line for line in found) is not there
