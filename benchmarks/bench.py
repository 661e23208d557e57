"""Measure what the README claims, on this machine, and print it as a table.

Everything happens in a temporary home. Limits are the project's own; ratios compare with what a
user would write by hand, in the same run, because absolute times on a shared machine wander.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
PILOTLINE = Path(sys.executable).parent / "pilotline"
REPEATS = 5
BACKFILL = ("2013-03-01", "2013-03-28")  # days the champion never saw


@dataclass(frozen=True)
class Row:
    """One measure."""

    what: str
    found: str
    limit: str
    within: bool | None  # None: reported, not limited


def main() -> None:
    """Measure everything and print the table."""
    say = Console(stderr=True).print
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        home = Path(folder) / "home"
        rows = []
        for what, measure in (
            ("demo", measure_demo),
            ("commands", measure_commands),
            ("environment", measure_environment),
            ("backfill", measure_backfill),
        ):
            say(f"measuring {what} ...")
            rows += measure(home)
    print_table(rows)


def print_table(rows: list[Row]) -> None:
    """Print what was measured."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("measure", "found", "limit", "within"):
        table.add_column(name, overflow="fold")
    for row in rows:
        within = "-" if row.within is None else ("yes" if row.within else "NO")
        table.add_row(row.what, row.found, row.limit, within)
    Console(width=110).print(table)


def measure_demo(home: Path) -> list[Row]:
    """The whole lifecycle on a fresh home, then once more."""
    first, peak = run_watched(home, "demo", "--json")
    second, _ = run_watched(home, "demo", "--json")
    return [
        Row("demo, fresh home", f"{first:.0f} s", "150 s", first <= 150),
        Row("demo, largest process", f"{peak / 1024:.2f} GB", "1.5 GB", peak <= 1536),
        Row("demo, second time", f"{second:.0f} s", "-", None),
    ]


def measure_commands(home: Path) -> list[Row]:
    """Commands a person waits for."""
    rows = []
    for words, limit in ((["--help"], 0.2), (["models"], 0.6)):
        seconds = median(partial(run_command, home, *words))
        name = f"pilotline {' '.join(words)}, warm"
        rows.append(Row(name, f"{seconds:.2f} s", f"{limit} s", seconds <= limit))
    return rows


def measure_environment(home: Path) -> list[Row]:
    """A transient environment out of the warm cache."""
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from pilotline.tasks.sandbox.environments import built_environment\n"
        "lock = Path('lab/models/flight-delay/requirements.lock').read_bytes()\n"
        f"for n in range({REPEATS}):\n"
        "    with built_environment(Path(sys.argv[1]), 'flight-delay', lock) as built:\n"
        "        print(json.dumps([built.build_s, built.origin]))\n"
    )
    out = run_python(home, script, str(home / "scratch"))
    builds = [json.loads(line)[0] for line in out.splitlines()]
    seconds = statistics.median(builds)
    return [Row("environment, warm build", f"{seconds:.2f} s", "0.5 s", seconds <= 0.5)]


def measure_backfill(home: Path) -> list[Row]:
    """28 days of predictions: ours, and a loop with the model in its own process."""
    rows = []
    run_command(home, "ingest", "flights", "--start", BACKFILL[0], "--end", BACKFILL[1])
    script = (
        "import sys, time\n"
        "from datetime import date\n"
        "from pilotline.tasks.home import find_home\n"
        "from pilotline.tasks.score.steps import make_plan, run_plan\n"
        "import os, pathlib\n"
        "home = find_home(os.environ, pathlib.Path.cwd())\n"
        "start, end = map(date.fromisoformat, sys.argv[1:])\n"
        "plan = make_plan.fn(home, 'flight-delay', start, end, 'champion')\n"
        "began = time.perf_counter()\n"
        "done = run_plan.fn(home, 'flight-delay', plan)\n"
        "assert len(done) == 28 and all(day.state == 'succeeded' for day in done)\n"
        "print((time.perf_counter() - began) / len(done))\n"
    )
    ours = float(run_python(home, script, *BACKFILL))
    by_hand = float(run_python(home, (ROOT / "benchmarks" / "by_hand.py").read_text(), *BACKFILL))
    rows.append(
        Row("backfill of 28 days, a day", f"{ours:.3f} s", "0.6 s", ours <= 0.6),
    )
    ratio = f"{ours / by_hand:.1f} x"
    rows.append(Row("  beside a loop by hand, unchecked, in process", ratio, "-", None))
    return rows


def run_watched(home: Path, *words: str) -> tuple[float, float]:
    """Run a command; return its seconds and the peak of its largest process in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [PILOTLINE, *words],
        env=environment(home),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status, peaks = watch_to_end(process)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"pilotline {' '.join(words)} failed with status {status}")
    return seconds, max(peaks)


def watch_to_end(process: "subprocess.Popen[bytes]") -> tuple[int, list[float]]:
    """Return the status of a process and the peaks in MiB of it and all that it started."""
    peaks: dict[int, float] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, peaks, stop))
    watcher.start()
    status = process.wait()
    stop.set()
    watcher.join()
    return status, list(peaks.values())


def watch(root: int, peaks: dict[int, float], stop: threading.Event) -> None:
    """Note the peak memory of every descendant of ``root``, as the kernel counts it."""
    while not stop.wait(0.1):
        for pid in descendants(root):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM:"):
                    peaks[pid] = max(peaks.get(pid, 0.0), int(line.split()[1]) / 1024)


def descendants(root: int) -> list[int]:
    """Return ``root`` and every process below it."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def run_command(home: Path, *words: str) -> float:
    """Return the seconds a command takes."""
    began = time.perf_counter()
    subprocess.run(
        [PILOTLINE, *words], env=environment(home), cwd=ROOT, capture_output=True, check=True
    )
    return time.perf_counter() - began


def run_python(home: Path, script: str, *words: str) -> str:
    """Return what a script prints, in a process of its own."""
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(
        command, env=environment(home), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def median(measure: Callable[[], float]) -> float:
    """Return the median of a few measures after one that warms up."""
    measure()
    return statistics.median(measure() for _ in range(REPEATS))


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a command in ``home``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PILOTLINE_"))}
    return {**kept, "PILOTLINE_HOME": str(home), "DO_NOT_TRACK": "1"}


if __name__ == "__main__":
    if shutil.which(str(PILOTLINE)) is None:
        raise SystemExit("pilotline is not installed here; run 'make setup' first.")
    main()
