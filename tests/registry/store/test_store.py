"""The open registry: migrated once, written by one at a time, newer ones left alone."""

import subprocess
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from pilotline.registry import Registry
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import StoreError
from pilotline.registry.record.aliases import Alias
from pilotline.registry.record.events import first_broken_event, list_events
from pilotline.registry.record.models import ModelFacts, list_models, put_model
from pilotline.registry.runs.runs import Run
from pilotline.registry.runs.shown import visible_runs
from pilotline.registry.store.store import SCHEMA
from tests.support.places import ROOT
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

OPEN = """
import sys
import pilotline.registry.migrations.upgrade
from pilotline.registry import Registry
print("ready", flush=True)
sys.stdin.readline()
Registry(sys.argv[1], sys.argv[2]).close()
"""
SCORE = """
import sys
from datetime import date
from pilotline.registry import Registry
from pilotline.registry.runs.runs import Claim, Ending, claim_partition, end_run
from pilotline.registry.record.versions import get_version
registry = Registry(sys.argv[1], sys.argv[2])
claim = Claim("production", "flights", date(2013, 1, 1), "d" * 64, 3, "c" * 64, "A", "score")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    with registry.write() as session:
        run = claim_partition(session, get_version(session, "flight-delay", "1.0.0"), claim)
    with registry.write() as session:
        end_run(session, run, Ending("failed"))
registry.close()
"""


def run_at_once(script: str, count: int, *arguments: str) -> None:
    """Start ``count`` processes, let them begin together, and wait for all to end well."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, errors


def test_a_new_home_gets_its_folder_and_tables(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    url = f"sqlite:///{home / 'registry.db'}"
    with Registry(url, home / "blobs") as registry, registry.read() as session:
        assert list_models(session) == []
    assert (home / "registry.db").is_file()
    assert not (home / "blobs").exists()  # made on the first write


def test_an_address_may_be_a_uri_and_makes_no_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///file:{tmp_path}/a%20home/registry.db?uri=true"
    with Registry(address, tmp_path / "blobs"):
        assert (tmp_path / "a home" / "registry.db").is_file()
    assert not (tmp_path / "file:").exists()


def test_a_registry_in_memory_works_alone(tmp_path: Path) -> None:
    with Registry("sqlite://", tmp_path) as registry:
        with registry.write() as session:
            put_model(session, ModelFacts("flight-delay", "operations", ""))
        with registry.read() as session:
            assert [model.name for model in list_models(session)] == ["flight-delay"]


@on_sqlite
def test_a_blob_store_may_be_a_folder_or_a_store(database: str, tmp_path: Path) -> None:
    store = FolderBlobs(tmp_path)
    with Registry(database, store) as registry:
        assert registry.blobs is store
    with Registry(database, str(tmp_path)) as registry:
        assert registry.blobs.put(b"abc") == store.put(b"abc")


def test_a_registry_opened_again_holds_what_was_written(database: str, tmp_path: Path) -> None:
    with Registry(database, tmp_path) as registry, registry.write() as session:
        put_model(session, ModelFacts("flight-delay", "operations", ""))
    with Registry(database, tmp_path) as registry, registry.read() as session:
        assert [model.name for model in list_models(session)] == ["flight-delay"]


def test_an_error_rolls_everything_back(registry: Registry) -> None:
    def stop_half_way() -> None:
        with registry.write() as session:
            put_model(session, ModelFacts("flight-delay", "operations", ""))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        stop_half_way()
    with registry.read() as session:
        assert list_models(session) == []
    with registry.write() as session:  # and the lock is free again
        put_model(session, ModelFacts("seat-demand", "operations", ""))


def test_what_a_reading_session_changes_is_not_kept(registry: Registry) -> None:
    with suppress(DBAPIError), registry.read() as session:  # refused at once, or undone
        put_model(session, ModelFacts("flight-delay", "operations", ""))
    with registry.read() as session:
        assert list_models(session) == []


def test_references_between_tables_are_enforced(registry: Registry) -> None:
    with pytest.raises(IntegrityError), registry.write() as session:
        session.add(Alias(model_id=1, name="canary", version_id=7, event_id=7))


def test_a_newer_schema_is_left_alone(database: str, tmp_path: Path) -> None:
    with Registry(database, tmp_path) as registry, registry.write() as session:
        session.execute(text("update alembic_version set version_num = '9999'"))
        session.execute(text("update registry_info set value = '7.2.0' where key = 'needs'"))
    with pytest.raises(StoreError) as refused:
        Registry(database, tmp_path)
    shown = make_url(database).render_as_string()
    assert str(refused.value) == (
        f"Registry at {shown!r}: has schema 9999, this pilotline knows up to {SCHEMA}. "
        "Use pilotline 7.2.0 or newer."
    )


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("this is not a database, only a line of text\n" * 40)
    with pytest.raises(StoreError) as refused:
        Registry(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path)
    assert str(refused.value) == (
        f"Registry at 'sqlite:///{tmp_path / 'registry.db'}': "
        "cannot be opened (file is not a database). "
        "Check PILOTLINE_HOME, PILOTLINE_REGISTRY_URL and the rights there."
    )


def test_a_home_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(
        StoreError, match=r"cannot be made \(.*\)\. Check PILOTLINE_HOME and rights\."
    ):
        Registry(f"sqlite:///{tmp_path / 'home' / 'registry.db'}", tmp_path)


def test_two_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'home' / 'registry.db'}"
    run_at_once(OPEN, 2, url, str(tmp_path))
    with Registry(url, tmp_path) as registry, registry.read() as session:
        assert session.scalars(text("select version_num from alembic_version")).all() == [SCHEMA]


def test_writers_in_four_processes_lose_no_update(
    registry: Registry, database: str, tmp_path: Path, world: World
) -> None:
    with registry.write() as session:
        model_id = world.enter(session).model_id
    run_at_once(SCORE, 4, database, str(tmp_path))
    with registry.read() as session:
        epochs = session.scalars(select(Run.epoch).order_by(Run.epoch)).all()
        assert epochs == list(range(1, 21))
        events = list_events(session, model_id)
        assert [event.seq for event in events] == list(range(1, 22))
        assert first_broken_event(session, model_id) is None
        day = date(2013, 1, 1)
        assert visible_runs(session, model_id, "production", day, day) == {}


@pytest.mark.parametrize("url", ["nonsense", "foo://x/y", "postgresql+nothing://u:secret@h/x"])
def test_an_address_that_is_none_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(StoreError, match="PILOTLINE_REGISTRY_URL") as refused:
        Registry(url, tmp_path)
    assert "secret" not in str(refused.value)
