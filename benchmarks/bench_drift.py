"""Measure profiles and drift beside what a user would use instead, on the flights of 2013.

Ours and theirs take turns, each in a process and an environment of its own, because absolute times
on a shared machine wander.
"""

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.bench import Row, print_table
from benchmarks.flights import load_month, load_year
from benchmarks.rivals import EVIDENTLY, NANNYML, ask, make_environment
from pilotline.tasks.stats.profiles import ProfileFold, decode_profile, merge_profiles, profile_rows

ROUNDS, FOLDS = 3, 7
MILLION, BATCH_ROWS = 1_000_000, 65_536
say = Console(stderr=True).print


def main() -> None:
    """Measure everything and print the table."""
    rows = []
    for measure in (measure_folding, measure_year, measure_drift):
        say(f"{measure.__doc__} ...")
        rows += measure()
    print_table(rows)


def measure_folding() -> list[Row]:
    """1 M rows x 20 columns in batches: our profile, and NumPy and Arrow by hand"""
    batches = make_wide().to_batches(max_chunksize=BATCH_ROWS)
    ours, by_hand = [], []
    for _ in range(FOLDS):
        ours.append(timed(lambda: fold(batches)))
        by_hand.append(timed(lambda: fold_by_hand(batches)))
    own, bare = min(ours), min(by_hand)  # a busy machine only adds
    return [
        Row("profile, 1 M rows x 20 columns", f"{own:.2f} s", "0.25 s", own <= 0.25),
        Row("  beside histogram and value_counts by hand", f"{own / bare:.2f} x", "-", None),
    ]


def make_wide() -> pa.Table:
    """Return 10 columns of floats, 5 of integers, 1 of booleans and 4 of texts."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {f"f{n}": random.normal(size=MILLION) for n in range(10)}
    columns |= {f"hour{n}": random.integers(0, 24, MILLION) for n in range(3)}
    columns |= {f"number{n}": random.integers(0, 100_000, MILLION) for n in range(2)}
    columns["late"] = random.random(MILLION) < 0.2
    names = pa.array([f"D{n:02}" for n in range(95)])
    columns |= {f"dest{n}": names.take(random.integers(0, 95, MILLION)) for n in range(4)}
    return pa.table(columns)


def fold(batches: list[pa.RecordBatch]) -> bytes:
    """Return the profile of the batches."""
    folded = ProfileFold()
    for batch in batches:
        folded.add(batch)
    return folded.profile().encode()


def fold_by_hand(batches: list[pa.RecordBatch]) -> None:
    """Count what a short script would count, between edges somebody has to know before."""
    edges = {"f": np.linspace(-6, 6, 1025), "n": np.linspace(0, 100_000, 1025)}
    for batch in batches:
        for name, values in zip(batch.schema.names, batch.columns, strict=True):
            if name[0] in edges:
                np.histogram(values.to_numpy(), edges[name[0]])
            else:
                pc.value_counts(values)


def measure_year() -> list[Row]:
    """A year of daily profiles of 16 columns, read back and merged"""
    year = load_year()
    stored = []
    for month in range(1, 13):
        flights = load_month(month)
        days = pc.unique(flights["day"]).to_pylist()
        stored += [
            profile_rows(flights.filter(pc.equal(flights["day"], day))).encode() for day in days
        ]
    began = time.perf_counter()
    merged = merge_profiles(decode_profile(data) for data in stored)
    seconds = time.perf_counter() - began
    assert merged is not None, "a year has days"
    whole = profile_rows(year.select(list(merged.columns)))
    assert merged.encode() == whole.encode(), "merging days is counting the year"
    size = sum(map(len, stored)) / len(stored) / 1024
    return [
        Row(f"{len(stored)} daily profiles merged", f"{seconds:.1f} s", "10 s", seconds <= 10),
        Row("  a day's profile, 16 columns", f"{size:.0f} KiB", "-", None),
    ]


def measure_drift() -> list[Row]:
    """Drift of 16 columns, January against July: ours, Evidently, NannyML"""
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        files = [str(write_month(Path(folder), month)) for month in (1, 7)]
        rivals = find_rivals()
        ours: list[float] = []
        ratios: dict[str, list[float]] = {name: [] for name in rivals}
        found: dict[str, Any] = {}
        for _ in range(ROUNDS):
            own = ask(Path(sys.executable), "our_side.py", *files)
            ours.append(own["seconds"])
            for name, (python, script) in rivals.items():
                found[name] = ask(python, script, *files)
                ratios[name].append(found[name]["seconds"] / own["seconds"])
    rows = [
        Row("drift of 16 columns, every measure", f"{statistics.median(ours):.3f} s", "-", None)
    ]
    for name, least in (("Evidently", 20), ("NannyML", 1)):
        if name not in rivals:
            rows.append(Row(f"  {name}", "does not install here", f"{least} x", None))
            continue
        ratio = statistics.median(ratios[name])
        title = f"  {name} {found[name]['version']} takes"
        rows.append(Row(title, f"{ratio:.0f} x as long", f"{least} x", ratio >= least))
    if "Evidently" in found:
        worst = compare_scores(found["Evidently"]["scores"], own["scores"])
        rows.append(
            Row("  largest gap to Evidently's scores", f"{worst:.0e}", "1e-9", worst <= 1e-9)
        )
    return rows


def write_month(folder: Path, month: int) -> Path:
    """Write the month's flights; return the file."""
    path = folder / f"{month}.parquet"
    pq.write_table(load_month(month), path)
    return path


def find_rivals() -> dict[str, tuple[Path, str]]:
    """Return name -> (Python, script) of the libraries that install here."""
    rivals = {}
    for name, packages in (("Evidently", EVIDENTLY), ("NannyML", NANNYML)):
        try:
            python = make_environment(name.lower(), packages)
        except CalledProcessError as err:
            say(f"{name} does not install: {err}")
            continue
        rivals[name] = (python, f"{name.lower()}_side.py")
    return rivals


def compare_scores(theirs: dict[str, tuple[str, float]], ours: dict[str, float]) -> float:
    """Return the largest gap between scores, of columns whose values are counted one by one.

    Evidently takes natural logarithms for the Jensen-Shannon distance, we binary ones, as SciPy's
    ``base=2``, NannyML and Lin (1991): a unit, like feet and metres.
    """
    profile = profile_rows(pa.concat_tables([load_month(1), load_month(7)]))
    gaps = []
    for column, (method, score) in theirs.items():
        if not is_exact(profile.columns[column]):
            continue
        if method.startswith("Wasserstein"):
            gaps.append(abs(ours[f"{column}.wasserstein"] - score))
        else:
            own = ours[f"{column}.jensen_shannon"] * math.sqrt(math.log(2))
            gaps.append(abs(own - score))
    assert len(gaps) >= 10, "most columns of the flights have few values"
    return max(gaps)


def is_exact(column: object) -> bool:
    """Tell whether a column's values are counted one by one."""
    return not getattr(column, "hashed", False) and getattr(column, "level", None) is None


def timed(call: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
