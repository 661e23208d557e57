"""Measure scoring beside what a user would use instead, on the same rows, in the same run.

Each measure is a process of its own; ours and theirs take turns, because absolute times on a
shared machine wander. A number on the command line makes it shorter or longer:
``python -m benchmarks.bench_scoring 1`` scores 1 million rows instead of 5.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bench import ROOT, Row, print_table, watch_to_end
from benchmarks.wide_factory import MODELS, add_day, feature_names, make_factory
from pilotline.tasks.certificates import trusting
from pilotline.tasks.home import Home

SMALL, MILLION, WIDE, LONG, LONGER = (date(2024, 2, day) for day in range(1, 6))
ROUNDS = 3
MLFLOW = ROOT / ".venv" / "bench-mlflow"
LEAST_RATE = {"linear": 0.70, "boosting": 0.90}  # of the same predict in process
say = Console(stderr=True).print


def main() -> None:
    """Measure everything and print the table."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        root = Path(folder)
        say("making a factory of wide rows ...")
        home = make_factory(root)
        sizes = {SMALL: 1_000, MILLION: 1_000_000, WIDE: millions * 1_000_000}
        for day, count in sizes.items():
            add_day(home, day, count)
        rows: list[Row] = []
        for measure in (
            measure_fixed,
            measure_rates,
            measure_children,
            measure_whole,
            measure_memory,
        ):
            say(f"{measure.__doc__} ...")
            rows += measure(home, root, millions)
    print_table(rows)


def measure_fixed(home: Home, root: Path, millions: int) -> list[Row]:
    """What a run of 1,000 rows costs"""
    run_fresh(home, root, "boosting", SMALL)  # compiles the imports, once for a lock
    found = [run_fresh(home, root, "boosting", SMALL) for _ in range(ROUNDS)]
    total = statistics.median(run["total_s"] for run in found)
    parts = [
        f"{name} {statistics.median(run[key] for run in found):.2f} s"
        for name, key in (("environment", "build_s"), ("child's start", "start_s"))
    ]
    return [
        Row("fixed cost of a run, 1,000 rows", f"{total:.2f} s", "1.6 s", total <= 1.6),
        Row("  of it, partly at once", ", ".join(parts), "-", None),
    ]


def measure_rates(home: Home, root: Path, millions: int) -> list[Row]:
    """One child beside the same predict in process"""
    rows = []
    for model in MODELS:
        ratios, rates = [], []
        for _ in range(ROUNDS):
            child = run_way("child", root, model, WIDE)
            here = run_way("process", root, model, WIDE)
            ratios.append(here["seconds"] / child["seconds"])
            rates.append(child["rows"] / child["seconds"])
        ratio, least = statistics.median(ratios), LEAST_RATE[model]
        name = f"{model}, {millions} M rows: child / in process"
        found = f"{ratio:.2f} ({statistics.median(rates) / 1e3:,.0f} k rows/s)"
        rows.append(Row(name, found, f"{least:.2f}", ratio >= least))
    return rows


def measure_children(home: Home, root: Path, millions: int) -> list[Row]:
    """Two children beside one, and what profiles cost, boosting"""
    ways = ("child", "child, profiled", "two children", "two children, profiled")
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            took[way].append(run_way(way, root, "boosting", WIDE)["seconds"])
    one, profiled, two, both = (statistics.median(took[way]) for way in ways)
    cores = len(os.sched_getaffinity(0))
    limit = "1.6 x" if cores >= 4 else "-"  # on fewer cores the parent shares them
    met = one / two >= 1.6 if cores >= 4 else None
    cost = profiled / one - 1
    return [
        Row(f"two children beside one, {cores} cores", f"{one / two:.2f} x", limit, met),
        Row("  both with profiles", f"{profiled / both:.2f} x", "-", None),
        Row("profiles cost of scoring, boosting", f"{cost:+.0%}", "+10%", cost <= 0.1),
    ]


def measure_whole(home: Home, root: Path, millions: int) -> list[Row]:
    """Whole processes, 1 M rows: ours, a bare script, MLflow"""
    ours, script, mlflow, peaks = [], [], [], []
    theirs = make_mlflow(root)
    for turn in range(ROUNDS):
        ours.append(run_fresh(home, root, "boosting", MILLION))
        script.append(run_way("script", root, "boosting", MILLION))
        if turn == 0:
            seconds, peak = theirs()
            mlflow.append(seconds)
            peaks.append(peak)
    own = statistics.median(run["total_s"] for run in ours)
    bare = statistics.median(run["total_s"] for run in script)
    peak = max(run["peak_mib"] for run in ours)
    faster, share = mlflow[0] / own, peak / peaks[0]
    return [
        Row("1 M rows, whole process", f"{own:.1f} s", "-", None),
        Row("  beside a bare script", f"{own / bare:.2f} x", "1.25 x", own <= 1.25 * bare),
        Row("  MLflow with uv takes", f"{faster:.1f} x as long", "2 x", faster >= 2),
        Row("  our memory beside MLflow's", f"{share:.2f} x", "0.5 x", share <= 0.5),
    ]


def measure_memory(home: Home, root: Path, millions: int) -> list[Row]:
    """Peak memory of parent and child by the size of the day"""
    peaks = []
    for day, rows in ((LONG, 2_000_000), (LONGER, 4 * millions * 1_000_000)):
        add_day(home, day, rows)
        peaks.append(run_way("whole", root, "linear", day)["peak_mib"])
    growth = peaks[1] / peaks[0] - 1
    name = f"memory, {4 * millions} M rows beside 2 M"
    found = f"{growth:+.0%} ({peaks[0]:.0f} to {peaks[1]:.0f} MiB)"
    return [Row(name, found, "+15%", growth <= 0.15)]


def run_fresh(home: Home, root: Path, model: str, day: date) -> dict[str, Any]:
    """Score a day that shows no predictions yet: what is there already would be left as it is."""
    path = home.root / "registry.db"
    kept = root / "before.db"
    shutil.copy(path, kept)
    shutil.rmtree(str(home.lake / "predictions"), ignore_errors=True)
    try:
        return run_way("whole", root, model, day)
    finally:
        shutil.copy(kept, path)


def run_way(way: str, root: Path, model: str, day: date) -> dict[str, Any]:
    """Return what ``score_wide.py`` says of one way."""
    command = [sys.executable, "-m", "benchmarks.score_wide", way, str(root), model, str(day)]
    # One thread each, as the child has: more would compare machines, not ways.
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **one}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_mlflow(root: Path) -> Callable[[], tuple[float, float]]:
    """Return what lets MLflow predict the million rows: seconds, and peak MiB of its processes."""
    uv, python = Path(sys.executable).parent / "uv", MLFLOW / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, MLFLOW], check=True)
    lock = ROOT / "lab" / "models" / "flight-delay" / "requirements.lock"
    pins = [
        line.split(" ")[0]
        for line in lock.read_text().splitlines()
        if line.startswith(("scikit-learn==", "pandas==", "joblib=="))
    ]
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python), "mlflow", *pins]
    subprocess.run(install, env=trusting(os.environ), check=True)
    script = Path(__file__).with_name("mlflow_model.py")
    rows = root / "home" / "lake" / "datasets" / "wide" / "accepted" / f"day={MILLION}"
    names = ",".join(feature_names())
    model, csv = root / "mlflow-model", root / "rows.csv"
    made = [str(python), str(script), str(root / "boosting.joblib"), str(model), str(rows), names]
    variables = {**trusting(os.environ), "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    subprocess.run([*made, str(csv), *pins], env=variables, check=True, capture_output=True)
    predict = [str(MLFLOW / "bin" / "mlflow"), "models", "predict", "-m", str(model)]
    predict += ["-i", str(csv), "-t", "csv", "-o", str(root / "out.json"), "--env-manager", "uv"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run() -> tuple[float, float]:
        began = time.perf_counter()
        process = subprocess.Popen(
            predict,
            env={**variables, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        status, peaks = watch_to_end(process)
        seconds = time.perf_counter() - began
        if status:
            raise SystemExit(f"mlflow models predict failed with status {status}")
        return seconds, sum(sorted(peaks)[-2:])

    run()  # builds its environment; ours is warm as well
    return run


if __name__ == "__main__":
    main()
