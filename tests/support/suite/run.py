"""Run a tier of the tests: the passes it consists of, what they cost, and what was slow.

``python -m tests.support.suite.run TIER [--write-budgets] [pytest's own words]``. Files that wait
for processes run six at a time after those that compute, of which one more runs than there are
cores: somebody always waits for a child or a disk.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.places import TESTS
from tests.support.servers.once import SHARED
from tests.support.suite import budgets
from tests.support.suite.cpu_time import RECORDS, adopt_orphans, descendants
from tests.support.suite.tiers import Tier
from tests.support.waiting import CALIBRATION, cores

LINE = "sum(range(10**8))"
WAITING_WORKERS = 6
SLOWEST = 20
MOST_AGAIN = 12  # of more it is no neighbour's fault
END_S = 60  # for pytest to end what tests started
NOTHING_RAN = 5  # pytest's exit status
STATUS_OF_SIGTERM = 143


@dataclass(frozen=True)
class Calibration:
    """How long the calibration line took, in seconds."""

    wall_s: float
    cpu_s: float


def main(words: Sequence[str]) -> int:
    """Run a tier and return the exit status."""
    if not words or words[0] not in list(Tier):
        named = repr(words[0]) if words else "nothing"
        known = ", ".join(Tier)
        print(f"{named} is not a tier. Name one: make test TIER=... ({known}).", file=sys.stderr)
        return 2
    tier, write = Tier(words[0]), "--write-budgets" in words
    own = [word for word in words[1:] if word != "--write-budgets"]
    adopt_orphans()
    signal.signal(signal.SIGTERM, _end)
    began, first = time.monotonic(), calibrate()
    print(f'python3 -c "{LINE}": {first.wall_s:.2f} s ({first.cpu_s:.2f} s of CPU)', flush=True)
    with _shared_folder() as folder:
        records = folder / "records.jsonl"
        environment = os.environ | {
            SHARED: str(folder),
            RECORDS: str(records),
            CALIBRATION: f"{first.wall_s:.2f}",
        }
        try:
            alone = tier is Tier.QUICK  # no process is started that somebody could wait for
            statuses = [_run_pass(tier, cores() + (not alone), "computes", own, environment)]
            if not alone:
                statuses.append(_run_pass(tier, WAITING_WORKERS, "waits", own, environment))
        finally:
            _end_all()  # a server's keeper notes its own seconds as it ends
        failed = join_statuses(statuses)
        facts, last = budgets.read_records(records), calibrate()
        slowness = (first.cpu_s + last.cpu_s) / 2
        _print_slowest(facts)
        if not failed and not own:  # a part of a tier says nothing of its budgets
            spent = budgets.sum_up(facts, slowness)
            if write:
                budgets.write_budgets(budgets.blend(spent, budgets.read_budgets()))
            elif tier is Tier.CI:
                failed = _hold_to_budgets(spent, slowness, folder, environment)
    took = time.monotonic() - began
    print(
        f'{tier} took {took:.0f} s; python3 -c "{LINE}" {first.wall_s:.2f} s before and '
        f"{last.wall_s:.2f} s after, so {took * 2 / (first.wall_s + last.wall_s):.0f} s where it "
        "takes one.",
        flush=True,
    )
    return failed


def join_statuses(statuses: Sequence[int]) -> int:
    """Return the exit status of passes together: that of one that failed or was killed."""
    ran = [status for status in statuses if status != NOTHING_RAN]
    return next(filter(None, ran), 0 if ran else NOTHING_RAN)


def calibrate() -> Calibration:
    """Return how long the calibration line takes now."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    sum(range(10**8))
    return Calibration(time.monotonic() - wall_s, time.process_time() - cpu_s)


def _hold_to_budgets(
    spent: budgets.Costs, slowness: float, folder: Path, environment: dict[str, str]
) -> int:
    """Return 1 where something costs more than its line allows, for a file also when run alone."""
    lines = budgets.read_budgets()
    dearer = budgets.find_dearer(spent, lines)
    print(f"Half of the files cost at least {dearer:.2f} times what is on record.", flush=True)
    excess = budgets.find_excess(spent, lines, dearer)
    again = [one.name for one in excess if one.is_file and one.name in lines.files]
    if 0 < len(again) <= MOST_AGAIN:
        print(f"Once more, as a neighbour may have been busy: {', '.join(again)}", flush=True)
        records = folder / "again.jsonl"
        paths = [str(TESTS / name) for name in again]
        command = [sys.executable, "-m", "pytest", "-q", "--tier", Tier.CI, *paths]
        done = subprocess.run(command, env=environment | {RECORDS: str(records)}, check=False)
        _end_all()
        if done.returncode:
            print("They failed when they were run once more.", flush=True)
            return 1
        alone = budgets.sum_up(budgets.read_records(records), slowness)
        files = {name: cost for name, cost in alone.files.items() if name in again}
        excess = [one for one in excess if one.name not in files]
        excess += budgets.find_excess(budgets.Costs(files, {}), lines)  # nothing ran beside them
    for one in excess:
        print(one.said, flush=True)
    return int(bool(excess))


def _run_pass(
    tier: Tier, workers: int, only: str, words: Sequence[str], environment: dict[str, str]
) -> int:
    together: list[str] = []
    if find_spec("xdist") and "no:xdist" not in " ".join(words):
        # Each worker takes the next file; in the order of conftest.py, not by number of tests.
        together = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *together]
    command += ["--tier", tier, "--only", only, *words]
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except BaseException as ended:
        if not isinstance(ended, KeyboardInterrupt):  # which the terminal sends to both
            process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        raise


@contextmanager
def _shared_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="pilotline-tests-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(STATUS_OF_SIGTERM)


def _end_all() -> None:
    """Wait for the servers' keepers, whose users are gone, then end what is left."""
    until = time.monotonic() + END_S
    while list(descendants()) and time.monotonic() < until:
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.1)
    for pid in list(descendants()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _print_slowest(facts: Sequence[dict[str, Any]]) -> None:
    tests = sorted((f for f in facts if f["kind"] == "test"), key=lambda f: -f["wall_s"])
    print(f"The {SLOWEST} slowest tests, with their file's own fixtures (seconds, CPU seconds):")
    for fact in tests[:SLOWEST]:
        print(f"{fact['wall_s']:7.1f} {fact['cpu_s']:7.1f}  {fact['id']}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
