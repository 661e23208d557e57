"""What an administrator could do behind the registry's back, and how to undo it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.gates.approvals import Approval, ApprovalUse
from pilotline.registry.gates.approvers import Approver
from pilotline.registry.record.aliases import Alias
from pilotline.registry.record.events import GENESIS, Event, hash_event
from pilotline.registry.record.metrics import Metric
from pilotline.registry.record.verifications import Verification
from pilotline.registry.record.versions import ModelVersion, VersionStatus
from pilotline.registry.runs.runs import Run, RunOutcome, ScoredPartition
from pilotline.registry.store.tables import Base

DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Meddling:
    """One row changed or deleted."""

    row: Base
    values: dict[str, Any] | None  # None: deleted
    named: str  # what the audit must say, as a pattern
    unfit: bool = False  # whether the champion must not be resolved any more
    chain: str = ""  # whose head somebody kept elsewhere, where only that can tell


@dataclass(frozen=True)
class Scene:
    """What is there to be meddled with."""

    session: Session
    versions: Sequence[ModelVersion]
    champion: int | None = None  # the version's id

    def rows(self, table: type[Any]) -> list[Any]:
        """Return the rows of ``table``, in the order in which they came."""
        keys = table.__table__.primary_key.columns
        return list(self.session.scalars(select(table).order_by(*keys)))

    def reign(self) -> Event | None:
        """Return the event that made the champion what it is."""
        alias = next((row for row in self.rows(Alias) if row.name == "champion"), None)
        return self.session.get_one(Event, alias.event_id) if alias else None

    def counted(self, approval: Approval) -> bool:
        """Tell whether the champion stands on ``approval``."""
        reign = self.reign()
        return reign is not None and approval.digest() in reign.body


def change_status(scene: Scene, at: int) -> Meddling | None:
    """Revoke a version without an event, or let one that is revoked run again."""
    version = _pick(scene.versions, at)
    row = scene.session.get_one(VersionStatus, version.id)
    values = {"status": "approved" if row.status == "revoked" else "revoked"}
    named = f"^Status of version {version.number} "
    return Meddling(row, values, named, version.id == scene.champion)


def change_digest(scene: Scene, at: int) -> Meddling | None:
    """Let a version's number stand for other bytes."""
    version = _pick(scene.versions, at)
    named = f"^Digest of version {version.number} "
    return Meddling(version, {"digest": "0" * 64}, named, version.id == scene.champion)


def change_author(scene: Scene, at: int) -> Meddling | None:
    """Let somebody else have made a version, who then may not approve it."""
    version = _pick(scene.versions, at)
    return Meddling(version, {"author": "nobody"}, f"^Author of version {version.number} ")


def move_champion(scene: Scene, at: int) -> Meddling | None:
    """Point the alias at another version."""
    others = [version for version in scene.versions if version.id != scene.champion]
    if scene.champion is None or not others:
        return None
    values = {"version_id": _pick(others, at).id}
    alias = next(row for row in scene.rows(Alias) if row.name == "champion")
    return Meddling(alias, values, "^Alias champion ", True)


def drop_champion(scene: Scene, at: int) -> Meddling | None:
    """Delete the alias."""
    alias = next((row for row in scene.rows(Alias) if row.name == "champion"), None)
    return Meddling(alias, None, "^Alias champion ", True) if alias else None


def move_approval(scene: Scene, at: int) -> Meddling | None:
    """Let an approval be over another version than the one it was given for."""
    approval = _pick(scene.rows(Approval), at)
    others = [v for v in scene.versions if approval and v.id != approval.version_id]
    if approval is None or not others:
        return None
    version = _pick(others, at)
    named = f"^Approval at {approval.gate} of {version.number} .*moved here from another version"
    return Meddling(approval, {"version_id": version.id}, named, scene.counted(approval))


def change_approval(scene: Scene, at: int) -> Meddling | None:
    """Let somebody else have approved."""
    approval = _pick(scene.rows(Approval), at)
    if approval is None:
        return None
    return Meddling(approval, {"approver": "nobody"}, "^Approval ", scene.counted(approval))


def delete_use(scene: Scene, at: int) -> Meddling | None:
    """Let an approval that a promotion used be used again."""
    use = _pick(scene.rows(ApprovalUse), at)
    return Meddling(use, None, "^Use of approval ") if use else None


def pass_verification(scene: Scene, at: int) -> Meddling | None:
    """Let a verification have come out the other way."""
    row = _pick(scene.rows(Verification), at)
    if row is None:
        return None
    number = scene.session.get_one(ModelVersion, row.version_id).number
    return Meddling(row, {"passed": not row.passed}, f"^Verification .*{number} ")


def delete_event(scene: Scene, at: int) -> Meddling | None:
    """Delete an event; the last of a chain is missed by whoever kept the head."""
    event = _pick(scene.rows(Event), at)
    if event is None:
        return None
    chain = [row for row in scene.rows(Event) if row.chain == event.chain]
    named = "" if event.seq == len(chain) else f"^Event {event.seq} of '{event.chain}'"
    return Meddling(event, None, named, event is scene.reign(), event.chain)


def change_event(scene: Scene, at: int) -> Meddling | None:
    """Let an event tell nothing."""
    event = _pick(scene.rows(Event), at)
    if event is None:
        return None
    named = f"^Event {event.seq} of '{event.chain}'"
    return Meddling(event, {"body": "{}"}, named, event is scene.reign())


def change_run(scene: Scene, at: int) -> Meddling | None:
    """Let a run have written other rows."""
    row = _pick(scene.rows(RunOutcome), at)
    return Meddling(row, {"rows": row.rows + 1}, f"^Run {row.run_id} ") if row else None


def move_run(scene: Scene, at: int) -> Meddling | None:
    """Let a run have been made by another version."""
    ended = {row.run_id for row in scene.rows(RunOutcome)}
    row = _pick([run for run in scene.rows(Run) if run.id in ended], at)
    others = [version for version in scene.versions if row and version.id != row.version_id]
    if row is None or not others:
        return None
    return Meddling(row, {"version_id": _pick(others, at).id}, f"^Run {row.id} version ")


def change_claim(scene: Scene, at: int) -> Meddling | None:
    """Let a worker that was fenced off win."""
    row = _pick(scene.rows(ScoredPartition), at)
    if row is None:
        return None
    named = f"^Partition {row.variant} {row.date} "
    return Meddling(row, {"epoch": row.epoch - 1}, named)


def turn_back_alias(scene: Scene, at: int) -> Meddling | None:
    """Let the champion stand on the first event of all."""
    alias = next((row for row in scene.rows(Alias) if row.name == "champion"), None)
    if alias is None:
        return None
    first = next(row for row in scene.rows(Event) if row.model_id == alias.model_id)
    return Meddling(alias, {"event_id": first.id}, "^Alias champion ", True)


def change_metric(scene: Scene, at: int) -> Meddling | None:
    """Let a version be better than it was."""
    row = _pick(scene.rows(Metric), at)
    return Meddling(row, {"value": 0.99}, f"^Metric {row.name} of ") if row else None


def change_notes(scene: Scene, at: int) -> Meddling | None:
    """Let a version's notes say something else."""
    version = _pick(scene.versions, at)
    return Meddling(version, {"notes": "fine"}, f"^Notes of version {version.number} ")


def delete_status(scene: Scene, at: int) -> Meddling | None:
    """Let a version have no status."""
    version = _pick(scene.versions, at)
    row = scene.session.get_one(VersionStatus, version.id)
    named = f"^Status of version {version.number} "
    return Meddling(row, None, named, version.id == scene.champion)


def hide_run(scene: Scene, at: int) -> Meddling | None:
    """Let readers see nothing of a day."""
    row = _pick([row for row in scene.rows(ScoredPartition) if row.visible_run], at)
    if row is None:
        return None
    return Meddling(row, {"visible_run": None}, f"^Partition {row.variant} {row.date} ")


def change_approver(scene: Scene, at: int) -> Meddling | None:
    """Let somebody be an approver whom nobody enrolled."""
    row = _pick([row for row in scene.rows(Approver) if row.removed_by_event is None], at)
    return Meddling(row, {"name": "intruder"}, "^Approver (intruder|.*@)")


MEDDLINGS: dict[str, Callable[[Scene, int], Meddling | None]] = {
    make.__name__: make
    for make in (
        *(change_status, change_digest, change_author, move_champion, drop_champion),
        *(move_approval, change_approval, delete_use, pass_verification, delete_event),
        *(change_event, change_run, hide_run, change_approver, move_run, change_claim),
        *(turn_back_alias, change_metric, change_notes, delete_status),
    )
}


@contextmanager
def meddled(registry: Registry, meddling: Meddling) -> Iterator[None]:
    """Change the row for the time of the ``with`` block."""
    table = meddling.row.__table__
    keys = [key == getattr(meddling.row, key.name) for key in table.primary_key]
    before = {column.name: getattr(meddling.row, column.name) for column in table.columns}
    with unguarded(registry) as connection:
        if meddling.values is None:
            connection.execute(delete(type(meddling.row)).where(*keys))
        else:
            connection.execute(update(type(meddling.row)).where(*keys).values(meddling.values))
    yield
    with unguarded(registry) as connection:
        connection.execute(delete(type(meddling.row)).where(*keys))
        connection.execute(insert(type(meddling.row)).values(before))


@contextmanager
def unguarded(registry: Registry) -> Iterator[Connection]:
    """Give a connection that no trigger and no foreign key stops; commits at the end."""
    with registry.engine.connect() as connection:
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            yield connection
            connection.commit()
            return
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        triggers = connection.exec_driver_sql(query).all()
        for name, _ in triggers:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield connection
        for _, definition in triggers:
            connection.exec_driver_sql(definition)
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")


def let_days_pass(registry: Registry, days: int) -> None:
    """Make the registry what it would be if everything in it had happened ``days`` earlier.

    It takes no clock from outside, so its own past is moved: the times of decisions and events,
    and every digest and hash that is taken over them.
    """
    renamed: dict[str, str] = {}
    past = timedelta(days=days)
    with unguarded(registry) as connection, Session(connection) as session:
        for approval in session.scalars(select(Approval)):
            before = approval.digest()
            approval.recorded_at -= past
            renamed[before] = approval.digest()
        previous: dict[str, str] = {}
        for event in session.scalars(select(Event).order_by(Event.chain, Event.seq)):
            event.recorded_at -= past
            event.effective_from -= past
            event.previous = previous.get(event.chain, GENESIS)
            event.body = _rename(event.body, renamed)
            before, event.hash = event.hash, hash_event(event)
            renamed[before] = previous[event.chain] = event.hash
        session.flush()


def rewrite(registry: Registry, edit: Callable[[Event, dict[str, Any]], None]) -> None:
    """Edit what events say, and make their chains verify again.

    Args:
        registry: whose events.
        edit: changes an event, or the facts in its body, in place.
    """
    previous: dict[str, str] = {}
    with unguarded(registry) as connection, Session(connection) as session:
        for event in session.scalars(select(Event).order_by(Event.chain, Event.seq)):
            facts = event.facts()
            edit(event, facts)
            event.body = canonical_json(facts).decode()
            event.previous = previous.get(event.chain, GENESIS)
            event.hash = previous[event.chain] = hash_event(event)
        session.flush()


def _rename(body: str, renamed: dict[str, str]) -> str:
    return DIGEST.sub(lambda found: renamed.get(found[0], found[0]), body)


def _pick(rows: Sequence[Any], at: int) -> Any:
    return rows[at % len(rows)] if rows else None
