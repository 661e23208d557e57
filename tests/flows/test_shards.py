"""Days scored in parts: the same bits as whole, one commit, and nothing left when parts fail."""

import contextlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from pilotline.tasks.lake import tables as lake
from pilotline.tasks.score.shards.buckets import bucket_of
from tests.flows.conftest import Demo, approve_challenger, predictions_of
from tests.support.commands import processes_of, run_flow, run_here, start_process
from tests.support.flows.field import (
    DAY,
    END_LIMIT_S,
    KEY,
    LOOK_S,
    MODEL,
    START_LIMIT_S,
    THAT_DAY,
    THREADS,
    WORDS,
    Field,
    children_of,
    copy,
    find_field,
    make_ready,
    outcomes_of,
    require_nothing_left,
    require_whole,
    score,
    set_rules,
    strays_of,
    versions_of,
    write_day,
)
from tests.support.waiting import stretched, wait_until


@pytest.fixture(scope="module")
def field(demo: Demo, server: str, shared: Path) -> Field:
    """Return the day, and the predictions of one child for all of it."""
    return find_field(demo, shared, server)


@pytest.fixture
def ready(field: Field, tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Path]]:
    """Return a function that gives a home with the day to be scored, by the given rules."""
    yield lambda rules: make_ready(field, tmp_path / "home", rules)
    shutil.rmtree(tmp_path / "home", ignore_errors=True)


def test_threads_give_the_bits_of_one_child_in_one_commit(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(THREADS)
    run_id = require_whole(home, server, field, 3)
    again = score(home, server)
    assert (again.json["state"], again.json["run_id"]) == ("unchanged", run_id)


def test_a_shard_whose_child_dies_fails_the_run_and_readers_see_what_they_saw(
    field: Field, server: str, tmp_path: Path
) -> None:
    home = copy(field.scored, tmp_path / "home")
    set_rules(home, THREADS)
    write_day(home, less=1)  # so that the day is to be scored again
    before = versions_of(home)
    process = start_process(home, *WORDS, settings={"PREFECT_API_URL": server})
    assert wait_until(lambda: children_of(home), START_LIMIT_S, LOOK_S)
    for pid in children_of(home):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=stretched(START_LIMIT_S))
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
    assert wait_until(lambda: children_of(home), START_LIMIT_S, LOOK_S)
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


def test_two_versions_share_a_day_by_the_hash_of_the_key(
    field: Field, ready: Callable[..., Path], server: str
) -> None:
    home = ready(THREADS)
    approve_challenger(home)
    started = run_here(
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
        traced = run_here(home, *words)
        assert traced.status == 0, traced.err
        assert traced.json["version"]["number"] == number
        assert traced.json["run"]["split"] == {"challenger": "1.0.1", "share": "0.3"}
        assert [said["gate"] for said in traced.json["version"]["approvals"]] == [
            *("review", "go-live")
        ]
    again = run_flow(
        home, "replay", ran.json["run_id"], "--json", settings={"PREFECT_API_URL": server}
    )
    assert (again.status, again.json["equal"]) == (0, True), again.err

    # So small a share that the challenger has none of the day's rows.
    assert min(bucket_of(rows, KEY)) >= 1
    words = ("split", "downgrade", MODEL, "--share", "0.0001", "--reason", "less of it")
    assert run_here(home, *words).status == 0
    few = score(home, server)
    assert (few.status, few.json["state"], few.json["share"]) == (0, "succeeded", "0.0001"), few.err
    assert predictions_of(home, THAT_DAY) == field.whole
    require_nothing_left(home)
    assert run_here(home, "audit", "verify").status == 0
