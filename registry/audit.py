"""The audit: chains, present state against their fold, and every blob hashed again."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.aliases import Alias
from registry.approvals import Approval, ApprovalUse, approval_digest
from registry.approvers import list_approvers
from registry.blobs import BlobStore
from registry.consumers import list_consumers
from registry.errors import AuditError, MissingBlobError, RegistryError
from registry.events import FACTORY, Event, first_misfit
from registry.folding import Fold, describe_verification, fold_events
from registry.manifest import decode_manifest
from registry.models import list_models
from registry.runs import Run, RunOutcome, ScoredPartition
from registry.store import Registry
from registry.verifications import Verification
from registry.versions import ModelVersion, list_versions, status_of
from registry.wheels import list_wheels


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
    registry: Registry, known: str | None = None, say: Callable[[str], None] | None = None
) -> Audited:
    """Walk everything and stop at the first thing that is wrong; reads only.

    Args:
        registry: the registry.
        known: the hash of an event that was once the head of a chain; it must still be there.
        say: told of each chain.

    Raises:
        AuditError: the first thing that is wrong, by name.
    """
    hashes: set[str] = set()
    versions = 0
    with registry.read() as session:
        heads = list_heads(session)
        events = _chain(session, None)
        _check_factory(session, events)
        hashes |= {event.hash for event in events}
        count = len(events)
        seen: set[str] = set()
        for model in list_models(session):
            if say:
                say(f"auditing {model.name}")
            events = check_model(session, model.id, model.name)
            hashes |= {event.hash for event in events}
            count += len(events)
            for version in list_versions(session, model.id):
                _check_blobs(session, registry.blobs, model.name, version, seen)
                versions += 1
        _check_wheels(session, registry.blobs, seen)
        strays = set(session.scalars(select(Event.chain).distinct()))
        strays -= {FACTORY, *(model.name for model in list_models(session))}
        for chain in sorted(strays):
            raise AuditError(chain, "Chain", "no such model is registered")
    if known is not None and known not in hashes:
        raise AuditError(
            "registry", f"Head {known[:12]}...", "no chain holds it; events were cut or rewritten"
        )
    return Audited(len(heads), count, versions, len(seen), heads)


def check_model(session: Session, model_id: int, name: str) -> list[Event]:
    """Return the model's events if they verify and the present state is their fold; reads only.

    Raises:
        AuditError: the first thing that is wrong.
    """
    events = _chain(session, model_id, name)
    fold = fold_events(events)
    _check_versions(session, model_id, name, fold)
    _check_aliases(session, model_id, name, fold)
    _check_approvals(session, model_id, name, fold)
    _check_uses(session, model_id, name, fold)
    _check_verifications(session, model_id, name, fold)
    _check_runs(session, model_id, name, fold)
    present = {c.name: (c.contact, c.needs) for c in list_consumers(session, model_id)}
    _compare(name, "Consumer", fold.consumers, present)
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
    events = list(session.scalars(select(Event).where(Event.chain == name).order_by(Event.seq)))
    wrong = first_misfit(events)
    if wrong is not None:
        raise AuditError(name, f"Event {wrong}", "it is missing, edited or moved")
    for event in events:
        if event.model_id != model_id:
            raise AuditError(name, f"Event {event.seq}", "it was moved to another model")
    return events


def _check_factory(session: Session, events: list[Event]) -> None:
    enrolled: set[str] = set()
    for event in events:
        if event.kind == "approver added":
            enrolled.add(event.facts()["approver"])
        elif event.kind == "approver removed":
            enrolled.discard(event.facts()["approver"])
    present = {approver.name: "enrolled" for approver, _ in list_approvers(session)}
    _compare(FACTORY, "Approver", dict.fromkeys(enrolled, "enrolled"), present)


def _check_versions(session: Session, model_id: int, name: str, fold: Fold) -> None:
    versions = {version.number: version for version in list_versions(session, model_id)}
    told = {number: facts["digest"] for number, facts in fold.versions.items()}
    _compare(name, "Digest of version", told, {n: v.digest for n, v in versions.items()})
    for what in ("author", "reason"):
        told = {number: facts[what] for number, facts in fold.versions.items()}
        present = {number: getattr(version, what) for number, version in versions.items()}
        _compare(name, f"{what.capitalize()} of version", told, present)
    statuses = {number: status_of(session, version) for number, version in versions.items()}
    _compare(name, "Status of version", fold.status, statuses)


def _check_aliases(session: Session, model_id: int, name: str, fold: Fold) -> None:
    rows = session.scalars(select(Alias).where(Alias.model_id == model_id))
    present = {a.name: session.get_one(ModelVersion, a.version_id).number for a in rows}
    _compare(name, "Alias", fold.aliases, present)


def _check_approvals(session: Session, model_id: int, name: str, fold: Fold) -> None:
    rows = session.execute(
        select(Approval, ModelVersion)
        .join(ModelVersion, ModelVersion.id == Approval.version_id)
        .where(ModelVersion.model_id == model_id)
    )
    present = {}
    for approval, version in rows:
        if approval.manifest_digest != version.digest:
            what = f"Approval at {approval.gate} of {version.number}"
            raise AuditError(name, what, "it was moved here from another version")
        present[approval_digest(approval)] = version.number
    _compare(name, "Approval", fold.approvals, present)


def _check_uses(session: Session, model_id: int, name: str, fold: Fold) -> None:
    """Look that no promotion's approvals can be used a second time."""
    rows = session.execute(
        select(Approval, Event.seq)
        .join(ApprovalUse, ApprovalUse.approval_id == Approval.id)
        .join(Event, Event.id == ApprovalUse.event_id)
        .join(ModelVersion, ModelVersion.id == Approval.version_id)
        .where(ModelVersion.model_id == model_id)
    )
    present = {approval_digest(approval): seq for approval, seq in rows}
    _compare(name, "Use of approval", fold.uses, present)


def _check_verifications(session: Session, model_id: int, name: str, fold: Fold) -> None:
    rows = session.execute(
        select(Verification, ModelVersion)
        .join(ModelVersion, ModelVersion.id == Verification.version_id)
        .where(ModelVersion.model_id == model_id)
        .order_by(Verification.id)
    )
    counts: Counter[str] = Counter()
    present = {}
    for row, version in rows:
        counts[version.number] += 1
        present[f"{counts[version.number]} of {version.number}"] = describe_verification(
            row.passed, row.platform, row.isolation, row.report_digest
        )
    _compare(name, "Verification", fold.verifications, present)


def _check_runs(session: Session, model_id: int, name: str, fold: Fold) -> None:
    rows = session.execute(
        select(Run.id, RunOutcome.state, RunOutcome.rows)
        .join(RunOutcome, RunOutcome.run_id == Run.id)
        .where(Run.model_id == model_id)
    )
    _compare(name, "Run", fold.runs, {run: (state, count) for run, state, count in rows})
    shown = session.execute(
        select(ScoredPartition.variant, ScoredPartition.date, ScoredPartition.visible_run).where(
            ScoredPartition.model_id == model_id
        )
    )
    present = {f"{variant} {day}": run for variant, day, run in shown if run is not None}
    told = {key: run for key, run in fold.visible.items() if run is not None}
    unsure = fold.unsure
    _compare(
        name,
        "Partition",
        {key: run for key, run in told.items() if key not in unsure},
        {key: run for key, run in present.items() if key not in unsure},
    )


def _check_blobs(
    session: Session, blobs: BlobStore, name: str, version: ModelVersion, seen: set[str]
) -> None:
    for digest in version_blobs(session, blobs, name, version):
        if digest in seen:
            continue
        try:
            blobs.get(digest)
        except RegistryError as err:
            raise AuditError(name, f"Blob {digest[:12]} of {version.number}", _ail(err)) from err
        seen.add(digest)


def _check_wheels(session: Session, blobs: BlobStore, seen: set[str]) -> None:
    for wheel in list_wheels(session):
        try:
            blobs.get(wheel.sha256)
        except RegistryError as err:
            raise AuditError(FACTORY, f"Wheel {wheel.filename}", _ail(err)) from err
        seen.add(wheel.sha256)


def version_blobs(
    session: Session, blobs: BlobStore, name: str, version: ModelVersion
) -> Iterator[str]:
    """Yield the digest of every blob that ``version`` needs: manifest, files, reports, profiles.

    Raises:
        AuditError: its manifest is gone or damaged.
    """
    try:
        manifest = decode_manifest(blobs.get(version.digest))
    except (RegistryError, ValueError) as err:
        raise AuditError(name, f"Manifest of {version.number}", _ail(err)) from err
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


def _ail(error: Exception) -> str:
    """Return in few words what ails a blob."""
    if isinstance(error, MissingBlobError):
        return "it is not in the blob store"
    return "its bytes are damaged or were edited"


def _compare(
    chain: str, what: str, told: Mapping[str, object], present: Mapping[str, object]
) -> None:
    """Raise AuditError at the first difference between what the events say and what is there."""
    for key in sorted({*told, *present}):
        said, found = told.get(key), present.get(key)
        if said != found:
            problem = f"the events say {said or 'nothing'}, found {found or 'nothing'}"
            raise AuditError(chain, f"{what} {key}", problem)
