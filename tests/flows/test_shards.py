"""Days scored in parts: the same bits as whole, one commit, and nothing left when parts fail."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

from registry import Registry
from registry.ingests import Ingest, get_partition, record_ingest
from tasks import lake
from tasks.buckets import bucket_of
from tasks.digests import partition_digest
from tasks.partition_files import find_files
from tests.flows.conftest import (
    Demo,
    approve_challenger,
    predictions_of,
    processes_of,
    query_sqlite,
)
from tests.support.commands import NOTHING, ROOT, Ran, environment_of, run_process, start_process
from tests.support.waiting import wait_until

MODEL = "flight-delay"
DAY = date(2013, 1, 10)  # ingested by the demo, and not scored
THAT_DAY = f"flight_date = date '{DAY}'"
KEY = ("flight_date", "carrier", "flight", "origin")
GROUP = 150  # rows of a row group: the day has seven in two files
THREADS = {"task_runner": '"threads"', "workers": "3", "shard_rows": "100"}
DASK = {"task_runner": '"dask"', "workers": "2", "shard_rows": "100"}
CANARY = "canary-7f3a91c2"
START_LIMIT_S = 90
END_LIMIT_S = 10  # for what a killed command leaves

Prediction = tuple[Any, ...]


@dataclass(frozen=True)
class Field:
    """A home whose day lies in many row groups, one where it was scored whole, and its rows."""

    unscored: Path
    scored: Path
    whole: list[Prediction]


@pytest.fixture(scope="module")
def field(demo: Demo, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """Return the day, cut into row groups, and the predictions of one child for all of it."""
    folder = tmp_path_factory.mktemp("field")
    unscored = copy(demo.home, folder / "unscored")
    write_day(unscored)
    scored = copy(unscored, folder / "scored")
    ran = score(scored, server)
    assert (ran.status, "shards" in ran.json["resources"]) == (0, False), ran.err
    whole = predictions_of(scored, THAT_DAY)
    assert len(whole) == ran.json["rows"] > 6 * GROUP
    yield Field(unscored, scored, whole)
    shutil.rmtree(folder)


def copy(home: Path, target: Path) -> Path:
    """Copy a home without the source, which nobody reads here; blobs and bytecode are shared."""
    without = shutil.ignore_patterns("prefect", "online.db", "blobs", "cache")
    shutil.copytree(home, target, ignore=without)
    for name in ("blobs", "cache"):  # neither is ever changed in place
        shutil.copytree(home / name, target / name, copy_function=os.link)
    return target


def write_day(home: Path, less: int = 0) -> None:
    """Write the day's rows again, ``less`` fewer of them, into two files of small row groups."""
    path = home / "lake" / "datasets" / "flights" / "accepted"
    table = lake.open_table(path)
    schema, where = lake.schema_of(table), lake.on_day("flight_date", DAY)
    rows = lake.read(table, schema, where)
    rows = rows.slice(0, rows.num_rows - less)
    half = rows.num_rows // 2
    groups = WriterProperties(max_row_group_size=GROUP)
    write_deltalake(
        path, rows.slice(0, half), mode="overwrite", predicate=where, writer_properties=groups
    )
    last = Transaction(DAY.isoformat(), lake.open_table(path).version() + 1)
    commit = CommitProperties(app_transactions=[last])
    write_deltalake(
        path, rows.slice(half), mode="append", writer_properties=groups, commit_properties=commit
    )
    table = lake.open_table(path)
    files = find_files(table, path, "flights", "flight_date", DAY)
    with open_registry(home) as registry, registry.write() as session:
        known = get_partition(session, "flights", DAY)
        facts = {name: getattr(known, name) for name in ("dataset", "date", "token", "quarantined")}
        ingest = Ingest(
            **facts,
            partition_digest=partition_digest(rows, KEY),
            files_digest=files.digest(),
            table_version=table.version(),
            accepted=rows.num_rows,
        )
        record_ingest(session, ingest)
    assert len(files.pieces(files.digest())) >= 6


def open_registry(home: Path) -> Registry:
    return Registry(f"sqlite:///{home / 'registry.db'}", home / "blobs")


def set_rules(home: Path, rules: Mapping[str, str]) -> None:
    """Let the home's policy say how days are scored."""
    policy = home / "policy.toml"
    text = policy.read_text("utf-8").partition("\n[scoring]")[0]
    said = "".join(f"{name} = {value}\n" for name, value in rules.items())
    policy.write_text(f"{text}\n[scoring]\n{said}", "utf-8")


WORDS = ("score", MODEL, "--date", DAY.isoformat(), "--json")


def score(home: Path, server: str, settings: Mapping[str, str] = NOTHING) -> Ran:
    """Score the day."""
    return run_process(home, *WORDS, settings={"PREFECT_API_URL": server, **settings})


@pytest.fixture
def ready(field: Field, tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Path]]:
    """Return a function that gives a home with the day to be scored, by the given rules."""

    def make(rules: Mapping[str, str]) -> Path:
        home = copy(field.unscored, tmp_path / "home")
        set_rules(home, rules)
        return home

    yield make
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def commits_of(home: Path) -> list[dict[str, Any]]:
    """Return the actions in the log of the predictions table."""
    log = home / "lake" / "predictions" / MODEL / "_delta_log"
    return [json.loads(line) for p in sorted(log.glob("*.json")) for line in p.open()]


def versions_of(home: Path) -> int:
    return len(list((home / "lake" / "predictions" / MODEL / "_delta_log").glob("*.json")))


def strays_of(home: Path) -> set[str]:
    """Return the files of parts that no commit names."""
    table = home / "lake" / "predictions" / MODEL
    named = {action["add"]["path"] for action in commits_of(home) if "add" in action}
    return {str(path.relative_to(table)) for path in table.glob("parts/*")} - named


def outcomes_of(home: Path) -> list[tuple[str, int | None]]:
    """Return how the day's runs ended, and whether each is known to have left nothing."""
    sql = "select state, clean from run left join run_outcome on run_outcome.run_id = run.id "
    sql += "left join teardown on teardown.run_id = run.id where date = ? order by epoch"
    return query_sqlite(home / "registry.db", sql, DAY.isoformat())


def require_whole(home: Path, server: str, field: Field, shards: int) -> str:
    """Score the day in parts, check that it came out as if it had not been cut; return the run."""
    before = versions_of(home)
    ran = score(home, server)
    assert (ran.status, ran.json["state"]) == (0, "succeeded"), ran.err
    assert ran.json["resources"]["shards"] == shards
    assert predictions_of(home, THAT_DAY) == field.whole
    assert versions_of(home) == before + 1
    assert outcomes_of(home)[-1] == ("succeeded", 1)
    require_nothing_left(home)
    return str(ran.json["run_id"])


def require_nothing_left(home: Path) -> None:
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)
    assert list((home / "scratch").iterdir()) == []
    assert strays_of(home) == set()


def test_threads_give_the_bits_of_one_child_in_one_commit(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(THREADS)
    run_id = require_whole(home, server, field, 3)
    again = score(home, server)
    assert (again.json["state"], again.json["run_id"]) == ("unchanged", run_id)


def test_a_cluster_of_two_processes_gives_the_bits_of_one_child_in_one_commit(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    require_whole(ready(DASK), server, field, 2)


def children_of(home: Path) -> list[int]:
    """Return the processes that hold a model: their command lines end with the harness."""
    return [pid for pid, command in processes_of(home).items() if "/harness.py" in command]


def test_a_shard_whose_child_dies_fails_the_run_and_readers_see_what_they_saw(
    field: Field, server: str, tmp_path: Path
) -> None:
    home = copy(field.scored, tmp_path / "home")
    set_rules(home, THREADS)
    write_day(home, less=1)  # so that the day is to be scored again
    before = versions_of(home)
    process = start_process(home, *WORDS, settings={"PREFECT_API_URL": server})
    assert wait_until(lambda: children_of(home), START_LIMIT_S)
    for pid in children_of(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=START_LIMIT_S)
    assert process.returncode == 1, err
    said = json.loads(out)
    assert said["state"] == "failed"
    assert re.search(r"'flight-delay'.*was killed, perhaps for memory", said["reason"])
    assert predictions_of(home, THAT_DAY) == field.whole
    assert versions_of(home) == before
    assert outcomes_of(home)[-1] == ("failed", 1)
    require_nothing_left(home)

    again = score(home, server)
    assert (again.status, again.json["state"]) == (0, "succeeded"), again.err
    rows = predictions_of(home, THAT_DAY)
    assert len(rows) == len(field.whole) - 1
    assert set(rows) < set(field.whole)
    require_nothing_left(home)
    shutil.rmtree(home)


def test_killed_in_the_middle_and_run_again_gives_the_same(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(THREADS)
    before = versions_of(home)
    process = start_process(home, *WORDS, settings={"PREFECT_API_URL": server})
    assert wait_until(lambda: children_of(home), START_LIMIT_S)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)
    assert versions_of(home) == before
    assert predictions_of(home, THAT_DAY) == []
    left = strays_of(home)  # Delta's vacuum removes them

    again = score(home, server)
    assert (again.status, again.json["state"]) == (0, "succeeded"), again.err
    assert predictions_of(home, THAT_DAY) == field.whole
    assert outcomes_of(home) == [("crashed", None), ("succeeded", 1)]
    assert strays_of(home) <= left
    assert list((home / "scratch").iterdir()) == []


def test_a_worker_of_a_cluster_that_is_killed_doubles_no_row(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(DASK)
    process = start_process(home, *WORDS, settings={"PREFECT_API_URL": server})
    assert wait_until(lambda: children_of(home), START_LIMIT_S)
    os.kill(worker_above(children_of(home)[0], process.pid), signal.SIGKILL)
    out, err = process.communicate(timeout=2 * START_LIMIT_S)
    said = json.loads(out)
    assert said["state"] in ("succeeded", "failed"), err
    expected = field.whole if said["state"] == "succeeded" else []
    assert predictions_of(home, THAT_DAY) == expected
    assert wait_until(lambda: not processes_of(home), END_LIMIT_S), processes_of(home)

    again = score(home, server)
    assert (again.status, again.json["rows"]) == (0, len(field.whole)), again.err
    assert predictions_of(home, THAT_DAY) == field.whole


def worker_above(pid: int, parent: int) -> int:
    """Return the ancestor of ``pid`` that is a worker, whose own ancestor is ``parent``."""
    while True:
        above = parent_of(pid)
        line = Path(f"/proc/{above}/cmdline").read_bytes()
        assert above not in (1, parent), "no worker above the child"
        if b"multiprocessing" in line:
            return above
        pid = above


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Tap:
    """A door in front of a scheduler that writes down what goes in."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._door.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                inside = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((caller, inside, True), (inside, caller, False)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, heard: bool) -> None:
        with contextlib.suppress(OSError), closing(target):
            while data := source.recv(65_536):
                if heard:
                    self.heard += data
                target.sendall(data)


@contextmanager
def cluster(home: Path, server: str) -> Iterator[Tap]:
    """Give a scheduler with one worker, which is a machine of its own with its own settings."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, here = f"tcp://127.0.0.1:{port}", "127.0.0.1"
    settings = {"PREFECT_API_URL": server, "PREFECT_HOME": str(home / "prefect-of-worker")}
    words = [
        ["scheduler", "--host", here, "--port", str(port), "--no-dashboard", "--no-jupyter"],
        ["worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"],
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + kind, *options],
            env=environment_of(home, settings) | {"PYTHONPATH": str(ROOT)},
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for kind, *options in words
    ]
    tap = Tap(port)
    try:
        yield tap
    finally:
        tap.close()
        for process in processes:
            process.kill()
            process.wait()


def test_the_registry_s_password_and_the_key_stay_where_they_are(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(DASK)
    # SQLite ignores what it does not know of an address, so this one can hold a password.
    url = f"sqlite:///file:{home / 'registry.db'}?uri=true&password={CANARY}"
    mine = {"PILOTLINE_REGISTRY_URL": url, "PILOTLINE_APPROVAL_KEY": f"key-{CANARY}"}
    with cluster(home, server) as tap:
        set_rules(home, {**DASK, "address": f'"tcp://127.0.0.1:{tap.port}"'})
        ran = score(home, server, {**mine, "DASK_DISTRIBUTED__COMM__COMPRESSION": "false"})
    assert (ran.status, ran.json["state"]) == (0, "succeeded"), ran.err
    assert predictions_of(home, THAT_DAY) == field.whole
    assert ran.json["run_id"].encode() in tap.heard  # it went through here, readable
    assert CANARY.encode() not in tap.heard
    assert CANARY not in ran.out + ran.err
    logs = [path for path in home.rglob("*") if path.is_file() and path.stat().st_size < 10**7]
    assert [path for path in logs if CANARY.encode() in path.read_bytes()] == []


def test_two_versions_share_a_day_by_the_hash_of_the_key(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(THREADS)
    approve_challenger(home)
    started = run_process(
        home, "split", "start", MODEL, "1.0.1", "--share", "30%", "--reason", "a look", "--json"
    )
    assert started.status == 0, started.err
    before = versions_of(home)
    ran = score(home, server)
    assert (ran.status, ran.json["state"]) == (0, "succeeded"), ran.err
    assert (ran.json["challenger"], ran.json["share"]) == ("1.0.1", "0.3")
    assert versions_of(home) == before + 1
    require_nothing_left(home)

    table = home / "lake" / "predictions" / MODEL
    found = lake.open_table(table)
    rows = lake.read(found, lake.schema_of(found), f"variant = 'production' and {THAT_DAY}")
    keys = [tuple(row[name] for name in KEY) for row in rows.to_pylist()]
    assert sorted((str(day), *rest) for day, *rest in keys) == [row[:4] for row in field.whole]
    dealt = ["1.0.1" if n < 3000 else "1.0.0" for n in bucket_of(rows, KEY)]
    assert rows["model_version"].to_pylist() == dealt
    assert 0 < dealt.count("1.0.1") < len(dealt)
    assert set(rows["run_id"].to_pylist()) == {ran.json["run_id"]}
    champions = predictions_of(home, f"{THAT_DAY} and model_version = '1.0.0'")
    assert champions == [row for row in field.whole if row in champions]

    for number in ("1.0.0", "1.0.1"):
        _, *key = keys[dealt.index(number)]
        text = ",".join(map(str, key))
        words = ("trace", MODEL, "--date", DAY.isoformat(), "--key", text, "--json")
        traced = run_process(home, *words)
        assert traced.status == 0, traced.err
        assert traced.json["version"]["number"] == number
        assert traced.json["run"]["split"] == {"challenger": "1.0.1", "share": "0.3"}
        assert [said["gate"] for said in traced.json["version"]["approvals"]] == [
            *("review", "go-live")
        ]
    again = run_process(
        home, "replay", ran.json["run_id"], "--json", settings={"PREFECT_API_URL": server}
    )
    assert (again.status, again.json["equal"]) == (0, True), again.err

    # So small a share that the challenger has none of the day's rows.
    assert min(bucket_of(rows, KEY)) >= 1
    words = ("split", "downgrade", MODEL, "--share", "0.0001", "--reason", "less of it")
    assert run_process(home, *words).status == 0
    few = score(home, server)
    assert (few.status, few.json["state"], few.json["share"]) == (0, "succeeded", "0.0001"), few.err
    assert predictions_of(home, THAT_DAY) == field.whole
    require_nothing_left(home)
    assert run_process(home, "audit", "verify").status == 0
