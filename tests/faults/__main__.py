"""Try every planted fault against the tests that should find it: ``python -m tests.faults``.

The tests must pass on the sound code first. Then each fault is tried in a process of its own, which
is forked after the heavy imports and before any of ours. What no test finds is compared with
``survivors.txt``, one name a line with the reason behind it: that list may only shrink.
"""

import argparse
import gc
import importlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.planted import FOLDER, Fault, load_faults
from tests.support.servers.once import SHARED
from tests.support.waiting import CALIBRATION, slowness

SURVIVORS = FOLDER / "survivors.txt"
# Imported once for all: they take most of the second that a small test takes. They are only
# imported here, never called: what they start at their first call does not outlive a fork.
HEAVY = (
    *("alembic.command", "deltalake", "great_expectations", "hypothesis", "numpy", "pandas"),
    *("pyarrow.compute", "pyarrow.csv", "pyarrow.parquet", "scipy.stats", "sqlalchemy.orm"),
)
PYTEST = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-W", "ignore:Module already imp")
ONE_DATABASE = ("-k", "not postgresql")  # what is planted does not depend on the database
FOUND, SURVIVED = 1, 0  # exit codes of pytest: a test failed, all passed
OF_SOUND = {SURVIVED: "passed"}
OF_FAULT = {SURVIVED: "SURVIVED", FOUND: "found"}


@dataclass
class Attempt:
    """One run of pytest in a process of its own."""

    name: str
    log: Path
    code: int = -1
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0  # on the clock
    cpu_s: float = 0.0  # its own and its children's


def main() -> int:
    """Return 0 if every fault was found that is not known to survive."""
    options = _read_options()
    faults = [f for f in load_faults().values() if options.only in f.name]
    for name in HEAVY:
        importlib.import_module(name)
    # Threads that libraries start when they are imported hold no lock here (Python 3.12 warns).
    warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
    assert "pilotline" not in sys.modules, "planted too late"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    gc.freeze()  # a collection in a child would copy every page
    started = time.monotonic()
    with TemporaryDirectory(prefix="planted-") as folder:
        logs = Path(folder)
        # What all may use, such as a trained factory, is made while there is no fault.
        shared = logs / "shared"
        shared.mkdir()
        os.environ |= {SHARED: str(shared), CALIBRATION: str(slowness())}
        sound = _run_sound(faults, logs, options.at_once)
        if any(attempt.code != SURVIVED for attempt in sound):
            return _tell_unsound(sound)
        tried = _run_all([(f.name, _of_fault(f)) for f in faults], logs, options.at_once, OF_FAULT)
        broken = [a for a in tried if a.code not in (FOUND, SURVIVED)]
        for attempt in broken:
            _show(f"BROKEN: {attempt.name} (pytest ended with {attempt.code})", attempt)
    survived, found = (
        {attempt.name for attempt in tried if attempt.code == code} for code in (SURVIVED, FOUND)
    )
    problems = compare(survived, found, set(read_survivors(SURVIVORS)))
    for problem in problems:
        print(problem)
    spent = sum(attempt.cpu_s for attempt in (*sound, *tried))
    print(
        f"{len(tried)} faults: {len(found)} found, {len(survived)} survived, {len(broken)} could "
        f"not be tried; {spent:.0f} CPU s, {time.monotonic() - started:.0f} s"
    )
    return 1 if problems or broken else 0


def read_survivors(path: Path) -> dict[str, str]:
    """Return why each fault on the list survives, by its name."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    told = (line.partition(": ") for line in lines if not line.startswith("#"))
    return {name.strip(): reason.strip() for name, _, reason in told}


def compare(survived: set[str], found: set[str], known: set[str]) -> list[str]:
    """Return what is wrong: a survivor that is not known, or a known one that is found by now."""
    new = [f"SURVIVED: {name}. Write the test that finds it." for name in sorted(survived - known)]
    mended = [
        f"FOUND: {name}. It is on the list of survivors: remove its line, the list only shrinks."
        for name in sorted(known & found)
    ]
    return [*new, *mended]


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.faults", description=__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="faults named so")
    parser.add_argument("--at-once", type=int, default=2, metavar="N")
    return parser.parse_args()


def _run_sound(faults: Sequence[Fault], logs: Path, at_once: int) -> list[Attempt]:
    """Run every test that is named, once, without a fault."""
    nodes = sorted({node for fault in faults for node in fault.tests})
    files = sorted({node.partition("::")[0] for node in nodes})
    # Whole files stay together: so do the fixtures that their tests share.
    shares = [set(files[n::at_once]) for n in range(at_once)]
    parts = [[n for n in nodes if n.partition("::")[0] in share] for share in shares]
    named = [
        (f"without a fault, part {n}", [*PYTEST, *ONE_DATABASE, *part])
        for n, part in enumerate(parts, start=1)
        if part
    ]
    return _run_all(named, logs, at_once, OF_SOUND)


def _of_fault(fault: Fault) -> list[str]:
    planted = ["-p", "tests.faults.planted", "--planted", fault.name]
    return [*PYTEST, *ONE_DATABASE, *planted, *fault.tests]


def _run_all(
    named: Sequence[tuple[str, Sequence[str]]],
    logs: Path,
    at_once: int,
    words: Mapping[int, str],
) -> list[Attempt]:
    """Run pytest with each list of arguments, ``at_once`` at a time; return them in their order."""
    attempts: list[Attempt] = []
    running: dict[int, Attempt] = {}
    done = 0
    try:
        for name, arguments in named:
            if len(running) == at_once:
                done += 1
                _tell(_wait(running), words, f"{done}/{len(named)}", done == len(named))
            place = logs / f"{time.monotonic_ns()}"
            attempt = Attempt(name, place.with_suffix(".log"))
            running[_fork(attempt.log, [*arguments, f"--basetemp={place}"])] = attempt
            attempts.append(attempt)
        while running:
            done += 1
            _tell(_wait(running), words, f"{done}/{len(named)}", done == len(named))
    finally:
        for child in running:
            os.kill(child, signal.SIGTERM)
        while running:
            _wait(running)
    return attempts


def _fork(log: Path, arguments: Iterable[str]) -> int:
    """Start pytest in a child and return the child's id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        # Examples that fail because of the fault are not to be tried again without it.
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(log.with_suffix(".hypothesis"))
        opened = os.open(log, os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        code = int(pytest.main(list(arguments)))
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(running: dict[int, Attempt]) -> Attempt:
    """Return the attempt that ended next, with what came of it."""
    child, status, used = os.wait4(-1, 0)
    attempt = running.pop(child)
    attempt.code = os.waitstatus_to_exitcode(status)
    attempt.seconds = time.monotonic() - attempt.started
    attempt.cpu_s = used.ru_utime + used.ru_stime
    return attempt


def _tell(attempt: Attempt, words: Mapping[int, str], place: str, last: bool) -> None:
    """Say how far it is, on a terminal in one line that is written over."""
    word = words.get(attempt.code, f"FAILED ({attempt.code})")
    said = f"{place} {word}: {attempt.name} ({attempt.cpu_s:.1f} CPU s)"
    if sys.stdout.isatty():
        print(f"\r\x1b[K{said[:100]}", end="\n" if last else "", flush=True)
    else:
        print(said, flush=True)


def _tell_unsound(attempts: Sequence[Attempt]) -> int:
    for attempt in attempts:
        if attempt.code != SURVIVED:
            _show(f"The tests do not pass on the sound code ({attempt.name}):", attempt)
    return 1


def _show(heading: str, attempt: Attempt) -> None:
    print(heading)
    print(*attempt.log.read_text("utf-8", "replace").splitlines()[-40:], sep="\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
