"""CPU seconds are those of the whole tree, also where a sandbox hides its children."""

import subprocess
import sys
import time

from pilotline.tasks.sandbox.walls import Tier
from tests.support.suite.cpu_time import tree_cpu_s, wait_for_orphans
from tests.support.waiting import wait_until

BURNT_S = 0.5  # at least: the kernel counts what ended in steps of 0.01 s
BURN = f"import time\nwhile time.process_time() < {BURNT_S + 0.1}: pass\n"
# Leaves at once; what it started goes on and becomes an orphan.
LEAVE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"


def test_a_sandboxed_process_counts(bubblewrap: Tier) -> None:
    before = tree_cpu_s()
    walls = ["bwrap", "--unshare-pid", "--dev-bind", "/", "/", "--proc", "/proc"]
    subprocess.run([*walls, sys.executable, "-c", BURN], check=True)
    assert BURNT_S <= tree_cpu_s() - before < BURNT_S + 2


def test_an_orphan_counts_while_it_runs_and_after_it_was_waited_for() -> None:
    before = tree_cpu_s()
    subprocess.run([sys.executable, "-c", LEAVE], check=True)
    assert wait_until(lambda: tree_cpu_s() - before >= BURNT_S, 10)
    wait_for_orphans()
    assert tree_cpu_s() - before >= BURNT_S


def test_a_process_that_its_own_code_waits_for_is_left_to_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    until = time.monotonic() + 30
    while process.returncode is None and time.monotonic() < until:
        wait_for_orphans()
        process.poll()
    assert process.returncode == 7
