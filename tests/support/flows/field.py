"""A day that lies in many row groups, to be scored in parts, and what is left of doing so."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import Ingest, get_partition, record_ingest
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.digests import partition_digest
from pilotline.tasks.lake.partition_files import find_files
from tests.flows.conftest import Demo, predictions_of, query_sqlite
from tests.support.commands import NOTHING, Ran, processes_of, run_flow
from tests.support.servers.once import made_once
from tests.support.waiting import wait_until

MODEL = "flight-delay"
DAY = date(2013, 1, 10)  # ingested by the demo, and not scored
THAT_DAY = f"flight_date = date '{DAY}'"
KEY = ("flight_date", "carrier", "flight", "origin")
GROUP = 150  # rows of a row group: the day has seven in two files
THREADS = {"task_runner": '"threads"', "workers": "3", "shard_rows": "100"}
DASK = {"task_runner": '"dask"', "workers": "2", "shard_rows": "100"}
START_LIMIT_S = 90
LOOK_S = 0.1  # a look at all processes takes a while
END_LIMIT_S = 20  # for what a killed command leaves

Prediction = tuple[Any, ...]


@dataclass(frozen=True)
class Field:
    """A home whose day lies in many row groups, one where it was scored whole, and its rows."""

    unscored: Path
    scored: Path
    whole: list[Prediction]


def cut_field(demo_home: Path, folder: Path, server: str) -> None:
    """Cut the day into row groups, and score it in one child for all of it."""
    unscored = copy(demo_home, folder / "unscored")
    write_day(unscored)
    scored = copy(unscored, folder / "scored")
    ran = score(scored, server)
    assert (ran.status, "shards" in ran.json["resources"]) == (0, False), ran.err
    assert ran.json["rows"] > 6 * GROUP
    whole = predictions_of(scored, THAT_DAY)
    assert len(whole) == ran.json["rows"]
    (folder / "whole.json").write_text(json.dumps(whole), "utf-8")


def find_field(demo: Demo, shared: Path, server: str) -> Field:
    """Return the day as it was cut once for all tests; only read it."""
    folder = made_once(shared, "field", lambda folder: cut_field(demo.home, folder, server))
    whole = json.loads((folder / "whole.json").read_text("utf-8"))
    return Field(folder / "unscored", folder / "scored", [tuple(row) for row in whole])


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
    return run_flow(home, *WORDS, settings={"PREFECT_API_URL": server, **settings})


def make_ready(field: Field, target: Path, rules: Mapping[str, str]) -> Path:
    """Return a home with the day to be scored, by the given rules."""
    home = copy(field.unscored, target)
    set_rules(home, rules)
    return home


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


def children_of(home: Path) -> list[int]:
    """Return the processes that hold a model: their command lines end with the harness."""
    return [pid for pid, command in processes_of(home).items() if "/harness.py" in command]
