"""Measure operating a factory: its start, a night, a year's backfill, a plan, an overview.

A factory is started in a temporary home as a user would start it, and commands run against it. A
backfill stands beside a hand-written loop of one Prefect subflow a day, in the same run, because
absolute times on a shared machine wander. ``python -m benchmarks.bench_operating 60`` backfills 60
days instead of 365.
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bench import PILOTLINE, ROOT, Row, environment, print_table, watch_to_end
from benchmarks.registry_fill import fill_registries
from pilotline.flows.server.api import PrefectApi
from pilotline.flows.server.facts import find_up
from pilotline.registry import Registry
from pilotline.registry.form.canonical import canonical_json, digest_bytes
from pilotline.registry.gates.resolution import champion
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.runs import Claim, Ending, claim_partition, end_run
from pilotline.tasks.example.flights import seed_flights
from pilotline.tasks.home import Home, find_home
from pilotline.tasks.score.plan import TO_DO

FIRST = date(2013, 1, 1)
LATER = date(2014, 1, 1)  # ten years of days that no flights are of
TEN_YEARS = 3652
NIGHT = "2013-02-01"
BESIDE = 30  # days of the hand-written loop, which takes more than a second for each
MODELS = 1000
SIGN = ("reviewer@example.org", "operations@example.org")
START_LIMIT_S = 180
ROUNDS = 3
say = Console(stderr=True).print


def main() -> None:
    """Measure everything and print the table."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    with tempfile.TemporaryDirectory(prefix="pilotline-bench-") as folder:
        home = find_home({"PILOTLINE_HOME": f"{folder}/home"}, ROOT)
        home.make()
        shutil.copy(ROOT / "deployments" / "policy-demo.toml", home.root / "policy.toml")
        seed_flights(home.root / "online.db")
        say("starting a factory ...")
        with factory(home) as (url, ready_s):
            rows = [Row("pilotline up ready", f"{ready_s:.1f} s", "30 s", ready_s <= 30)]
            say("ingesting a year, training, releasing ...")
            make_champion(home, url)
            say("scoring nights ...")
            rows += measure_night(home, url)
            say(f"backfilling {days} days, and by hand {BESIDE} ...")
            rows += measure_backfill(home, url, days)
            say("planning ten years ...")
            rows += measure_plans(home)
            say(f"asking how {MODELS:,} models are ...")
            rows += measure_status(home.root.parent / "many", url)
    print_table(rows)


@contextmanager
def factory(home: Home) -> Iterator[tuple[str, float]]:
    """Give a running factory's server, and the seconds until it was ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    with (home.root / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [PILOTLINE, "up", "--port", str(port)],
            env=environment(home.root),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        while (up := find_up(home)) is None or not up.ready:
            if process.poll() is not None or time.perf_counter() - began > START_LIMIT_S:
                raise SystemExit((home.root / "up.log").read_text())
            time.sleep(0.1)
        yield up.api_url, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def make_champion(home: Home, url: str) -> None:
    """Bring in the year and take a version to champion."""
    run(home, url, "ingest", "flights", "--start", "2013-01-01", "--end", "2013-12-31")
    run(home, url, "ingest", "arrivals", "--start", "2013-01-01", "--end", "2013-01-31")
    trained = run(home, url, "train", "flight-delay", "--until", "2013-01-31", "--json")
    number = json.loads(trained)["number"]
    for gate, person in zip(("review", "go-live"), SIGN, strict=True):
        said = ("--gate", gate, "--by", person, "--comment", "measured")
        run(home, url, "approve", "flight-delay", number, *said)
        run(home, url, "release", "flight-delay", number)


def measure_night(home: Home, url: str) -> list[Row]:
    """Score one day by command, several times, and say where the seconds went."""
    splits: list[dict[str, float]] = []
    for n in range(ROUNDS):
        day = date.fromisoformat(NIGHT) + timedelta(days=n)
        began_at, began = datetime.now(UTC), time.perf_counter()
        words = ("score", "flight-delay", "--date", day.isoformat(), "--json")
        result = json.loads(run(home, url, *words))
        splits.append(split(PrefectApi(url), day, began_at, time.perf_counter() - began, result))
    middle = {name: statistics.median(one[name] for one in splits) for name in splits[0]}
    total = middle.pop("total")
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in middle.items())
    return [
        Row("score of one day, warm, from command to end", f"{total:.1f} s", "8 s", total <= 8),
        Row("  of it", parts, "-", None),
    ]


def split(
    api: PrefectApi, day: date, began_at: datetime, total_s: float, result: dict[str, Any]
) -> dict[str, float]:
    """Return where the seconds of one command went."""
    flow_run = last_flow_run(api.url, f"score-flight-delay-{day}")
    asked = {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}
    found = api.post("/task_runs/filter", asked)
    (task_run,) = (one for one in found if one["name"].startswith("score_production"))
    before = (datetime.fromisoformat(flow_run["start_time"]) - began_at).total_seconds()
    used, in_task = result["resources"], task_run["total_run_time"]
    scored = used["start_s"] + used["predict_s"]
    return {
        "total": total_s,
        "imports": before,
        "environment": used["build_s"],
        "scoring": scored,
        "commit and record": max(0.0, used["wall_s"] - scored),
        "teardown": max(0.0, in_task - used["build_s"] - used["wall_s"]),
        "Prefect and exit": max(0.0, total_s - before - in_task),
    }


def measure_backfill(home: Home, url: str, days: int) -> list[Row]:
    """Backfill by command, what it needs, and a loop of subflows beside it."""
    end = FIRST + timedelta(days=days - 1)
    span = ("--start", str(FIRST), "--end", str(end))
    # The nights that were measured are done already.
    words = ("backfill", "flight-delay", *span, "--using", "champion", "--include-training-days")
    planned = json.loads(run(home, url, *words, "--plan", "--json"))
    left = [day for day in planned if day["state"] in TO_DO]
    seconds, peaks, said = run_watched(home, url, *words, "--json")
    done = json.loads(said)["done"]
    assert len(done) == len(left)
    assert all(day["state"] == "succeeded" for day in done)
    rows, both = sum(day["rows"] for day in done), sum(sorted(peaks)[-2:])
    flow_run = last_flow_run(url, f"backfill-flight-delay-{FIRST}-{end}")
    tasks = PrefectApi(url).post(
        "/task_runs/count", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}
    )
    theirs = run_module(home, url, "by_subflows", str(FIRST), str(FIRST + timedelta(BESIDE - 1)))
    by_hand = theirs["seconds"] / BESIDE * len(done)
    limit_s = 30 * days / 365
    return [
        Row(
            f"backfill of {len(done)} days, {rows:,} rows, whole command",
            f"{seconds:.1f} s",
            f"{limit_s:.0f} s",
            seconds <= limit_s,
        ),
        Row("  its two largest processes together", f"{both:.0f} MiB", "600 MiB", both <= 600),
        Row("  Prefect tasks", f"{tasks}", "10", tasks <= 10),
        Row(
            f"  one subflow a day by hand, unchecked ({BESIDE} days measured)",
            f"{by_hand:.0f} s, {theirs['peak_mib']:.0f} MiB",
            "-",
            None,
        ),
        Row("  beside it", f"{by_hand / seconds:.1f} x as fast", "1 x", by_hand >= seconds),
    ]


def measure_plans(home: Home) -> list[Row]:
    """Plan ten years of which nothing, and then all, is done; with imports, as a command."""
    days = [LATER + timedelta(days=n) for n in range(TEN_YEARS)]
    with home.open_registry() as registry, registry.write() as session:
        for day in days:
            record_ingest(session, ten_years_ingest(day))
    rows = [time_plan(home, "nothing is done", "champion"), time_plan(home, "as-of", "as-of")]
    with home.open_registry() as registry, registry.write() as session:
        version = champion(session, "flight-delay")
        for day in days:
            claim = Claim("production", "flights", day, "d" * 64, 1, "c" * 64, "A", "backfill")
            run = claim_partition(session, version, claim)
            end_run(session, run, Ending("succeeded", 900, table_version=2))
    return [*rows, time_plan(home, "all is done", "champion")]


def ten_years_ingest(day: date) -> Ingest:
    """Return what an ingest of a day records."""
    return Ingest(
        dataset="flights",
        date=day,
        token="t",
        partition_digest="d" * 64,
        table_version=1,
        accepted=900,
        quarantined=0,
    )


def time_plan(home: Home, what: str, using: str) -> Row:
    """Measure planning by the function that the command and the flow call."""
    from pilotline.tasks.lab.bundle import load_champion
    from pilotline.tasks.score.plan import plan_backfill

    end = LATER + timedelta(days=TEN_YEARS - 1)
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        with home.open_registry() as registry:
            dataset = load_champion(registry, "flight-delay").spec.input
            plan = plan_backfill(registry, "flight-delay", dataset, LATER, end, using)
        found.append(time.perf_counter() - began)
    assert len(plan) == TEN_YEARS
    seconds = statistics.median(found)
    name = f"plan of {TEN_YEARS:,} days, {what}"
    return Row(name, f"{seconds:.2f} s", "2 s", seconds <= 2)


def measure_status(root: Path, url: str) -> list[Row]:
    """Ask how 1,000 scheduled models are."""
    home = find_home({"PILOTLINE_HOME": str(root)}, ROOT)
    home.make()
    shutil.copy(ROOT / "deployments" / "policy-demo.toml", root / "policy.toml")
    config = (ROOT / "lab" / "models" / "flight-delay" / "model.toml").read_text()
    assert "[schedule]" in config
    with home.open_registry() as registry:
        fill_registries([registry], MODELS, 5, lambda version_id: manifest(version_id, config))
        store_manifests(registry, config)
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        said = run(home, url, "status", "--json", check=False)
        found.append(time.perf_counter() - began)
    assert len(json.loads(said)["models"]) == MODELS
    seconds = statistics.median(found)
    return [Row(f"status of {MODELS:,} scheduled models", f"{seconds:.1f} s", "2 s", seconds <= 2)]


def manifest(version_id: int, config: str) -> bytes:
    """Return the part of a version's manifest that says when its nights are."""
    digest = digest_bytes(own_config(version_id, config))
    files = [{"path": "model.toml", "sha256": digest}]
    return canonical_json({"model": f"model-{version_id}", "files": files})


def own_config(version_id: int, config: str) -> bytes:
    """Return a model.toml that no other version has."""
    return f"{config}\n# {version_id}\n".encode()


def store_manifests(registry: Registry, config: str) -> None:
    """Put the bytes of every version's manifest and model.toml into the store."""
    for version_id in range(1, MODELS * 5 + 1):
        registry.blobs.put(manifest(version_id, config))
        registry.blobs.put(own_config(version_id, config))


def last_flow_run(url: str, name: str) -> dict[str, Any]:
    """Return the last flow run of a name."""
    asked = {"flow_runs": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC"}
    found: list[dict[str, Any]] = PrefectApi(url).post("/flow_runs/filter", asked)
    return found[0]


def run(home: Home, url: str, *words: str, check: bool = True) -> str:
    """Run a command at the server and return what it printed."""
    done = subprocess.run(
        [PILOTLINE, *words],
        env=environment(home.root) | {"PREFECT_API_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        raise SystemExit(f"pilotline {' '.join(words)}: {done.stderr}")
    return done.stdout


def run_watched(home: Home, url: str, *words: str) -> tuple[float, list[float], str]:
    """Return a command's seconds, the peaks of its processes in MiB, and what it printed."""
    return watched([str(PILOTLINE), *words], environment(home.root) | {"PREFECT_API_URL": url})


def run_module(home: Home, url: str, name: str, *words: str) -> dict[str, Any]:
    """Return what a module of ours prints, with its peak in MiB."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    settings = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home.prefect)}
    _, peaks, said = watched(command, environment(home.root) | settings)
    return {**json.loads(said.splitlines()[-1]), "peak_mib": max(peaks)}


def watched(command: Sequence[str], settings: dict[str, str]) -> tuple[float, list[float], str]:
    """Run a command; return its seconds, its processes' peaks in MiB and what it printed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=settings, cwd=ROOT, stdout=out, stderr=err)
        status, peaks = watch_to_end(process)
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if status:
            raise SystemExit(err.read())
        return seconds, peaks, out.read()


if __name__ == "__main__":
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    main()
