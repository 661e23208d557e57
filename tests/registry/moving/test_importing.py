"""Imports: a model arrives whole with its history, or nothing of it does."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.event import listen, remove

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import check_model
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer
from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.form.errors import ImportRefusedError, StoreError
from pilotline.registry.gates.resolution import champion
from pilotline.registry.moving.exporting import describe_model, export_model
from pilotline.registry.moving.importing import import_model
from pilotline.registry.record.aliases import set_challenger
from pilotline.registry.record.events import GENESIS, Event, append_event, hash_event, list_events
from pilotline.registry.record.history import reigns
from pilotline.registry.record.manifest import decode_manifest
from pilotline.registry.record.models import get_model
from pilotline.registry.record.numbering import Release as Released
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import get_version
from pilotline.registry.runs.listing import list_runs
from pilotline.registry.runs.runs import (
    Ending,
    InputRead,
    claim_partition,
    end_run,
    inputs_of,
    record_teardown,
)
from pilotline.registry.runs.shown import visible_runs
from pilotline.registry.store.tables import Base
from tests.support.registry.lived import relive
from tests.support.registry.world import World
from tests.support.servers.once import made_once

NAME = "flight-delay"
DAY = date(2013, 1, 1)


@pytest.fixture
def source(tmp_path: Path, empty_database: Path) -> Iterator[Registry]:
    """Return the registry to export from."""
    shutil.copy(empty_database, tmp_path / "source.db")
    with Registry(f"sqlite:///{tmp_path / 'source.db'}", tmp_path / "source-blobs") as opened:
        yield opened


def work(source: Registry) -> None:
    """Release, score and retrain a model, and give it a consumer."""
    world = World()
    first = register(source, world.registration())[0]
    with source.write() as session:
        world.release(session, first)
        add_consumer(session, NAME, NewConsumer("planners", "ops@example.org", ">=1"))
        for _ in range(3):  # the last has the highest epoch
            joined = InputRead("predictions/no-show", date(2012, 12, 31), "e" * 64, 7)
            run = claim_partition(session, first, world.claim, [joined])
            profile = source.blobs.put(b"a profile")
            end_run(session, run, Ending("succeeded", 842, profile_digest=profile, table_version=0))
        record_teardown(session, run, 0.5, True)
    manifest = decode_manifest(source.blobs.get(first.digest))
    parent = (first, Released(manifest, world.registration().contract))
    second = register(source, world.registration("second", parent=parent, notes="Second."))[0]
    with source.write() as session:
        set_challenger(session, second, "newer")


@pytest.fixture
def lived(source: Registry, shared: Path) -> Registry:
    """Return a registry whose model was released, scored, retrained and given a consumer."""
    return relive(source, shared, work)


@pytest.fixture
def folder(shared: Path, empty_database: Path, tmp_path: Path) -> Path:
    """Return an export of the model that lived."""

    def export(folder: Path) -> None:
        shutil.copy(empty_database, folder / "source.db")
        with Registry(f"sqlite:///{folder / 'source.db'}", folder / "blobs") as source:
            export_model(relive(source, shared, work), NAME, folder / "out")

    made = made_once(shared, "test_importing-export", export)
    return Path(shutil.copytree(made / "out", tmp_path / "out"))


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz"])
def test_an_imported_model_has_the_history_and_champion_it_had(
    lived: Registry, registry: Registry, tmp_path: Path, suffix: str
) -> None:
    written = export_model(lived, NAME, tmp_path / f"moved{suffix}")
    imported = import_model(registry, written.path)
    with lived.read() as there, registry.read() as here:
        told = list_events(there, get_model(there, NAME).id)
        kept = list_events(here, get_model(here, NAME).id)
        assert [event.hash for event in kept[:-1]] == [event.hash for event in told]
        assert reigns(here, NAME) == reigns(there, NAME)
        assert champion(here, NAME).digest == champion(there, NAME).digest
    assert kept[-1].kind == "imported"
    assert kept[-1].facts() == {
        "head": {"seq": written.events, "hash": written.head},
        "versions": 2,
        "model": NAME,
    }
    assert (imported.new, imported.head) == (True, written.head)


def test_an_imported_model_passes_the_audit(folder: Path, registry: Registry) -> None:
    import_model(registry, folder)
    with registry.read() as session:
        assert check_model(session, get_model(session, NAME).id, NAME)


def test_only_the_imported_event_tells_a_second_export_from_the_first(
    lived: Registry, folder: Path, registry: Registry
) -> None:
    import_model(registry, folder)
    with lived.read() as there, registry.read() as here:
        first, second = describe_model(there, NAME), describe_model(here, NAME)
    assert second["events"].pop()["kind"] == "imported"
    first.pop("head")
    second.pop("head")
    assert second == first


def test_an_imported_model_can_be_moved_on(
    folder: Path, registry: Registry, target: Registry, tmp_path: Path
) -> None:
    import_model(registry, folder)
    import_model(target, export_model(registry, NAME, tmp_path / "again.tar").path)
    with target.read() as session:
        assert len(list_events(session, get_model(session, NAME).id, "imported")) == 2


def test_runs_come_as_history_and_no_partition_shows_one(
    folder: Path, registry: Registry, world: World
) -> None:
    import_model(registry, folder)
    with registry.write() as session:
        version = champion(session, NAME)
        assert len(list_runs(session, version)) == 3
        assert visible_runs(session, version.model_id, "production", DAY, DAY) == {}
        run = claim_partition(session, version, world.claim)
        end_run(session, run, Ending("succeeded", 842, table_version=0))
        assert visible_runs(session, version.model_id, "production", DAY, DAY) == {DAY: run}
        check_model(session, version.model_id, NAME)


def test_the_same_export_twice_changes_nothing(folder: Path, target: Registry) -> None:
    import_model(target, folder)
    before = _rows(target)
    assert import_model(target, folder).new is False
    assert _rows(target) == before


@pytest.mark.parametrize("events", [0, 50])  # fewer than the export has, or more
def test_another_history_of_the_same_name_is_refused(
    folder: Path, target: Registry, world: World, events: int
) -> None:
    version, _ = register(target, world.registration("mine"))
    with target.write() as session:
        for number in range(events):
            append_event(session, version.model_id, "noted", {"number": number})
    before = (_rows(target), _blobs(target))
    with pytest.raises(ImportRefusedError, match="Histories are not mixed"):
        import_model(target, folder)
    assert (_rows(target), _blobs(target)) == before


# What rows say since, and an export of before does not.
ADDED = {"runs": ("challenger", "share"), "metrics": ("low", "high")}


def test_an_export_of_before_splits_arrives_whole(
    lived: Registry, folder: Path, target: Registry
) -> None:
    def age(index: dict[str, Any]) -> None:
        for kind, keys in ADDED.items():
            assert index[kind]
            for row in index[kind]:
                assert [row.pop(key) for key in keys] == [None] * len(keys)

    _edit_index(folder, age)
    import_model(target, folder)
    with lived.read() as there, target.read() as here:
        model = get_model(here, NAME)
        check_model(here, model.id, NAME)
        assert describe_model(here, NAME)["runs"] == describe_model(there, NAME)["runs"]


class _Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., int], tuple[Path, str]]:
        return Path.write_text, (self.path, "unpickled")


def test_a_pickle_is_moved_and_never_loaded(
    source: Registry, target: Registry, world: World, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps(_Marker(marker))
    new = world.registration()
    contents = {**new.contents, "artifact/model.pkl": ("model", data)}
    register(source, replace(new, contents=contents))
    import_model(target, export_model(source, NAME, tmp_path / "moved").path)
    assert target.blobs.get(hashlib.sha256(data).hexdigest()) == data
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()  # it would have shown


def _edit_index(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "export.json"
    index = json.loads(path.read_bytes())
    edit(index)
    path.write_bytes(canonical_json(index))


def _last(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def find(index: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = index[kind][-1]
        return found

    return find


def _alias(index: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in index["aliases"] if row["name"] == name)
    return found


FORGED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another format": (lambda i: i.update(format="pilotline-export/2"), "expected format"),
    "an unknown key": (lambda i: i.update(more=[]), "exactly its keys"),
    "a reserved name": (lambda i: i["model"].update(name="con"), "'con'"),
    "a name with a slash": (lambda i: i["model"].update(name="../x"), "'../x'"),
    "a row with an unknown key": (lambda i: _last("runs")(i).update(id2=1), "runs 2: expected"),
    "a text for a number": (lambda i: _last("runs")(i).update(epoch="3"), "'epoch' as int"),
    "a true for a number": (lambda i: _last("runs")(i).update(epoch=True), "'epoch' as int"),
    "a number too large": (lambda i: _last("runs")(i).update(epoch=2**40), "'epoch' from 0"),
    "a text too long": (lambda i: _last("runs")(i).update(variant="v" * 81), "at most 80"),
    "another zone": (
        lambda i: i["model"].update(created_at="2026-11-21T09:00:00+01:00"),
        "in UTC",
    ),
    "a run's id with a path": (lambda i: _last("runs")(i).update(id="../../etc"), "run's id"),
    "an edited event": (lambda i: i["events"][2].update(body="{}"), "event 3 does not fit"),
    "a deleted event": (lambda i: i["events"].pop(3), "event 4 does not fit"),
    "a cut tail": (lambda i: i["events"].pop(), "it was cut"),
    "another head": (lambda i: i["head"].update(hash="0" * 64), "it was cut"),
    "another digest": (lambda i: i["versions"][0].update(digest="0" * 64), "versions: the events"),
    "another author": (lambda i: i["versions"][0].update(author="me@example.org"), "Author of"),
    "another status": (lambda i: i["statuses"][1].update(status="approved"), "Status of version"),
    "an edited approval": (lambda i: _last("approvals")(i).update(approver="me"), "approvals: "),
    "a missing approval": (lambda i: i["approvals"].pop(), "approvals: the events"),
    "an unused approval": (lambda i: i["approval_uses"].pop(), "uses of approvals: "),
    "a verification that passed": (
        lambda i: _last("verifications")(i).update(summary="all well"),
        "verifications: the events",
    ),
    "a moved alias": (
        lambda i: i["aliases"][0].update(version="1.0.0"),
        "Alias challenger",
    ),
    "an alias of an unknown version": (
        lambda i: i["aliases"][1].update(version="9.0.0"),
        "known version, got '9.0.0'",
    ),
    "a consumer elsewhere": (
        lambda i: i["consumers"][0].update(contact="json://evil.example/"),
        "Consumer planners",
    ),
    "a contact that is none": (
        lambda i: i["consumers"][0].update(contact="file:///etc/passwd"),
        "contact is no mail address",
    ),
    "a parent after its child": (
        lambda i: i["versions"].reverse(),
        "known parent",
    ),
    "a run of two outcomes": (
        lambda i: i["run_outcomes"].append(i["run_outcomes"][0]),
        "contradict each other",
    ),
    "a failed run that succeeded": (
        lambda i: i["run_outcomes"][0].update(rows=7),
        "Run ",
    ),
    "a better metric": (lambda i: i["metrics"][0].update(value=0.99), "Metric roc_auc of 1.0.0"),
    "other notes": (lambda i: i["versions"][0].update(notes="fine"), "Notes of version 1.0.0"),
    "a day it did not learn from": (
        lambda i: i["training_partitions"][0].update(date="2013-01-09"),
        "Training partitions of version",
    ),
    "a joined day of other data": (
        lambda i: _last("run_inputs")(i).update(partition_digest="f" * 64),
        "inputs of 'flight-delay'",
    ),
    "a joined day that nobody says": (
        lambda i: i["run_inputs"].pop(),
        "Run ",
    ),
    "a joined dataset with a path for a name": (
        lambda i: _last("run_inputs")(i).update(dataset="predictions/../x"),
        "'../x'",
    ),
    "a run of other data": (
        lambda i: _last("runs")(i).update(partition_digest="f" * 64),
        "partition of 'flight-delay'",
    ),
    "a run shared with another version": (
        lambda i: _last("runs")(i).update(challenger="1.0.1", share="0.5"),
        "Run ",
    ),
    "a run shared with an unknown version": (
        lambda i: _last("runs")(i).update(challenger="9.0.0", share="0.5"),
        "got '9.0.0'",
    ),
    "a share without a challenger": (lambda i: _last("runs")(i).update(share="0.5"), "Run "),
    "a run of another version": (lambda i: _last("runs")(i).update(version="1.0.1"), "Run "),
    "an epoch that nothing can follow": (
        lambda i: _last("runs")(i).update(epoch=2**31 - 1),
        "epoch 2147483647 is out of all bounds",
    ),
    "a version that nothing can follow": (
        lambda i: _last("versions")(i).update(major=2**31 - 1),
        "major 2147483647 is out of all bounds",
    ),
    "a time to come": (
        lambda i: _last("runs")(i).update(started_at="9999-12-31T23:59:59.999999+00:00"),
        "is out of all bounds",
    ),
    "a day beyond all days": (
        lambda i: _last("runs")(i).update(date="9999-12-31"),
        "date 9999-12-31 is out of all bounds",
    ),
    "a variant with a path": (lambda i: _last("runs")(i).update(variant="../x"), "no variant"),
    "an owner with an escape": (lambda i: i["model"].update(owner="\x1b]0;x\x07"), "is no name"),
    "an alias on the wrong event": (
        lambda i: _alias(i, "champion").update(event=1),
        "Alias champion",
    ),
    "a list of blobs without one": (lambda i: i["blobs"].popitem(), "is not listed"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_record_is_refused_whole(folder: Path, target: Registry, what: str) -> None:
    edit, told = FORGED[what]
    _edit_index(folder, edit)
    _refused(target, folder, told)


def _edit_body(
    index: dict[str, Any], kind: str, edit: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Edit what the first event of a kind says, and return it."""
    event: dict[str, Any] = next(event for event in index["events"] if event["kind"] == kind)
    facts = json.loads(event["body"])
    edit(facts)
    event["body"] = canonical_json(facts).decode()
    return event


def _rechain(index: dict[str, Any]) -> None:
    """Make the chain verify again, as who rewrites all of it can."""
    previous = GENESIS
    for seq, event in enumerate(index["events"], start=1):
        event |= {"seq": seq, "previous": previous}
        facts = dict(event)
        for name in ("recorded_at", "effective_from"):
            facts[name] = datetime.fromisoformat(facts[name])
        event["hash"] = previous = hash_event(Event(**facts))
    index["head"] = {"seq": len(index["events"]), "hash": previous}


def _one_approval(index: dict[str, Any]) -> None:
    _edit_body(index, "promoted", lambda facts: facts["approvals"].pop())
    index["approval_uses"].pop()


def _author_approves(index: dict[str, Any]) -> None:
    index["versions"][0]["author"] = "reviewer@example.org"
    _edit_body(index, "registered", lambda facts: facts.update(author="reviewer@example.org"))


def _promoted_unapproved(index: dict[str, Any]) -> None:
    review = next(event for event in index["events"] if event["kind"] == "approved")
    review["kind"] = "go-live approved"


def _add_event(index: dict[str, Any], kind: str, facts: dict[str, Any]) -> None:
    body = canonical_json(facts).decode()
    index["events"].append({**index["events"][-1], "kind": kind, "body": body})


def _set_alias(index: dict[str, Any], name: str) -> None:
    facts = {"alias": name, "version": "1.0.0", "digest": index["versions"][0]["digest"]}
    _add_event(index, "alias set", facts)
    seq = len(index["events"])
    index["aliases"].append({"name": name, "version": "1.0.0", "event": seq})


def _reign_to_come(index: dict[str, Any]) -> None:
    event = _edit_body(index, "promoted", lambda facts: None)
    moment = datetime.fromisoformat(event["recorded_at"]) + timedelta(hours=1)
    event["effective_from"] = moment.isoformat()


RECHAINED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a promotion on one approval": (_one_approval, "one approval at each of review and go-live"),
    "a promotion that the author approved": (
        _author_approves,
        "'reviewer@example.org', the author",
    ),
    "a promotion without a review": (_promoted_unapproved, "expected an approved version"),
    "a promotion from a time to come": (_reign_to_come, "expected no time to come"),
    "another champion before": (
        lambda i: _edit_body(i, "promoted", lambda facts: facts.update(previous="0.9.0")),
        "expected None before, got '0.9.0'",
    ),
    "an alias with a path": (lambda i: _set_alias(i, "../x"), "Name '../x'"),
    "an alias with a reserved name": (lambda i: _set_alias(i, "latest"), "Name 'latest'"),
    "a kind with an escape": (lambda i: _add_event(i, "\x1b[31m", {}), r"got '\x1b[31m'"),
    "a fact that is missing": (lambda i: _add_event(i, "revoked", {}), "no 'version'"),
    "a version that is not there": (
        lambda i: _add_event(i, "drift detected", {"version": "7.0.0"}),
        "expected a registered version, got '7.0.0'",
    ),
    "a number that comes twice": (
        lambda i: i["events"].append(dict(i["events"][0])),
        "versions: the events say something else",
    ),
}


@pytest.mark.parametrize("what", RECHAINED)
def test_a_chain_rewritten_from_its_beginning_is_refused_whole(
    folder: Path, target: Registry, what: str
) -> None:
    edit, told = RECHAINED[what]

    def rewrite(index: dict[str, Any]) -> None:
        edit(index)
        _rechain(index)

    _edit_index(folder, rewrite)
    _refused(target, folder, told)


def test_rewriting_a_chain_as_it_was_changes_nothing(folder: Path, target: Registry) -> None:
    _edit_index(folder, _rechain)
    assert import_model(target, folder).new


@pytest.mark.parametrize(
    ("path", "data", "told"),
    [
        ("notes.md", None, "holds no file 'notes.md'"),
        ("contract.json", None, "holds no file 'contract.json'"),
        ("evaluation.json", None, "holds no file 'evaluation.json'"),
        ("evaluation.json", b"{}", "file 'evaluation.json' of 1.0.0 is none"),
        ("contract.json", b"[]", "file 'contract.json' of 1.0.0 is none"),
        ("notes.md", b"\xff", "file 'notes.md' of 1.0.0 is none"),
    ],
)
def test_a_version_without_what_every_command_reads_is_refused_whole(
    source: Registry,
    target: Registry,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    path: str,
    data: bytes | None,
    told: str,
) -> None:
    new = world.registration()
    contents = dict(new.contents)
    role, _ = contents.pop(path)
    if data is not None:
        contents[path] = (role, data)
    # A registry that takes anything: registering looks at the files as well.
    monkeypatch.setattr(
        "pilotline.registry.record.registration.first_contradiction", lambda *_: None
    )
    register(source, replace(new, contents=contents))
    _refused(target, export_model(source, NAME, tmp_path / "out").path, told)


@pytest.mark.parametrize("every", [True, False], ids=["staging", "registry"])
def test_a_full_disk_is_told_as_what_it_is(
    folder: Path, target: Registry, empty_database: Path, every: bool
) -> None:
    pages = empty_database.stat().st_size // 4096  # SQLite's default size of a page
    full = Engine if every else target.engine

    def fill(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}")

    listen(full, "connect", fill)
    target.engine.dispose()
    try:
        with pytest.raises(StoreError) as refused:
            import_model(target, folder)
    finally:
        remove(full, "connect", fill)
    where = "rehearsal.db" if every else "target.db"
    assert f"{where}': its disk is full. Free space" in str(refused.value)
    assert not any(_rows(target).values())


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b'{"format":1,"format":1}', "'format' twice"),
        (b'{"format":NaN}', "got NaN"),
        (b"[" * 65 + b"]" * 65, "nested at most 64 deep"),
        (b'{"format": 1}', "canonical JSON"),
        (b'{"format":', "Expecting value"),
        (b'{"format":"\\ud800"}', "surrogates not allowed"),
        (b"\xff\xfe", "decode"),
        (b"[" + b"{}," * 1_000_000 + b"{}]", "at most 2000000 values"),
    ],
)
def test_json_that_readers_could_read_differently_is_refused_whole(
    folder: Path, target: Registry, raw: bytes, told: str
) -> None:
    (folder / "export.json").write_bytes(raw)
    _refused(target, folder, told)


def test_a_blob_that_belongs_to_nothing_is_refused_whole(folder: Path, target: Registry) -> None:
    digest = hashlib.sha256(b"stray").hexdigest()
    (folder / "blobs" / digest[:2]).mkdir(exist_ok=True)
    (folder / "blobs" / digest[:2] / digest).write_bytes(b"stray")
    _edit_index(folder, lambda index: index["blobs"].update({digest: 5}))
    _refused(target, folder, "belongs to nothing")


def test_a_blob_that_a_manifest_names_must_be_there(folder: Path, target: Registry) -> None:
    digest = hashlib.sha256(b"trained on first").hexdigest()
    (folder / "blobs" / digest[:2] / digest).unlink()
    _edit_index(folder, lambda index: index["blobs"].pop(digest))
    _refused(target, folder, "'artifact/model' of 1.0.0 is missing")


@pytest.mark.parametrize("path", ["../model.py", "/model.py", "a//b", "a/./b", "a\\b"])
def test_a_manifest_that_names_an_odd_path_is_refused_whole(
    source: Registry, target: Registry, world: World, tmp_path: Path, path: str
) -> None:
    new = world.registration()
    register(source, replace(new, contents={path: ("model", b"x")}))
    _refused(target, export_model(source, NAME, tmp_path / "out").path, "no file of a version")


def _refused(target: Registry, path: Path, told: str) -> None:
    """Import ``path``, which must fail with ``told`` in the message and leave nothing."""
    with pytest.raises(ImportRefusedError) as refused:
        import_model(target, path)
    assert told in str(refused.value)
    assert _blobs(target) == set()
    assert not any(_rows(target).values())


def _blobs(registry: Registry) -> set[str]:
    return {blob.digest for blob in registry.blobs.list()}


def _rows(registry: Registry) -> dict[str, int]:
    """Return how many rows each table of facts or state has."""
    with registry.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
            if table.name != "registry_info"
        }


def test_what_a_run_joined_moves_with_it(lived: Registry, target: Registry, folder: Path) -> None:
    import_model(target, folder)
    with target.read() as session:
        (first, *_) = list_runs(session, get_version(session, NAME, "1.0.0"))
        read = inputs_of(session, [first[0].id])
    assert [one.dataset for one in read] == ["predictions/no-show"]


def test_an_export_of_before_runs_joined_anything_is_taken(
    source: Registry, target: Registry, world: World, tmp_path: Path
) -> None:
    register(source, world.registration())
    written = export_model(source, NAME, tmp_path / "early").path
    index = json.loads((written / "export.json").read_text())
    assert index.pop("run_inputs") == []
    (written / "export.json").write_bytes(canonical_json(index))
    assert import_model(target, written).new
