"""Garbage collection: blobs that nothing names any more."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from pilotline.registry.audit.auditing import version_blobs
from pilotline.registry.blobs import BlobStore, StoredBlob
from pilotline.registry.record import Wheel, list_models, list_versions
from pilotline.registry.runs import Ingest
from pilotline.registry.store import Store, now

GRACE = timedelta(days=1)  # a training stores its blobs minutes before it names them
MOST_GRACE = timedelta(days=36_500)  # a century; more than a calendar holds has no date
LEAST_GRACE = timedelta(hours=2)  # putting a blob again refreshes its time on S3 after an hour


@dataclass(frozen=True)
class Collected:
    """What was, or would be, removed."""

    removed: list[StoredBlob]
    kept: int  # blobs that something names
    young: int  # blobs that nothing names yet, younger than the grace time

    @property
    def size_bytes(self) -> int:
        """Bytes removed."""
        return sum(blob.size_bytes for blob in self.removed)


def collect_garbage(registry: Store, grace: timedelta, *, only_plan: bool) -> Collected:
    """Remove the blobs that no version, report, profile or wheel names and that are old enough.

    The writers' lock is held: a version is entered either before, and its blobs are seen, or
    afterwards, and finds out that one is gone.

    Raises:
        ValueError: the grace time is shorter than two hours, or longer than a century.
        AuditError: a manifest is gone or damaged, so that nobody can tell what it names.
    """
    if not LEAST_GRACE <= grace <= MOST_GRACE:
        expected = f"at least {LEAST_GRACE} and at most {MOST_GRACE}"
        raise ValueError(f"Expected a grace time of {expected}, got {grace}.")
    with registry.write() as session:
        named = _named(session, registry.blobs)
        moment = now()
        stored = list(registry.blobs.list())
        unnamed = [blob for blob in stored if blob.digest not in named]
        old = [blob for blob in unnamed if blob.stored_at < moment - grace]
        if not only_plan:
            # Some are stored without the lock, such as a run's profile: one that was put again
            # since the listing is young now, and stays.
            old = [b for b in old if registry.blobs.delete(b.digest, before=moment - grace)]
    return Collected(old, len(stored) - len(unnamed), len(unnamed) - len(old))


def _named(session: Session, blobs: BlobStore) -> set[str]:
    named = set(session.scalars(select(Wheel.sha256)))
    profiles = select(Ingest.profile_digest).where(Ingest.profile_digest.is_not(None))
    named.update(digest for digest in session.scalars(profiles) if digest is not None)
    for model in list_models(session):
        for version in list_versions(session, model.id):
            named.update(version_blobs(session, blobs, model.name, version))
    return named
