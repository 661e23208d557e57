"""A run: how its passes end together, and that one which somebody ends leaves no server behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.suite.run import join_statuses
from tests.support.waiting import wait_until

WORDS = ("ci", "tests/registry/store/test_store.py", "-k", "postgresql")


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        ([0, 0], 0),
        ([0, 1], 1),
        ([1, 0], 1),
        ([-9, 0], -9),  # of the memory's killer
        ([0, -11], -11),
        ([5, 0], 0),  # nothing of it waits
        ([5, 5], 5),
        ([5, 1], 1),
    ],
)
def test_a_pass_that_failed_or_was_killed_fails_the_run(statuses: list[int], together: int) -> None:
    assert join_statuses(statuses) == together


def named_in(text: str) -> list[int]:
    """Return the processes whose command line names ``text``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_sigterm_ends_the_tests_and_their_servers(tmp_path: Path) -> None:
    own = {name: text for name, text in os.environ.items() if not name.startswith("PILOTLINE_")}
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.support.suite.run", *WORDS],
        cwd=ROOT,
        env=own | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: named_in(f"{tmp_path}/pilotline-pg-"), 60)
    run.send_signal(signal.SIGTERM)
    run.wait()
    assert run.returncode == 143
    assert named_in(str(tmp_path)) == []
    assert list(tmp_path.glob("pilotline-*")) == []
