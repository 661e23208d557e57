"""Processes of models as the machine shows them, and models that wait for the test.

A child behind the wall can tell nobody outside where it is, but that it stopped is seen in /proc.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

# For a predict: it then goes on when the test sends SIGCONT.
STOP = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
STOPPED = "T"  # proc_pid_stat(5)
STARTED_WITHIN_S = 30.0  # an environment is built first
ENDED_WITHIN_S = 3.0


def left_over(folder: Path) -> list[str]:
    """Return the processes that have to do with a folder, by their own files."""
    return [f"{pid} {name}" for pid, name in _signs(folder)]


def require_ended(folder: Path) -> None:
    """Check that no process that has to do with ``folder`` is left after a moment."""
    wait_until(lambda: not left_over(folder), ENDED_WITHIN_S)
    assert left_over(folder) == []


def wait_for_stopped(folder: Path) -> int:
    """Return the process of a model in ``folder`` that stopped itself, once it has."""
    found: list[int] = []

    def is_stopped() -> bool:
        found.extend(pid for pid in {pid for pid, _ in _signs(folder)} if _state(pid) == STOPPED)
        return bool(found)

    if not wait_until(is_stopped, STARTED_WITHIN_S):
        pytest.fail(f"No process in {folder} stopped itself; there are {left_over(folder)}.")
    return found[0]


def _signs(folder: Path) -> Iterator[tuple[int, str]]:
    sign = os.fsencode(folder)
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        for name in ("cmdline", "environ", "mountinfo"):  # walled ones show it in mounts only
            try:
                said = (process / name).read_bytes()
            except OSError:
                continue
            if sign in said:
                yield int(process.name), name


def _state(pid: int) -> str:
    try:
        said = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    return said.rpartition(")")[2].split()[0]
