"""The audit: chains, present state against their fold, and every blob hashed again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pilotline.registry.audit.comparing import compare, compare_rows, readable
from pilotline.registry.audit.folding import fold_events
from pilotline.registry.audit.grammar import check_grammar
from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import AuditError, MissingBlobError, RegistryError, StoreError
from pilotline.registry.gates import Approver
from pilotline.registry.record import (
    FACTORY,
    Event,
    Manifest,
    ModelVersion,
    RegisteredModel,
    Verification,
    check_contents,
    decode_manifest,
    first_misfit,
    list_models,
    list_versions,
    list_wheels,
)
from pilotline.registry.runs import Ingest, Run, RunOutcome, find_unfounded
from pilotline.registry.store import Store


@dataclass(frozen=True)
class Head:
    """The last event of a chain: kept elsewhere, it proves that nothing was cut or rewritten."""

    chain: str
    seq: int
    hash: str


@dataclass(frozen=True)
class Audited:
    """What was looked through without a fault."""

    chains: int
    events: int
    versions: int
    blobs: int
    heads: list[Head]


def list_heads(session: Session) -> list[Head]:
    """Return the head of every chain, the factory's first; reads only."""
    heads = {}
    for chain, seq, digest in session.execute(
        select(Event.chain, Event.seq, Event.hash).order_by(Event.chain, Event.seq)
    ):
        heads[chain] = Head(chain, seq, digest)
    return list(heads.values())


def audit(
    registry: Store, known: str | None = None, say: Callable[[str], None] | None = None
) -> Audited:
    """Walk everything and stop at the first thing that is wrong; reads only.

    Args:
        registry: the registry.
        known: the hash of an event that was once the head of a chain, or how it begins; it must
            still be there.
        say: told of each chain.

    Raises:
        AuditError: the first thing that is wrong, by name.
    """
    with registry.read() as session:
        heads = list_heads(session)
        with readable("registry", "Model"):
            models = list_models(session)
        chains = [_check_factory(session)]
        seen: set[str] = set()
        versions = 0
        for model in models:
            if say:
                say(f"auditing {model.name}")
            chains.append(check_model(session, model.id, model.name))
            versions += _check_blobs(session, registry.blobs, model, seen)
        _check_wheels(session, registry.blobs, seen)
        _check_profiles(session, registry.blobs, seen)
        _check_strays(session, {head.chain for head in heads} - {model.name for model in models})
    hashes = {event.hash for events in chains for event in events}
    if known is not None and not any(found.startswith(known) for found in hashes):
        raise AuditError(
            "registry", f"Head {known[:12]}...", "no chain holds it; events were cut or rewritten"
        )
    return Audited(len(heads), len(hashes), versions, len(seen), heads)


def check_model(session: Session, model_id: int, name: str) -> list[Event]:
    """Return the model's events if they verify and the present state is their fold; reads only.

    Raises:
        AuditError: the first thing that is wrong.
    """
    events = _chain(session, model_id, name)
    check_grammar(name, events)
    with readable(name, "Events"):
        fold = fold_events(events)
    compare_rows(session, model_id, name, fold)
    return events


def export_events(session: Session) -> Iterator[dict[str, object]]:
    """Yield every event with exactly what its hash is taken over; reads only."""
    for event in session.scalars(select(Event).order_by(Event.chain, Event.seq)):
        yield {
            "chain": event.chain,
            "seq": event.seq,
            "kind": event.kind,
            "body": event.body,
            "recorded_at": event.recorded_at.isoformat(),
            "effective_from": event.effective_from.isoformat(),
            "previous": event.previous,
            "hash": event.hash,
        }


def _chain(session: Session, model_id: int | None, name: str = FACTORY) -> list[Event]:
    query = select(Event).where(Event.chain == name).order_by(Event.seq)
    with readable(name, "Event"):
        events = list(session.scalars(query))
    wrong = first_misfit(events)
    if wrong is not None:
        raise AuditError(name, f"Event {wrong}", "it is missing, edited or moved")
    for event in events:
        if event.model_id != model_id:
            raise AuditError(name, f"Event {event.seq}", "it was moved to another model")
    return events


def _check_factory(session: Session) -> list[Event]:
    """Return the factory's events if they verify, and approvers and releases are as they say."""
    events = _chain(session, None)
    enrolled: dict[str, str] = {}
    for event in events:
        if event.kind == "approver added":
            enrolled[event.facts()["approver"]] = f"event {event.seq}"
        elif event.kind == "approver removed":
            enrolled.pop(event.facts()["approver"], None)
    seqs = {event.id: f"event {event.seq}" for event in events}
    rows = session.scalars(select(Approver).where(Approver.removed_by_event.is_(None)))
    present = {row.name: seqs.get(row.event_id, "no event") for row in rows}
    compare(FACTORY, "Approver", enrolled, present)
    unfounded = find_unfounded(session, events)
    if unfounded is not None:
        facts = unfounded.facts()
        what = f"Release of event {unfounded.seq}"
        problem = f"no ingest of {facts['dataset']} {facts['date']} is what it says"
        raise AuditError(FACTORY, what, problem)
    return events


def _check_strays(session: Session, chains: set[str]) -> None:
    """Look that no row was left behind: a chain without its model, a reference to nothing."""
    for chain in sorted(chains - {FACTORY}):
        raise AuditError(chain, "Chain", "no such model is registered")
    if session.connection().dialect.name == "sqlite":  # PostgreSQL does not let one come about
        for table, row, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
            raise AuditError("registry", f"Row {row} of {table}", f"its {parent} is missing")


def _check_blobs(session: Session, blobs: BlobStore, model: RegisteredModel, seen: set[str]) -> int:
    """Hash every blob of the model's versions again, return how many versions it has."""
    versions = list_versions(session, model.id)
    for version in versions:
        for digest in version_blobs(session, blobs, model.name, version):
            if digest in seen:
                continue
            _hash_again(blobs, digest, model.name, f"Blob {digest[:12]} of {version.number}")
            seen.add(digest)
        with readable(model.name, f"Contents of {version.number}"):
            manifest = _manifest(blobs, model.name, version)
            check_contents(session, model.name, version, manifest, blobs.get)
    return len(versions)


def _check_wheels(session: Session, blobs: BlobStore, seen: set[str]) -> None:
    for wheel in list_wheels(session):
        _hash_again(blobs, wheel.sha256, FACTORY, f"Wheel {wheel.filename}")
        seen.add(wheel.sha256)


def _check_profiles(session: Session, blobs: BlobStore, seen: set[str]) -> None:
    """Hash the profile of every ingest again: drift is judged by them, and no row is read again."""
    query = select(Ingest).where(Ingest.profile_digest.is_not(None)).order_by(Ingest.id)
    for ingest in session.scalars(query):
        digest = ingest.profile_digest
        if digest is None or digest in seen:
            continue
        what = f"Profile {digest[:12]} of {ingest.dataset} {ingest.date}"
        _hash_again(blobs, digest, FACTORY, what)
        seen.add(digest)


def _hash_again(blobs: BlobStore, digest: str, chain: str, what: str) -> None:
    """Do nothing if the blob is what its digest says."""
    try:
        blobs.get(digest)
    except StoreError:
        raise  # it is out of reach, which says nothing of what is in it
    except RegistryError as err:
        raise AuditError(chain, what, _ail(err)) from err


def version_blobs(
    session: Session, blobs: BlobStore, name: str, version: ModelVersion
) -> Iterator[str]:
    """Yield the digest of every blob that ``version`` needs: manifest, files, reports, profiles.

    Raises:
        AuditError: its manifest is gone or damaged.
    """
    manifest = _manifest(blobs, name, version)
    yield version.digest
    yield from (file.sha256 for file in manifest.files)
    query = select(Verification.report_digest).where(Verification.version_id == version.id)
    yield from session.scalars(query)
    profiles = (
        select(RunOutcome.profile_digest)
        .join(Run, Run.id == RunOutcome.run_id)
        .where(Run.version_id == version.id, RunOutcome.profile_digest.is_not(None))
    )
    yield from (digest for digest in session.scalars(profiles) if digest is not None)


def _manifest(blobs: BlobStore, name: str, version: ModelVersion) -> Manifest:
    try:
        return decode_manifest(blobs.get(version.digest))
    except StoreError:
        raise
    except (RegistryError, ValueError) as err:
        raise AuditError(name, f"Manifest of {version.number}", _ail(err)) from err


def _ail(error: Exception) -> str:
    """Return in few words what ails a blob."""
    if isinstance(error, MissingBlobError):
        return f"it {error.problem}, unless PILOTLINE_BLOBS names another one"
    return "its bytes are damaged or were edited"
