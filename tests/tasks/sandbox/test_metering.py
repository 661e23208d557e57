"""Measuring days: real children, and bounds that follow from what they do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.runs.runs import get_run, outcome_of
from pilotline.tasks.sandbox.metering import look_at
from pilotline.tasks.score.job import Job
from tests.support.tasks.calls import Score

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)

# Its child uses half a second of CPU and holds 100 MiB until its input ends.
BUSY = """
import subprocess, sys
work = '''
import sys, time
held = b"x" * (100 << 20)
while time.process_time() < 0.5:
    pass
print("ready", flush=True)
sys.stdin.read()
'''
subprocess.run([sys.executable, "-c", work])
"""
MODEL = """
import os, signal, time
def load(folder):
    return None
def predict(model, data):
    until = time.process_time() + 1.5
    while time.process_time() < until:
        pass
"""
KILLED = MODEL + "    os.kill(os.getpid(), signal.SIGKILL)\n"
LIES = MODEL + (
    "    import __main__, pandas\n"
    "    __main__._usage = lambda: {'cpu_s': 9e8, 'peak_mib': 9e8}\n"
    "    return pandas.DataFrame({'probability': [0.5] * len(data)}, index=data.index)\n"
)


def used_by(registry: Registry, run_id: str) -> dict[str, Any]:
    """Return what a run's outcome says it used."""
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, run_id))
    assert outcome is not None
    found: dict[str, Any] = json.loads(outcome.resources)
    return found


def test_a_look_counts_descendants() -> None:
    command, pipe = [sys.executable, "-c", BUSY], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        look = look_at(process.pid)
        process.communicate()
    assert look is not None
    assert look.cpu_s >= 0.45  # ticks are cut off
    assert look.peak_mib >= 100


def test_there_is_nothing_to_see_of_a_process_that_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert look_at(process.pid) is None


def test_a_run_records_what_parent_and_child_used(registry: Registry, score: Score) -> None:
    (done,) = score(DAY)
    used = used_by(registry, done.run_id)
    assert used == done.resources
    assert used["child_measured_by"] == "kernel"
    cores = os.cpu_count() or 1
    for name in ("parent_cpu_s", "child_cpu_s"):
        assert 0 < used[name] <= used["wall_s"] * cores + 0.1
    assert used["child_peak_mib"] > 50  # numpy, pandas and scikit-learn are more
    assert (used["bytes_in"] > 0, used["bytes_out"] > 0) == (True, True)


def test_a_day_scored_after_another_counts_only_its_own(score: Score, shadow_job: Job) -> None:
    first, second = score(DAY, NEXT)
    (alone,) = score(NEXT, job=shadow_job)
    one, two, again = (result.resources or {} for result in (first, second, alone))
    for name in ("bytes_in", "bytes_out"):
        assert two[name] == again[name]
    assert two["child_cpu_s"] < one["child_cpu_s"]  # which bears the imports


def test_a_run_that_was_killed_records_what_it_used(
    registry: Registry, score: Score, change_model: Callable[[str], Job]
) -> None:
    (done,) = score(DAY, job=change_model(KILLED))
    assert done.state == "failed"
    used = used_by(registry, done.run_id)
    assert used["child_cpu_s"] >= 1  # 1.5, less what it used after the last look
    assert used["wall_s"] >= 1.5


def test_a_child_s_own_word_does_not_count_where_the_kernel_tells(
    registry: Registry, score: Score, change_model: Callable[[str], Job]
) -> None:
    (done,) = score(DAY, job=change_model(LIES))
    assert done.state == "succeeded"
    used = used_by(registry, done.run_id)
    assert 1.4 <= used["child_cpu_s"] < 1000
    assert used["child_peak_mib"] < 10_000
