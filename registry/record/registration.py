"""Registering a version: its bytes first, then its rows and event, wholly or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.orm import Session

from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import MissingBlobError, reach
from pilotline.registry.record.contents import Kept, first_contradiction
from pilotline.registry.record.manifest import Manifest, ManifestFile
from pilotline.registry.record.metrics import Metric, record_metric
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.numbering import Release, compare_releases
from pilotline.registry.record.versions import Learned, ModelVersion, NewVersion, enter_version
from pilotline.registry.store import Store


@dataclass(frozen=True)
class Judged:
    """How a version was judged on held-out days."""

    metrics: Mapping[str, float]
    start: date
    end: date
    rows: int


@dataclass(frozen=True)
class Registration:
    """A version as its maker hands it in."""

    facts: ModelFacts
    author: str
    contents: Mapping[str, tuple[str, bytes]]  # path -> (role, bytes)
    contract: Mapping[str, Any]  # {"inputs": ..., "outputs": ...}
    interpreter: str
    platform: str
    training_key: str  # SHA-256 of everything it learned from
    learned: Sequence[Learned]
    judged: Judged
    notes: str
    parent: tuple[ModelVersion, Release] | None  # what its number is compared with


def register(registry: Store, new: Registration) -> tuple[ModelVersion, bool]:
    """Register a version and return it, and whether it is new.

    The same bytes, or the same training key, give the version that is there. A process that dies
    on the way leaves blobs at most, which garbage collection removes.

    Raises:
        NameRefusedError: the model's name is outside the allowed form.
        ValueError: there are no release notes, or its files say something else than it does.
        MissingBlobError: garbage collection took a blob meanwhile; register again.
        StoreError: the blob store cannot be written.
    """
    if not new.notes.strip():
        raise ValueError(f"Version of {new.facts.name!r} without release notes. Say what changed.")
    _check_agreement(new)
    parent = new.parent[0] if new.parent else None
    digests = registry.blobs.put_all(data for _, data in new.contents.values())
    manifest = Manifest(
        model=new.facts.name,
        files=tuple(
            ManifestFile(role, path, len(data), stored)
            for (path, (role, data)), stored in zip(new.contents.items(), digests, strict=True)
        ),
        interpreter=new.interpreter,
        platform=new.platform,
        parent=parent.digest if parent else None,
    )
    reach("register: blobs stored")
    digest = registry.blobs.put(manifest.encode())
    reach("register: manifest stored")
    child = Release(manifest, new.contract)
    entry = NewVersion(
        facts=new.facts,
        author=new.author,
        digest=digest,
        training_key=new.training_key,
        parent=parent,
        step=compare_releases(new.parent[1], child) if new.parent else None,
        learned=new.learned,
        metrics=new.judged.metrics,
        features=list(new.contract["inputs"]),
        dataset=str(new.contract.get("dataset", "")),
        notes=new.notes,
    )
    with registry.write() as session:
        version, is_new = enter_version(session, entry)
        if is_new:
            _require_blobs(registry.blobs, [digest, *(file.sha256 for file in manifest.files)])
            _record_metrics(session, version, new.judged)
        reach("register: version entered")
    reach("register: committed")
    return version, is_new


def _check_agreement(new: Registration) -> None:
    """Look that the files say what is kept beside them: the audit compares the two."""
    kept = Kept(
        notes=new.notes,
        features=list(new.contract["inputs"]),
        dataset=str(new.contract.get("dataset", "")),
        metrics=new.judged.metrics,
        rows=new.judged.rows,
        span=(new.judged.start, new.judged.end),
        learned=new.learned,
    )
    wrong = first_contradiction(kept, lambda path: new.contents[path][1])
    if wrong is not None:
        path, what = wrong
        raise ValueError(
            f"Version of {new.facts.name!r}: {path!r} says other {what} than its registration. "
            "Hand in the same in both."
        )


def _require_blobs(blobs: BlobStore, digests: Sequence[str]) -> None:
    """Look, under the writers' lock, that garbage collection took nothing since it was stored."""
    missing = blobs.missing(digests)
    if missing:
        raise MissingBlobError(missing[0])


def _record_metrics(session: Session, version: ModelVersion, judged: Judged) -> None:
    for name, value in judged.metrics.items():
        record_metric(
            session,
            Metric(
                version_id=version.id,
                kind="evaluation",
                name=name,
                value=value,
                start=judged.start,
                end=judged.end,
                variant="holdout",
                rows=judged.rows,
                basis=version.digest,
            ),
        )
