"""Importing a model: the whole export is checked and rehearsed, only then anything is written."""

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pilotline.registry.audit import check_model, readable
from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import AuditError, ImportRefusedError, MissingBlobError, StoreError
from pilotline.registry.gates import Approval, approval_digest
from pilotline.registry.moving.archive import Caps, refusal, stage
from pilotline.registry.moving.incoming import Incoming, read_incoming
from pilotline.registry.moving.records import TABLES, Record, resolve_record
from pilotline.registry.moving.staging import staging_folder
from pilotline.registry.opening import Registry
from pilotline.registry.record import (
    Event,
    ModelVersion,
    RegisteredModel,
    Wheel,
    append_event,
    check_contents,
    decode_manifest,
    list_versions,
    list_wheels,
    put_wheel,
)
from pilotline.registry.runs import Run, ScoredPartition
from pilotline.registry.store import Store

CAPS = Caps()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    model: str
    new: bool  # False: it was here already
    versions: int
    events: int
    blobs: int
    wheels: int  # that were not kept here before
    head: str  # hash of the exported chain's last event


@dataclass(frozen=True)
class Importer:
    """Who brings a model, and with it perhaps a champion that other people approved elsewhere."""

    by: str
    identity: str  # how sure we are of that
    act: Callable[[Callable[[Session], bool]], bool]  # does it in the transaction of a decision


def import_model(
    registry: Store, path: Path, caps: Caps = CAPS, importer: Importer | None = None
) -> Imported:
    """Bring the model exported to ``path`` into ``registry``, or refuse it whole.

    Everything is checked in a staging folder first, where the rows are also entered into a
    database of their own and audited. Then blobs are stored, then all rows in one transaction,
    with an ``imported`` event at the end of the chain. Nothing in a blob is run or unpickled.

    Args:
        registry: where to.
        path: a folder, or a file that ends in .tar or .tar.gz.
        caps: how much it may hold.
        importer: who brings it, where a policy asks; by default nobody in particular.

    Raises:
        ImportRefusedError: it is damaged, hostile, or of another model of a name used here.
        StoreError: database, blob store or staging folder cannot be written.
    """
    with staging_folder() as folder:
        staging = folder / "members"
        staging.mkdir()
        try:
            incoming = read_incoming(stage(path, staging, caps), caps)
        except OSError as err:
            if err.errno in NO_ROOM:
                problem = f"cannot be written ({err.strerror})"
                remedy = "Free space there, or let TMPDIR name another folder."
                raise StoreError(str(folder), problem, remedy) from err
            raise refusal(path, f"it cannot be read ({err.strerror})") from err
        with registry.read() as session:
            here = _is_here(session, incoming)
        if not here:
            _rehearse(registry.blobs, incoming, folder / "rehearsal.db")
            _put_blobs(registry.blobs, incoming, incoming.staged.blobs)

            def enter(session: Session) -> bool:
                if _is_here(session, incoming):
                    return True
                _enter(session, incoming, importer)
                _require_blobs(registry.blobs, incoming.staged.blobs)
                return False

            if importer is not None:
                here = importer.act(enter)
            else:
                with registry.write() as session:
                    here = enter(session)
        wheels = _bring_wheels(registry, incoming)
    rows = incoming.rows
    counts = (len(rows["versions"]), len(rows["events"]), len(incoming.staged.blobs))
    return Imported(incoming.name, not here, *counts, wheels, incoming.head[1])


def _is_here(session: Session, incoming: Incoming) -> bool:
    """Tell whether the exported history is part of the registry's own already; reads only.

    Raises:
        ImportRefusedError: another history has the model's name, or a run's id.
    """
    seq, head = incoming.head
    query = select(RegisteredModel.id).where(RegisteredModel.name == incoming.name)
    if session.scalars(query).first() is not None:
        event = select(Event.hash).where(Event.chain == incoming.name, Event.seq == seq)
        if session.scalars(event).first() == head:
            return True
        raise refusal(
            incoming.staged.source,
            f"a model {incoming.name!r} is registered here, and its history has not event {seq} "
            f"{head[:12]}",
            "Histories are not mixed: import it into another registry.",
        )
    known = set(session.scalars(select(Run.id)))
    for run in incoming.rows["runs"]:
        if run["id"] in known:
            raise refusal(incoming.staged.source, f"a run {run['id']!r} is registered here")
    return False


def _rehearse(blobs: BlobStore, incoming: Incoming, database: Path) -> None:
    """Enter the rows into a database of their own, and audit what comes of it.

    Raises:
        ImportRefusedError: a table does not take them, or they are not what events and files say.
        StoreError: there is no room for it.
    """
    source = incoming.staged.source
    with Registry(f"sqlite:///{database}", blobs) as rehearsal:
        try:
            with rehearsal.write() as session:
                model_id = _enter(session, incoming)
                check_model(session, model_id, incoming.name)
                _check_files(session, model_id, incoming)
        except SQLAlchemyError as err:
            cause = getattr(err, "orig", None) or type(err).__name__
            raise refusal(source, f"its rows contradict each other ({cause})") from err
        except AuditError as err:
            raise refusal(source, f"{err.thing} of {err.chain!r}: {err.problem}") from err
        # An event may hold any JSON: a fact that is not there, or not of its kind, is a fault.
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            if isinstance(err, ImportRefusedError):
                raise
            raise refusal(source, f"its events do not say what they must ({err!r})") from err


def _check_files(session: Session, model_id: int, incoming: Incoming) -> None:
    """Compare the rows of each version with its own files."""

    def get(digest: str) -> bytes:
        return (incoming.staged.folder / digest).read_bytes()

    for version in list_versions(session, model_id):
        manifest = decode_manifest(get(version.digest))
        with readable(incoming.name, f"Contents of {version.number}"):
            check_contents(session, incoming.name, version, manifest, get)


def _bring_wheels(registry: Store, incoming: Incoming) -> int:
    """Keep the wheels that are not kept here yet, also of a model that is; return how many."""
    with registry.read() as session:
        kept = {wheel.sha256 for wheel in list_wheels(session)}
    new = [Wheel(**wheel) for wheel in incoming.wheels if wheel["sha256"] not in kept]
    if new:
        digests = [wheel.sha256 for wheel in new]
        _put_blobs(registry.blobs, incoming, digests)
        with registry.write() as session:
            for wheel in new:
                put_wheel(session, wheel)
            _require_blobs(registry.blobs, digests)
    return len(new)


def _put_blobs(blobs: BlobStore, incoming: Incoming, digests: Iterable[str]) -> None:
    for digest in sorted(digests):  # one by one: together they may be larger than the memory
        blobs.put((incoming.staged.folder / digest).read_bytes())


def _require_blobs(blobs: BlobStore, digests: Iterable[str]) -> None:
    """Look, under the writers' lock, that garbage collection took nothing since it was stored."""
    missing = blobs.missing(digests)
    if missing:
        raise MissingBlobError(missing[0])


def _enter(session: Session, incoming: Incoming, importer: Importer | None = None) -> int:
    """Add every row and the event of the import, return the model's id; the caller commits."""
    model = RegisteredModel(**incoming.model)
    session.add(model)
    session.flush()
    ids: dict[str, dict[Any, int]] = {"event_id": {}, "approval_id": {}, "version_id": {}}
    ids["parent_id"] = ids["challenger_id"] = ids["version_id"]
    for name, table in TABLES.items():
        rows = incoming.rows[name]
        if table is ModelVersion:  # one by one: a parent is among those before
            for row in rows:
                version = ModelVersion(model_id=model.id, **resolve_record(row, ids))
                session.add(version)
                session.flush()
                ids["version_id"][version.number] = version.id
            continue
        own = {"model_id": model.id} if "model_id" in table.__table__.columns else {}
        resolved = [own | resolve_record(row, ids) for row in rows]
        if resolved:
            session.execute(insert(table), resolved)
        _learn_ids(session, table, model.id, ids)
    session.add_all(_claimed_partitions(model.id, incoming.rows["runs"]))
    seq, head = incoming.head
    who = {"by": importer.by, "identity": importer.identity} if importer else {}
    body = who | {
        "head": {"seq": seq, "hash": head},
        "versions": len(incoming.rows["versions"]),
        "model": incoming.name,
    }
    append_event(session, model.id, "imported", body)
    return model.id


def _learn_ids(
    session: Session, table: type[Any], model_id: int, ids: dict[str, dict[Any, int]]
) -> None:
    """Keep the ids that the database gave to what later rows refer to."""
    if table is Event:
        query = select(Event.seq, Event.id).where(Event.model_id == model_id)
        ids["event_id"].update(session.execute(query).all())
    elif table is Approval:
        mine = Approval.version_id.in_(ids["version_id"].values())
        for approval in session.scalars(select(Approval).where(mine)):
            ids["approval_id"][approval_digest(approval)] = approval.id


def _claimed_partitions(model_id: int, runs: list[Record]) -> list[ScoredPartition]:
    """Return the last claim of each partition, showing no run: the predictions are not here.

    A scoring here must get a higher epoch than any in the history, or it would count as late.
    """
    last: dict[tuple[str, object], Record] = {}
    for run in runs:
        key = (run["variant"], run["date"])
        if key not in last or run["epoch"] > last[key]["epoch"]:
            last[key] = run
    return [
        ScoredPartition(
            model_id=model_id,
            variant=run["variant"],
            date=run["date"],
            epoch=run["epoch"],
            claimed_by=run["id"],
            visible_run=None,
        )
        for run in last.values()
    ]
