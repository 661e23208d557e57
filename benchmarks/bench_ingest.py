"""Measure ingestion beside what a user would write by hand, on the same days, in the same run.

A year of flights comes from SQLite and from PostgreSQL with every expectation; a large day from a
Parquet file. Each
measure is a process of its own; ours and theirs take turns, because absolute times on a shared
machine wander. ``python -m benchmarks.bench_ingest 1`` takes a day of 1 million rows instead of 5.
"""

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.bench import ROOT, Row, print_table
from benchmarks.bench_registry import postgres
from pilotline.tasks.example.flights import seed_flights
from pilotline.tasks.lab.datasets import load_dataset

YEAR = ("2013-01-01", "2013-12-31")
BIG_DAY = "2013-06-01"
ROUNDS = 3
QUERY = (
    "select *, extract(dow from flight_date)::int as weekday from flights where flight_date = :date"
)
GROUP_ROWS = 500_000  # of the large file
say = Console(stderr=True).print


def main() -> None:
    """Measure everything and print the table."""
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        root = Path(folder)
        say("writing the sources ...")
        prepare(root, millions * 1_000_000)
        rows = [*measure_year(root), *measure_postgresql(root), *measure_big_day(root, millions)]
    print_table(rows)


def prepare(root: Path, rows: int) -> None:
    """Lay out the flights of 2013, and a large invented day of them."""
    seed_flights(root / "online.db")
    datasets = root / "lab" / "datasets"
    shutil.copytree(ROOT / "lab" / "datasets" / "flights", datasets / "flights")
    shutil.copytree(ROOT / "lab" / "datasets" / "flights", datasets / "crowd")
    config = datasets / "crowd" / "dataset.toml"
    text = config.read_text().replace('name = "flights"', 'name = "crowd"')
    before, _, rest = text.partition("[source]")
    shutil.copytree(datasets / "flights", datasets / "departures")
    other = before.replace('name = "crowd"', 'name = "departures"')
    asked = f'[source]\nkind = "postgresql"\nurl = "env:FLIGHTS_URL"\nquery = """{QUERY}"""\n\n'
    declared = "[schema]" + rest.partition("[schema]")[2]
    (datasets / "departures" / "dataset.toml").write_text(other + asked + declared)
    source = '[source]\nkind = "files"\npath = "{home}/crowd/{date}.parquet"\n\n'
    config.write_text(before + source + declared)
    suite = datasets / "crowd" / "expectations.json"
    suite.write_text(suite.read_text().replace('"max_value": 2000', f'"max_value": {rows}'))
    write_crowd(root / "crowd" / f"{BIG_DAY}.parquet", load_dataset(root / "lab", "crowd"), rows)


def write_crowd(path: Path, dataset: Any, rows: int) -> None:
    """Write a day of ``rows`` flights; one in 1,000 covers no distance."""
    path.parent.mkdir()
    chance = np.random.default_rng(2013)

    def choose(values: list[str], count: int) -> pa.Array:
        return pa.array(values).take(pa.array(chance.integers(0, len(values), count)))

    with pq.ParquetWriter(path, dataset.schema) as writer:
        for first in range(0, rows, GROUP_ROWS):
            count = min(GROUP_ROWS, rows - first)
            number = np.arange(first, first + count)
            columns = {
                "flight_date": pa.repeat(pa.scalar(date.fromisoformat(BIG_DAY)), count),
                "carrier": choose(["AA", "DL", "UA"], count),
                "flight": pa.array(number),
                "origin": choose(["EWR", "JFK", "LGA"], count),
                "dest": choose(["ATL", "BOS", "LAX", "ORD", "SFO"], count),
                "tailnum": choose([f"N{n}" for n in range(4_000)], count),
                "hour": pa.array(chance.integers(0, 24, count)),
                "minute": pa.array(chance.integers(0, 60, count)),
                "distance": pa.array(np.where(number % 1_000, 700, 0)),
                "dep_delay": pa.array(chance.normal(10, 30, count)),
                "weekday": pa.repeat(pa.scalar(6), count),
            }
            writer.write_table(pa.table(columns, schema=dataset.schema))


def measure_year(root: Path) -> list[Row]:
    """A year of 365 days from SQLite, with expectations"""
    say(f"{measure_year.__doc__} ...")
    ours, hand, again = [], [], []
    for _ in range(ROUNDS):
        clean(root)
        ours.append(run_way("ours", root, "flights", *YEAR))
        again.append(run_way("ours", root, "flights", *YEAR))
        hand.append(run_way("by-hand", root, "flights", *YEAR))
    assert all(run["changed"] == 365 for run in ours)
    assert all(run["changed"] == 0 for run in again)
    assert len({run["rows"] for run in (*ours, *again, *hand)}) == 1
    own, theirs = median(ours, "seconds"), median(hand, "seconds")
    peak = max(run["peak_mib"] for run in ours)
    return [
        Row(f"{ours[0]['rows']:,} flights, 365 days", f"{own:.1f} s", "90 s", own <= 90),
        Row("  its peak memory", f"{peak:.0f} MiB", "-", None),
        Row("  by hand: read_sql, validate, write", f"{theirs:.1f} s", "-", None),
        Row("  ours beside it", f"{own / theirs:.2f} x", "1 x", own <= theirs),
        Row("  the same year again", f"{median(again, 'seconds'):.1f} s", "-", None),
    ]


def measure_postgresql(root: Path) -> list[Row]:
    """The same year from PostgreSQL"""
    say(f"{measure_postgresql.__doc__} ...")
    with postgres() as url:
        fill_postgresql(root / "online.db", url)
        found = []
        for _ in range(ROUNDS):
            clean(root)
            found.append(run_way("ours", root, "departures", *YEAR, FLIGHTS_URL=plain(url)))
    assert all(run["changed"] == 365 for run in found)
    seconds = median(found, "seconds")
    return [
        Row("the same from PostgreSQL", f"{seconds:.1f} s", "90 s", seconds <= 90),
        Row("  its peak memory", f"{max(run['peak_mib'] for run in found):.0f} MiB", "-", None),
    ]


def plain(url: str) -> str:
    """Return an address as psycopg reads it, without SQLAlchemy's driver."""
    return url.replace("+psycopg", "", 1)


def fill_postgresql(source: Path, url: str) -> None:
    """Copy the flights out of SQLite."""
    import psycopg

    with (
        closing(sqlite3.connect(source)) as flights,
        psycopg.connect(plain(url), autocommit=True) as connection,
    ):
        connection.execute(
            "create table flights (flight_date date, carrier text, flight bigint, origin text, "
            "dest text, tailnum text, hour bigint, minute bigint, distance bigint, "
            "dep_delay double precision)"
        )
        with connection.cursor().copy("copy flights from stdin") as copy:
            for row in flights.execute("select * from flights"):
                copy.write_row(row)
        connection.execute("create index on flights (flight_date)")
        connection.execute("analyze flights")


def measure_big_day(root: Path, millions: int) -> list[Row]:
    """One large day from Parquet, with expectations"""
    say(f"{measure_big_day.__doc__} ...")
    clean(root)
    found = run_way("ours", root, "crowd", BIG_DAY, BIG_DAY)
    seconds, gib = found["seconds"], found["peak_mib"] / 1024
    return [
        Row(f"one day of {millions} M rows", f"{seconds:.1f} s", "60 s", seconds <= 60),
        Row("  its peak memory", f"{gib:.2f} GiB", "3 GiB", gib <= 3),
    ]


def clean(root: Path) -> None:
    """Forget what was brought in."""
    shutil.rmtree(root / "lake", ignore_errors=True)
    for path in root.glob("registry.db*"):
        path.unlink()


def median(found: list[dict[str, Any]], name: str) -> float:
    """Return the median of one fact over all rounds."""
    return float(statistics.median(run[name] for run in found))


def run_way(
    way: str, root: Path, dataset: str, start: str, end: str, **settings: str
) -> dict[str, Any]:
    """Return what ``ingest_ways.py`` says of one way."""
    command = [sys.executable, "-m", "benchmarks.ingest_ways", way, str(root), dataset, start, end]
    quiet = {**os.environ, "GX_ANALYTICS_ENABLED": "false", **settings}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
