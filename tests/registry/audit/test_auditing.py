"""The audit finds and names the first thing that is wrong."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, select, text, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit, list_heads
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.consumers.consumers import Consumer, NewConsumer, add_consumer
from pilotline.registry.form.errors import AuditError
from pilotline.registry.gates.approvals import Approval, ApprovalUse
from pilotline.registry.gates.promotions import rollback
from pilotline.registry.gates.statuses import retire
from pilotline.registry.record.aliases import Alias, remove_alias, set_alias, set_challenger
from pilotline.registry.record.events import Event, append_event
from pilotline.registry.record.metrics import Metric
from pilotline.registry.record.registration import register
from pilotline.registry.record.verifications import Verification
from pilotline.registry.record.versions import (
    ModelVersion,
    TrainingPartition,
    VersionStatus,
    get_version,
)
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.runs import (
    Ending,
    InputRead,
    Run,
    RunInput,
    RunOutcome,
    ScoredPartition,
    claim_partition,
    end_run,
)
from tests.support.registry.lived import relive
from tests.support.registry.meddling import rewrite, unguarded
from tests.support.registry.world import World

NAME = "flight-delay"


def leave_all_traces(registry: Registry) -> None:
    """Let everything happen that leaves state behind."""
    world = World()
    first, _ = register(registry, world.registration("first"))
    second, _ = register(registry, world.registration("second"))
    third, _ = register(registry, world.registration("third"))
    with registry.write() as session:
        registry.blobs.put(b"{}")  # the report that the fixture's verifications name
        add_consumer(session, NAME, NewConsumer("pricing", "pricing@example.org", ">=1"))
        for version in (first, second):
            world.release(session, version)
        joined = InputRead("weather", date(2012, 12, 31), "e" * 64, 7)
        run = claim_partition(session, second, world.claim, [joined])
        end_run(session, run, Ending("succeeded", 842, table_version=1))
        late = claim_partition(session, second, replace(world.claim, date=date(2013, 1, 2)))
        end_run(session, late, Ending("failed", reason="it raised"))
        set_challenger(session, third, "retrained")
        set_alias(session, "candidate", third)
        rollback(session, NAME, "wrong by a factor", "operations", "claimed")
        retire(session, NAME, second.number, "deprecated", "wrong", "operations", "claimed")


@pytest.fixture
def lived(registry: Registry, shared: Path) -> Registry:
    """Return a registry in which everything that leaves state behind has happened."""
    return relive(registry, shared, leave_all_traces)


def test_a_lived_in_registry_is_sound(lived: Registry) -> None:
    found = audit(lived)
    assert (found.chains, found.versions) == (1, 3)
    assert [(head.chain, head.seq) for head in found.heads] == [(NAME, found.events)]


def change_status(session: Session) -> Executable:
    version = get_version(session, NAME, "3.0.0")
    return (
        update(VersionStatus)
        .where(VersionStatus.version_id == version.id)
        .values(status="approved")
    )


def move_champion(session: Session) -> Executable:
    version = get_version(session, NAME, "3.0.0")
    return update(Alias).where(Alias.name == "champion").values(version_id=version.id)


def move_approval(session: Session) -> Executable:
    version = get_version(session, NAME, "3.0.0")
    one = session.scalars(select(Approval.id).limit(1)).one()
    return update(Approval).where(Approval.id == one).values(version_id=version.id)


def hide_run(session: Session) -> Executable:
    return update(ScoredPartition).values(visible_run=None)


def move_run(session: Session) -> Executable:
    return update(Run).values(version_id=get_version(session, NAME, "1.0.0").id)


def point_alias_back(session: Session) -> Executable:
    first = session.scalars(select(Event.id).where(Event.seq == 1)).one()
    return update(Alias).where(Alias.name == "champion").values(event_id=first)


def change_parent(session: Session) -> Executable:
    first, second = (get_version(session, NAME, number) for number in ("1.0.0", "2.0.0"))
    return update(ModelVersion).where(ModelVersion.id == second.id).values(parent_id=first.id)


def reread_consumer(session: Session) -> Executable:
    first = session.scalars(select(Event.id).where(Event.seq == 1)).one()
    return update(Consumer).values(event_id=first)


TAMPERINGS: dict[str, tuple[Callable[[Session], Executable], str]] = {
    "a row's status": (change_status, r"Status of version 3\.0\.0"),
    "the champion": (move_champion, "Alias champion"),
    "another alias": (lambda _: delete(Alias).where(Alias.name == "candidate"), "Alias candidate"),
    "a moved approval": (move_approval, "it was moved here from another version"),
    "an edited approval": (
        lambda _: update(Approval).values(approver="somebody@example.org"),
        "Approval",
    ),
    "an author": (lambda _: update(ModelVersion).values(author="nobody"), "Author of version"),
    "a run's rows": (lambda _: update(RunOutcome).values(rows=1), "Run "),
    "what readers see": (hide_run, "Partition production 2013-01-01"),
    "a consumer": (lambda _: update(Consumer).values(needs="==9"), "Consumer pricing"),
    "a used approval that could be used again": (lambda _: delete(ApprovalUse), "Use of approval"),
    "how a verification went": (
        lambda _: update(Verification).values(passed=False),
        r"Verification 1 of 1\.0\.0",
    ),
    "an edited event": (
        lambda _: update(Event).where(Event.seq == 2).values(body="{}"),
        "Event 2: it is missing, edited or moved|Event 2 of",
    ),
    "the version of a run": (move_run, "Run .* version of"),
    "the data of a run": (
        lambda _: update(Run).values(partition_digest="f" * 64),
        "Run .* partition of",
    ),
    "the epoch of a run": (lambda _: update(Run).values(epoch=7), "Run .* epoch of"),
    "the variant of a run": (
        lambda _: update(Run).values(variant="shadow/1.0.0"),
        "Run .* variant",
    ),
    "the day of a run": (lambda _: update(Run).values(date=date(2013, 2, 1)), "Run .* date"),
    "why a run failed": (lambda _: update(RunOutcome).values(reason="rain"), "Run .* reason"),
    "whether a run committed": (
        lambda _: update(RunOutcome).values(table_version=None),
        "Run .* committed",
    ),
    "the last claim's epoch": (
        lambda _: update(ScoredPartition).values(epoch=0),
        "Partition production 2013-01-01",
    ),
    "a partition that nothing claims": (lambda _: delete(ScoredPartition), "Partition production"),
    "the event of an alias": (point_alias_back, "Alias champion"),
    "the event of a consumer": (reread_consumer, "Consumer pricing"),
    "the words of a verification": (
        lambda _: update(Verification).values(summary="all well"),
        r"Verification 1 of 1\.0\.0 summary",
    ),
    "a parent": (change_parent, r"Parent of version 2\.0\.0"),
    "a training key": (
        lambda _: update(ModelVersion).where(ModelVersion.major == 1).values(training_key="f" * 64),
        r"Training key of version 1\.0\.0",
    ),
    "a dataset": (lambda _: update(ModelVersion).values(dataset="x"), "Dataset of version"),
    "a list of features": (
        lambda _: update(ModelVersion).values(features='["minute"]'),
        "Features of version",
    ),
    "features that are none": (
        lambda _: update(ModelVersion).values(features="hour"),
        "Version of .* a row is missing or holds nonsense",
    ),
    "release notes": (lambda _: update(ModelVersion).values(notes="fine"), "Notes of version"),
    "a training day's data": (
        lambda _: update(TrainingPartition).values(partition_digest="f" * 64),
        "Training partitions of version",
    ),
    "a deleted training day": (lambda _: delete(TrainingPartition), "Training partitions of"),
    "a metric": (lambda _: update(Metric).values(value=0.99), r"Metric roc_auc of 1\.0\.0"),
    "a deleted metric": (lambda _: delete(Metric), r"Metric roc_auc of 1\.0\.0"),
    "the rows of a metric": (
        lambda _: update(Metric).values(rows=9),
        r"File evaluation\.json of 1\.0\.0",
    ),
    "what a run joined": (
        lambda _: update(RunInput).values(table_version=8),
        "Run .* inputs|inputs",
    ),
    "a joined day that is gone": (lambda _: delete(RunInput), "Run .* inputs|inputs"),
    "a deleted status": (lambda _: delete(VersionStatus), r"Status of version 1\.0\.0"),
    "the model of an event": (
        lambda _: update(Event).where(Event.seq == 3).values(model_id=None),
        "Event 3 of .*: it was moved to another model",
    ),
    "an event's time": (
        lambda _: update(Event).where(Event.seq == 4).values(kind="reviewed"),
        "Event 4",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_what_was_changed_behind_its_back_is_named(
    lived: Registry, world: World, what: str
) -> None:
    statement, named = TAMPERINGS[what]
    with lived.write() as session:
        world.tamper(session, statement(session))
    with pytest.raises(AuditError, match=named):
        audit(lived)


def test_an_alias_of_no_version_is_named(lived: Registry) -> None:
    with unguarded(lived) as connection:
        connection.execute(update(Alias).where(Alias.name == "champion").values(version_id=99))
    with pytest.raises(AuditError, match=r"Alias champion .* found no version of the model"):
        audit(lived)


def test_a_row_that_belongs_to_nothing_is_named(tmp_path: Path, empty_database: Path) -> None:
    # PostgreSQL itself lets no such row come about.
    shutil.copy(empty_database, tmp_path / "registry.db")
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path / "blobs") as registry:
        with unguarded(registry) as connection:
            connection.execute(insert(VersionStatus).values(version_id=99, status="approved"))
        with pytest.raises(AuditError, match=r"Row 99 of version_status .* its model_version"):
            audit(registry)


NEWER = ("training_key", "dataset", "features", "notes", "learned")


def forget_newer_facts(_: Event, facts: dict[str, Any]) -> None:
    """Let an event say no more than early ones did."""
    for name in NEWER:
        facts.pop(name, None)


EARLY: dict[str, tuple[Executable, str]] = {
    "release notes": (update(ModelVersion).values(notes="fine"), r"File notes\.md of 1\.0\.0"),
    "a dataset": (update(ModelVersion).values(dataset="x"), r"File contract\.json of 1\.0\.0"),
    "features": (update(ModelVersion).values(features="[]"), r"File contract\.json of 1\.0\.0"),
    "a training day": (delete(TrainingPartition), r"File data\.json of 1\.0\.0"),
}


@pytest.mark.parametrize("what", EARLY)
def test_what_an_early_event_does_not_hold_is_compared_with_the_files(
    lived: Registry, world: World, what: str
) -> None:
    rewrite(lived, forget_newer_facts)
    audit(lived)
    statement, named = EARLY[what]
    with lived.write() as session:
        world.tamper(session, statement)
    with pytest.raises(AuditError, match=named):
        audit(lived)


def test_a_distance_that_was_called_drift_is_still_the_one_on_record(
    lived: Registry, world: World
) -> None:
    judged = {"column": "dest", "distance": "jensen_shannon", "value": 0.125}
    window = {"start": "2013-01-01", "end": "2013-01-07", "judgements": [judged]}
    with lived.write() as session:
        version = get_version(session, NAME, "1.0.0")
        metric = Metric(
            version_id=version.id,
            kind="drift",
            name="dest.jensen_shannon",
            value=0.125,
            start=date(2013, 1, 1),
            end=date(2013, 1, 7),
            variant="production",
            rows=842,
            basis="b" * 64,
        )
        session.add(metric)
        body = {"version": "1.0.0", "digest": version.digest, "windows": [window]}
        append_event(session, version.model_id, "drift detected", body)
    audit(lived)
    with lived.write() as session:
        world.tamper(session, update(Metric).where(Metric.kind == "drift").values(value=0.01))
    with pytest.raises(AuditError, match=r"Metric dest\.jensen_shannon of 1\.0\.0, 2013-01-01"):
        audit(lived)


def test_a_deleted_event_is_named(lived: Registry, world: World) -> None:
    with lived.write() as session:
        # An event that nothing refers to: a run's.
        seq = session.scalars(select(Event.seq).where(Event.kind == "run failed")).one()
        world.tamper(session, delete(Event).where(Event.seq == seq))
    with pytest.raises(AuditError, match=f"Event {seq}"):
        audit(lived)


def test_a_cut_tail_is_found_with_a_head_kept_elsewhere(lived: Registry, world: World) -> None:
    with lived.write() as session:
        # An alias that was set and removed again leaves no trace but this.
        remove_alias(session, get_version(session, NAME, "3.0.0").model_id, "candidate")
        set_alias(session, "candidate", get_version(session, NAME, "3.0.0"))
    with lived.read() as session:
        head = list_heads(session)[0]
    with lived.write() as session:
        world.tamper(session, text("DELETE FROM alias WHERE name = 'candidate'"))
        world.tamper(session, delete(Event).where(Event.seq == head.seq))
    audit(lived)  # nothing is left to contradict the shorter chain
    with pytest.raises(AuditError, match="events were cut or rewritten"):
        audit(lived, head.hash)


def test_an_old_head_is_still_there_later(lived: Registry) -> None:
    with lived.read() as session:
        known = list_heads(session)[0].hash
    with lived.write() as session:
        set_alias(session, "candidate", get_version(session, NAME, "1.0.0"))
    audit(lived, known)


def test_a_flipped_byte_in_a_blob_is_named(lived: Registry) -> None:
    assert isinstance(lived.blobs, FolderBlobs)
    with lived.read() as session:
        digest = get_version(session, NAME, "2.0.0").digest
    path = lived.blobs.root / digest[:2] / digest
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(AuditError, match=r"Manifest of 2\.0\.0"):
        audit(lived)


def test_a_lost_blob_is_named(lived: Registry) -> None:
    lost = lived.blobs.put(b"trained on third")
    lived.blobs.delete(lost)
    with pytest.raises(AuditError, match=rf"Blob {lost[:12]} of 3\.0\.0"):
        audit(lived)


def add_profiled_day(registry: Registry) -> str:
    """Enter a day of a dataset with a profile; return the profile's digest."""
    digest = registry.blobs.put(b"what its columns held")
    with registry.write() as session:
        record_ingest(
            session,
            Ingest(
                dataset="flights",
                date=date(2013, 1, 1),
                token="a" * 64,
                partition_digest="b" * 64,
                profile_digest=digest,
                table_version=1,
                accepted=90,
                quarantined=0,
            ),
        )
    return digest


def test_a_lost_profile_of_an_ingested_day_is_named(lived: Registry) -> None:
    digest = add_profiled_day(lived)
    blobs = audit(lived).blobs
    lived.blobs.delete(digest)
    with pytest.raises(
        AuditError,
        match=rf"Profile {digest[:12]} of flights 2013-01-01 .* it is not in the blob store",
    ):
        audit(lived)
    add_profiled_day(lived)
    assert audit(lived).blobs == blobs  # it is back, and two days may have the same


def test_a_changed_profile_of_an_ingested_day_is_named(lived: Registry) -> None:
    assert isinstance(lived.blobs, FolderBlobs)
    digest = add_profiled_day(lived)
    path = lived.blobs.root / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(b"what they should have held")
    with pytest.raises(AuditError, match=rf"Profile {digest[:12]} .* damaged or were edited"):
        audit(lived)


def test_the_database_itself_refuses_that_events_are_edited(lived: Registry) -> None:
    for statement in (update(Event).values(kind="x"), delete(Event)):
        with (
            pytest.raises(Exception, match="facts are added, never edited"),
            lived.write() as session,
        ):
            session.execute(statement)
    audit(lived)
