"""Measure ``pilotline report`` over a year of daily profiles of 21 columns.

Runs, metrics and profiles of the year are entered as scoring would leave them; then the command
runs in a process of its own, once with windows of a week and once with windows of a day.
"""

import os
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from sqlalchemy.orm import Session

from benchmarks.bench import PILOTLINE, Row, print_table
from benchmarks.wide_factory import FLOATS, INTEGERS, TEXTS, load_version, make_factory
from pilotline.registry.record.metrics import Metric, record_metric
from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.runs import Claim, Ending, claim_partition, end_run
from pilotline.tasks.home import Home
from pilotline.tasks.stats.profiles import profile_rows

START, DAYS = date(2024, 2, 1), 365
ROWS = 950  # a day has about so many, like the flights
WINDOWS = {"linear": 7, "boosting": 1}  # days, by model
METRICS = ("roc_auc", "brier", "brier_skill", "coverage")
LIMIT_S = 10
ROUNDS = 3
NOWHERE = "0" * 64  # digest of tables that nobody reads here
RESOURCES = {
    **{"wall_s": 2.0, "build_s": 0.1, "start_s": 1.0, "predict_s": 0.2},
    **{"parent_peak_mib": 500.0, "child_peak_mib": 190.0, "parent_cpu_s": 0.5, "child_cpu_s": 0.9},
}
say = Console(stderr=True).print


def main() -> None:
    """Measure everything and print the table."""
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        say("making a factory of wide rows ...")
        home = make_factory(Path(folder), WINDOWS)
        say("entering a year of runs ...")
        enter_year(home)
        rows = []
        for model in WINDOWS:
            say(f"reporting on {model} ...")
            rows.append(measure(home, model))
    print_table(rows)


def measure(home: Home, model: str) -> Row:
    """Return what the command takes, and how much it writes."""
    page = home.root / f"{model}.html"
    took = [run_report(home, model, page) for _ in range(ROUNDS)]
    seconds, size = statistics.median(took), page.stat().st_size / 1e6
    days = WINDOWS[model]
    return Row(
        f"report of a year, 21 columns, windows of {days} day{'s' if days > 1 else ''}",
        f"{seconds:.1f} s ({size:.1f} MB)",
        f"{LIMIT_S} s",
        seconds <= LIMIT_S,
    )


def run_report(home: Home, model: str, page: Path) -> float:
    """Return the seconds that the command takes, Python's start among them."""
    own = {"PILOTLINE_HOME": str(home.root), "PILOTLINE_LAB": str(home.lab)}
    began = time.perf_counter()
    done = subprocess.run(
        [PILOTLINE, "report", model, "--out", page, "--start", str(START), "--end", str(last())],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


def last() -> date:
    """Return the last day of the year."""
    return START + timedelta(days=DAYS - 1)


def enter_year(home: Home) -> None:
    """Enter a run of each model on every day, with its profile and its metrics."""
    random = np.random.default_rng(0)
    versions = [load_version(home, model).version for model in WINDOWS]
    with home.open_registry() as registry:
        for day in (START + timedelta(days=n) for n in range(DAYS)):
            rows = make_rows(random, ROWS + int(random.integers(-50, 50)))
            profile = registry.blobs.put(profile_rows(rows).encode())
            with registry.write() as session:
                record_ingest(session, describe_day(day, rows.num_rows))
                for version in versions:
                    enter_run(session, version, day, rows.num_rows, profile)
                    enter_metrics(session, version, day, random)


def make_rows(random: np.random.Generator, count: int) -> pa.Table:
    """Return rows as the factory makes them, with a prediction for each."""
    words = np.array([f"category {n}" for n in range(30)])
    columns: dict[str, Any] = {f"float{n}": random.normal(size=count) for n in range(FLOATS)}
    columns |= {f"int{n}": random.integers(0, 60, count) for n in range(INTEGERS)}
    columns |= {f"text{n}": words[random.integers(0, 30, count)] for n in range(TEXTS)}
    return pa.table(columns | {"probability": random.random(count)})


def describe_day(day: date, rows: int) -> Ingest:
    """Return the record of a day of which only the profile is read here."""
    return Ingest(
        dataset="wide",
        date=day,
        token=NOWHERE,
        partition_digest=NOWHERE,
        table_version=1,
        accepted=rows,
        quarantined=3,
    )


def enter_run(session: Session, version: ModelVersion, day: date, rows: int, profile: str) -> None:
    """Enter a run that succeeded."""
    claim = Claim("production", "wide", day, NOWHERE, 1, NOWHERE, "A", "score")
    run = claim_partition(session, version, claim)
    ending = Ending("succeeded", rows, table_version=1, profile_digest=profile)
    end_run(session, run, replace(ending, resources=RESOURCES))


def enter_metrics(
    session: Session, version: ModelVersion, day: date, random: np.random.Generator
) -> None:
    """Enter what came of the day's predictions, with intervals."""
    for name in METRICS:
        value = 0.6 + 0.1 * float(random.random())
        interval = {"low": value - 0.05, "high": value + 0.05, "basis": str(day)}
        about = {"version_id": version.id, "kind": "realized", "name": name, "value": value}
        where = {"start": day, "end": day, "variant": "production", "rows": ROWS}
        record_metric(session, Metric(**about, **where, **interval))


if __name__ == "__main__":
    main()
