"""Committing once: rivals in other partitions are waited out, those in the same one win."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.form.errors import VersionUnfitError
from pilotline.registry.record.manifest import Manifest
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.versions import NewVersion, enter_version, get_version, set_status
from pilotline.registry.runs.runs import Claim, Run, claim_partition
from pilotline.tasks.errors import LakeError, SupersededError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import Bundle
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.commit import CommitUnsettledError, Mark, commit_once, find_commit
from pilotline.tasks.lake.handle import Table, TableRefusedError
from pilotline.tasks.score.commit import commit_run, mark_of, place_of, transaction_name
from pilotline.tasks.score.job import Job, plan_job
from tests.support.places import ROOT
from tests.tasks.conftest import MODEL, home_in

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)
KEY = {"flight_date": "date", "flight": "int64"}
CLAIM = Claim("production", "flights", DAY, "d" * 64, 3, "c" * 64, "A", "score")

Commit = Callable[[Table, tuple[str, int]], int]


@dataclass(frozen=True)
class World:
    """A registry with one version that claimed a day, and an empty lake."""

    home: Home
    registry: Registry
    job: Job
    run: Run

    @property
    def path(self) -> Path:
        """Where the predictions lie."""
        return Path(str(lake.predictions_path(self.home.lake, MODEL)))

    def write(self, table: Table, run: Run, flights: int) -> int:
        """Commit as many flights of the run's day on ``table``, under the run's epoch."""
        row = {"flight_date": run.date, "model_version": "1.0.0", "variant": run.variant}
        rows = [{**row, "flight": n, "probability": 0.5, "run_id": run.id} for n in range(flights)]
        identity = transaction_name(run.variant, run.date)
        where = f"variant = '{run.variant}' and {lake.on_day('flight_date', run.date)}"
        data = pa.Table.from_pylist(rows, self.job.schema)
        metadata = {"run": run.id}
        return lake.replace_partition(table, data, where, metadata, (identity, run.epoch))

    def claim(self, day: date) -> Run:
        """Return a new claim of a day."""
        with self.registry.write() as session:
            return claim_partition(session, self.job.bundle.version, replace(CLAIM, date=day))

    def commit(self, commit: Commit) -> int:
        """Commit the claimed day once by ``commit``."""
        return commit_run(self.registry, self.home, self.job, self.run, commit)

    def shown(self) -> dict[date, int]:
        """Return how many rows the table holds of each day."""
        days = lake.read(lake.open_table(self.path), self.job.schema, None)["flight_date"]
        return {fact["values"]: fact["counts"] for fact in days.value_counts().to_pylist()}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Return one."""
    home = home_in(tmp_path)
    home.make()
    folder = load_model_folder(ROOT / "lab", MODEL)
    contract = {"key": list(KEY), "key_types": KEY, "date": "flight_date"}
    files = {**folder.files, "contract.json": canonical_json(contract)}
    facts = ModelFacts(MODEL, "operations", "Will this flight arrive late?")
    with home.open_registry() as registry:
        with registry.write() as session:
            new = NewVersion(facts, "author@example.org", "a" * 64, "b" * 64, None, None, (), {})
            version, _ = enter_version(session, new)
            run = claim_partition(session, version, CLAIM)
        manifest = Manifest(MODEL, (), "cpython 3.11", "linux", None)
        job = plan_job(Bundle(version, manifest, folder, files), "production", "score")
        yield World(home, registry, job, run)


@pytest.mark.parametrize("rivals", [0, 1, 2])
def test_a_rival_in_another_partition_loses_nobody_s_rows(world: World, rivals: int) -> None:
    handles: list[int] = []

    def commit(table: Table, _: tuple[str, int]) -> int:
        if len(handles) < rivals:
            world.write(lake.open_table(world.path), world.claim(NEXT), 7)
        handles.append(table.version())
        return world.write(table, world.run, 5)

    assert world.commit(commit) == rivals + 1
    assert handles == list(range(rivals + 1))  # each try on a handle of its own
    assert world.shown() == {DAY: 5, **({NEXT: 7} if rivals else {})}


def test_rivals_that_never_end_are_told_and_leave_the_day_as_it_was(world: World) -> None:
    tries: list[str] = []

    def commit(table: Table, identity: tuple[str, int]) -> int:
        tries.append(identity[0])
        world.write(lake.open_table(world.path), world.claim(NEXT), 7)
        return world.write(table, world.run, 5)

    message = r"'flight-delay': the commit failed \(.+\)\. Run the command again\.$"
    with pytest.raises(LakeError, match=message):
        world.commit(commit)
    assert tries == ["production/2013-01-14"] * 3
    assert world.shown() == {NEXT: 7}


def test_a_rival_in_the_same_partition_that_is_older_is_replaced(world: World) -> None:
    older = world.run
    later = replace(world, run=world.claim(DAY))
    world.write(place_of(world.home, world.job).ensure(), older, 7)
    assert later.commit(lambda table, _: world.write(table, later.run, 5)) == 2
    assert world.shown() == {DAY: 5}


def test_a_rival_in_the_same_partition_that_is_newer_wins(world: World) -> None:
    rival: list[Run] = []

    def commit(table: Table, _: tuple[str, int]) -> int:
        rival.append(world.claim(DAY))
        world.write(lake.open_table(world.path), rival[0], 7)
        return world.write(table, world.run, 5)

    with pytest.raises(SupersededError, match=r"epoch 2 is in the table, this is 1"):
        world.commit(commit)
    assert len(rival) == 1
    assert world.shown() == {DAY: 7}


def test_an_epoch_that_is_in_the_table_already_is_not_committed_again(world: World) -> None:
    table = place_of(world.home, world.job).ensure()
    world.write(table, world.run, 7)
    with pytest.raises(SupersededError, match=r"epoch 1 is in the table, this is 1"):
        world.commit(lambda table, _: world.write(table, world.run, 5))
    assert world.shown() == {DAY: 7}


def test_who_lost_the_claim_commits_nothing(world: World) -> None:
    world.claim(DAY)
    with pytest.raises(SupersededError, match="a later run claimed the partition"):
        world.commit(lambda table, _: world.write(table, world.run, 5))
    assert world.shown() == {}


def test_who_was_revoked_meanwhile_commits_nothing(world: World) -> None:
    with world.registry.write() as session:
        set_status(session, get_version(session, MODEL, "1.0.0"), "revoked", {})
    with pytest.raises(VersionUnfitError, match="was revoked meanwhile"):
        world.commit(lambda table, _: world.write(table, world.run, 5))
    assert world.shown() == {}


def test_a_commit_whose_reply_was_lost_is_found_and_not_made_again(world: World) -> None:
    tries: list[int] = []

    def commit(table: Table, _: tuple[str, int]) -> int:
        tries.append(world.write(table, world.run, 5))
        world.write(lake.open_table(world.path), world.claim(NEXT), 7)
        raise TableRefusedError("the connection was reset")

    assert world.commit(commit) == 1
    assert tries == [1]
    assert world.shown() == {DAY: 5, NEXT: 7}


def test_a_commit_that_cannot_be_looked_up_is_told_from_one_that_failed(world: World) -> None:
    def commit(table: Table, _: tuple[str, int]) -> int:
        shutil.rmtree(world.path)
        raise TableRefusedError("the connection was reset")

    with pytest.raises(CommitUnsettledError, match=r"'flight-delay': cannot be opened \(.+\)\. "):
        world.commit(commit)


def test_what_nobody_wants_is_not_committed(world: World) -> None:
    def write(table: Table, marks: Sequence[Mark]) -> int:
        raise AssertionError("nothing is wanted")

    assert commit_once(place_of(world.home, world.job), lambda _: [], write) is None
    assert lake.open_table(world.path).version() == 0


def test_rows_of_another_run_under_the_same_epoch_are_not_taken_for_ours(world: World) -> None:
    table = place_of(world.home, world.job).ensure()
    mark = mark_of(world.run)
    assert find_commit(table, mark) is None
    world.write(table, world.run, 5)
    table = lake.open_table(world.path)
    assert find_commit(table, replace(mark, writer="20130114-000000000000")) is None
    assert find_commit(table, mark) == 1
