"""Replaying: the same bits from the record alone, or the first difference by name."""

import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from sqlalchemy import update

from pilotline.registry import Registry
from pilotline.registry.form.errors import (
    AuditError,
    DigestMismatchError,
    MissingBlobError,
    UnknownRunError,
    VersionUnfitError,
)
from pilotline.registry.form.failpoints import VARIABLE
from pilotline.registry.record.events import append_event
from pilotline.registry.record.versions import set_status
from pilotline.registry.runs.listing import list_runs
from pilotline.registry.runs.runs import (
    Claim,
    Ending,
    Run,
    ScoredPartition,
    claim_partition,
    end_run,
    get_run,
    outcome_of,
)
from pilotline.tasks.errors import LakeError, NothingToDoError
from pilotline.tasks.explain.replaying import Replayed, compare_predictions, replay_run
from pilotline.tasks.home import Home
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from tests.conftest import local
from tests.support.places import ROOT
from tests.support.tasks.calls import Score
from tests.support.tasks.stage import PROCESS
from tests.support.waiting import stretched
from tests.tasks.conftest import copy_home, ingest, unguard

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)
ON_DAY = f"variant = 'production' and flight_date = '{DAY}'"
Replay = Callable[[str], Replayed]
KEY = ("k",)


@pytest.fixture
def home(once_scored: Home, tmp_path: Path) -> Home:
    """Return a home whose day was scored: asking for it again gives that run."""
    return copy_home(once_scored, tmp_path / "copy")


@pytest.fixture
def replay(registry: Registry, home: Home, tier: Tier) -> Replay:
    """Return a function that replays a run."""
    return lambda run_id: replay_run(registry, home, tier, run_id, print)


def contents(home: Home) -> tuple[dict[str, int], dict[str, bytes], list[str]]:
    """Return what must not change: rows of the registry, files of the lake, scratch folders."""
    with closing(sqlite3.connect(home.root / "registry.db")) as database:
        named = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        counts = {
            name: database.execute(f'select count(*) from "{name}"').fetchone()[0]
            for (name,) in named
        }
    files = {
        str(path.relative_to(local(home.lake))): path.read_bytes()
        for path in local(home.lake).rglob("*")
        if path.is_file()
    }
    return counts, files, [path.name for path in home.scratch.iterdir()]


def recorded(home: Home) -> tuple[Path, pa.Table]:
    """Return the path of the predictions and the day's rows in the order of their key."""
    path = local(lake.predictions_path(home.lake, "flight-delay"))
    table = lake.open_table(path)
    rows = lake.read(table, lake.schema_of(table), ON_DAY)
    keys = ("flight_date", "carrier", "flight", "origin")
    return path, rows.sort_by([(name, "ascending") for name in keys])


def with_value(rows: pa.Table, at: int, value: float) -> pa.Table:
    """Return rows with another probability in one of them."""
    column = rows["probability"].to_pylist()
    column[at] = value
    index = rows.column_names.index("probability")
    return rows.set_column(index, "probability", pa.array(column, pa.float64()))


def key_of(rows: pa.Table, at: int) -> dict[str, Any]:
    """Return the key of one row."""
    (row,) = rows.slice(at, 1).to_pylist()
    return {name: row[name] for name in ("flight_date", "carrier", "flight", "origin")}


def test_a_replay_gives_the_same_bits_and_leaves_no_trace(
    home: Home, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    before = contents(home)
    replayed = replay(done.run_id)
    assert replayed.equal
    figures = replayed.figures
    assert (figures.recorded, figures.replayed, figures.differing) == (100, 100, 0)
    assert (figures.largest, figures.first) == (0.0, None)
    assert (replayed.model, replayed.number, replayed.variant) == (
        "flight-delay",
        "1.0.0",
        "production",
    )
    assert contents(home) == before
    assert before[2] == []


def test_a_replay_needs_nothing_from_the_lab(home: Home, score: Score, replay: Replay) -> None:
    (done,) = score(DAY)
    home.lab.rename(home.lab.with_name("moved"))
    assert replay(done.run_id).equal


def test_a_prediction_changed_after_the_commit_is_named(
    home: Home, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    path, rows = recorded(home)
    was = rows["probability"][41].as_py()
    changed = with_value(with_value(rows, 41, was + 0.25), 77, rows["probability"][77].as_py() / 2)
    write_deltalake(str(path), changed, mode="overwrite", predicate=ON_DAY)
    replayed = replay(done.run_id)
    assert not replayed.equal
    assert replayed.compared_with == "what readers see now (table version 2)"
    figures = replayed.figures
    assert (figures.recorded, figures.replayed, figures.differing) == (100, 100, 2)
    assert figures.first is not None
    assert (figures.first.key, figures.first.column) == (key_of(rows, 41), "probability")
    assert (figures.first.recorded, figures.first.replayed) == (was + 0.25, was)
    half = rows["probability"][77].as_py() / 2
    assert figures.largest == pytest.approx(max(0.25, half), abs=1e-15)


def test_a_prediction_changed_in_the_commit_itself_is_named(
    home: Home, score: Score, replay: Replay
) -> None:
    """Forge the table's log: the run's commit then names a file with another value."""
    (done,) = score(DAY)
    path, rows = recorded(home)
    write_deltalake(str(path), with_value(rows, 3, 0.123), mode="overwrite", predicate=ON_DAY)
    commit, forgery = (path / "_delta_log" / f"{version:020}.json" for version in (1, 2))
    added = [line for line in forgery.read_text().splitlines() if '"add"' in line]
    kept = [line for line in commit.read_text().splitlines() if '"add"' not in line]
    commit.write_text("\n".join([*kept, *added]))
    forgery.unlink()
    replayed = replay(done.run_id)
    assert not replayed.equal
    assert replayed.compared_with == "what it committed (table version 1)"
    assert replayed.figures.first is not None
    assert replayed.figures.first.key == key_of(rows, 3)
    assert replayed.figures.first.recorded == 0.123


def test_a_prediction_that_was_taken_away_is_named(
    home: Home, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    path, rows = recorded(home)
    where = " and ".join(f"{name} = '{value}'" for name, value in key_of(rows, 0).items())
    DeltaTable(str(path)).delete(f"variant = 'production' and {where}")
    figures = replay(done.run_id).figures
    assert (figures.recorded, figures.replayed, figures.differing) == (99, 100, 1)
    assert figures.first is not None
    assert (figures.first.key, figures.first.column) == (key_of(rows, 0), None)
    assert (figures.first.recorded, figures.first.replayed) == ("no row", "a row")


def test_a_day_that_holds_other_rows_now_is_replayed_from_the_rows_it_had(
    home: Home, registry: Registry, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with closing(sqlite3.connect(home.root / "online.db")) as database, database:
        database.execute("update flights set distance = 4000 where flight_date = ?", (str(DAY),))
    ingest(home, "flights", [DAY])
    (again,) = score(DAY)
    assert again.state == "succeeded"
    for run_id in (done.run_id, again.run_id):
        assert replay(run_id).equal
    with registry.read() as session:
        runs = [get_run(session, run_id) for run_id in (done.run_id, again.run_id)]
    assert runs[0].partition_digest != runs[1].partition_digest


def test_a_shadow_run_replays_too(score: Score, shadow_job: Job, replay: Replay) -> None:
    (done,) = score(DAY, job=shadow_job)
    replayed = replay(done.run_id)
    assert (replayed.equal, replayed.variant) == (True, "shadow/1.0.0")
    assert replayed.figures.recorded == 100


def test_a_run_that_died_after_its_commit_replays_too(
    home: Home, registry: Registry, job: Job, score: Score, replay: Replay
) -> None:
    command = [sys.executable, "-c", PROCESS, str(home.root), NEXT.isoformat()]
    settings = os.environ | {VARIABLE: "score: committed"}
    killed = subprocess.run(command, cwd=ROOT, env=settings, timeout=stretched(60), check=False)
    assert killed.returncode == -signal.SIGKILL
    score(NEXT)  # which first settles how the dead one ended
    with registry.read() as session:
        runs = list_runs(session, job.bundle.version)
    (died, outcome), _ = [(run, outcome) for run, outcome in runs if run.date == NEXT]
    assert outcome is not None
    assert outcome.state == "crashed"
    assert replay(died.id).equal


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (None, "it is under way, or its process died"),
        (Ending("failed", reason="out of memory\nat line 3"), r"it ended failed \(out of memory\)"),
        (Ending("superseded"), "it ended superseded"),
        (Ending("crashed", reason="it committed nothing"), "it ended crashed"),
    ],
    ids=lambda value: getattr(value, "state", "") if isinstance(value, Ending) else "",
)
def test_a_run_that_committed_nothing_is_refused(
    registry: Registry, job: Job, replay: Replay, ending: Ending | None, said: str
) -> None:
    claim = Claim("production", "flights", DAY, "d" * 64, 3, "c" * 64, "A", "score")
    with registry.write() as session:
        run = claim_partition(session, job.bundle.version, claim)
        if ending is not None:
            end_run(session, run, ending)
    with pytest.raises(NothingToDoError, match=f"it committed no predictions: {said}"):
        replay(run.id)


def test_an_unknown_run_is_refused(replay: Replay) -> None:
    with pytest.raises(UnknownRunError):
        replay("20130114-0123456789ab")


def test_a_revoked_version_does_not_run(
    registry: Registry, job: Job, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.write() as session:
        set_status(session, job.bundle.version, "revoked", {})
    with pytest.raises(VersionUnfitError, match="is revoked and must not run"):
        replay(done.run_id)


def test_an_archived_version_still_answers_for_what_it_did(
    registry: Registry, job: Job, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.write() as session:
        set_status(session, job.bundle.version, "archived", {})
    assert replay(done.run_id).equal


def test_rows_that_are_gone_or_others_are_refused_in_words(
    home: Home, registry: Registry, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    folder = local(lake.accepted_path(home.lake, "flights"))
    (file,) = (folder / f"flight_date={DAY}").glob("*.parquet")
    file.rename(file.with_suffix(".moved"))
    with pytest.raises(LakeError, match=r"a data file cannot be read .* restore the lake"):
        replay(done.run_id)
    file.with_suffix(".moved").rename(file)
    with registry.write() as session:
        unguard(session)
        session.execute(update(Run).values(partition_digest="e" * 64))
    with pytest.raises(AuditError, match=r"partition of 'flight-delay': the events say"):
        replay(done.run_id)


def test_a_run_that_was_imported_without_its_rows_is_refused_as_such(
    home: Home, registry: Registry, job: Job, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.write() as session:
        append_event(session, job.bundle.version.model_id, "imported", {"model": "flight-delay"})
        session.execute(update(ScoredPartition).values(visible_run=None))  # as an import has it
    assert replay(done.run_id).equal  # where the lake came along
    shutil.rmtree(local(lake.predictions_path(home.lake, "flight-delay")))
    with pytest.raises(NothingToDoError, match=r"was imported .* its rows are not here\. Replay"):
        replay(done.run_id)


def test_a_table_version_that_is_gone_is_refused(
    home: Home, registry: Registry, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.write() as session:
        unguard(session)
        session.execute(update(Run).where(Run.id == done.run_id).values(table_version=4000))
    with pytest.raises(LakeError, match="cannot be opened at version 4000"):
        replay(done.run_id)


def test_predictions_that_are_gone_are_refused(
    home: Home, registry: Registry, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.read() as session:
        outcome = outcome_of(session, get_run(session, done.run_id))
    assert outcome is not None
    path, _ = recorded(home)
    (path / "_delta_log" / f"{outcome.table_version:020}.json").unlink()
    with pytest.raises(LakeError):
        replay(done.run_id)


def test_a_damaged_or_missing_blob_is_refused(
    home: Home, job: Job, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    digest = job.bundle.manifest.file("requirements.lock").sha256
    (blob,) = (home.root / "blobs").rglob(digest)
    sound = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(sound[:-1] + b"#")
    with pytest.raises(DigestMismatchError):
        replay(done.run_id)
    blob.unlink()
    with pytest.raises(MissingBlobError):
        replay(done.run_id)


def test_another_lock_than_the_run_s_is_refused(
    registry: Registry, score: Score, replay: Replay
) -> None:
    (done,) = score(DAY)
    with registry.write() as session:
        unguard(session)
        session.execute(update(Run).values(lock_digest="e" * 64))
    with pytest.raises(DigestMismatchError, match=f"the lock of run '{done.run_id}'"):
        replay(done.run_id)


def table(keys: list[int], values: list[float | None], texts: list[str] | None = None) -> pa.Table:
    """Return predictions with an integer key."""
    columns = {"k": pa.array(keys, pa.int64()), "p": pa.array(values, pa.float64())}
    return pa.table(columns if texts is None else columns | {"t": pa.array(texts)})


def test_rows_meet_by_key_whatever_their_order() -> None:
    found = compare_predictions(
        table([3, 1, 2], [0.3, 0.1, 0.2]), table([1, 2, 3], [0.1, 0.2, 0.3]), KEY
    )
    assert (found.differing, found.largest, found.first) == (0, 0.0, None)


@pytest.mark.parametrize(
    ("ours", "theirs", "differing"),
    [
        (math.nan, math.nan, 0),
        (math.nan, 0.5, 1),
        (0.0, -0.0, 1),
        (math.inf, math.inf, 0),
        (None, None, 0),
        (None, 0.0, 1),
        (0.1 + 0.2, 0.3, 1),  # one unit in the last place
    ],
)
def test_floats_are_the_same_if_their_bits_are(
    ours: float | None, theirs: float | None, differing: int
) -> None:
    assert compare_predictions(table([1], [ours]), table([1], [theirs]), KEY).differing == differing


def test_the_largest_difference_is_absolute_and_the_first_one_is_by_key() -> None:
    found = compare_predictions(
        table([5, 4, 3], [0.5, 0.25, 0.5], ["a", "b", "c"]),
        table([3, 4, 5], [0.5, 1.0, 0.0], ["x", "b", "a"]),
        KEY,
    )
    assert (found.differing, found.largest) == (3, 0.75)
    assert found.first is not None
    assert (found.first.key, found.first.column) == ({"k": 3}, "t")
    assert (found.first.recorded, found.first.replayed) == ("c", "x")


def test_a_row_that_stands_twice_is_one_too_many() -> None:
    found = compare_predictions(table([1, 2, 2], [0.1, 0.2, 0.2]), table([1, 2], [0.1, 0.2]), KEY)
    assert (found.recorded, found.replayed, found.differing) == (3, 2, 1)
    assert found.first is not None
    assert (found.first.key, found.first.column, found.first.recorded) == ({"k": 2}, None, "a row")


def test_nothing_recorded_is_every_row_missing() -> None:
    found = compare_predictions(table([], []), table([1, 2], [0.1, 0.2]), KEY)
    assert (found.recorded, found.replayed, found.differing) == (0, 2, 2)
