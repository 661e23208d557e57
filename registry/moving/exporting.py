"""Exporting a model: all rows as one canonical JSON, beside every blob that they reach."""

import gzip
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import ExportError, StoreError, canonical_json
from pilotline.registry.gates import Approval
from pilotline.registry.moving.archive import INDEX, TAR_SUFFIXES, Caps
from pilotline.registry.moving.records import TABLES, Names, Record, encode_row
from pilotline.registry.record import (
    Event,
    LockedPackage,
    ModelVersion,
    Wheel,
    decode_manifest,
    get_model,
    is_locked,
    latest_event,
    list_wheels,
    read_lock,
)
from pilotline.registry.runs import Run
from pilotline.registry.store import Base, Store

FORMAT = "pilotline-export/1"
Put = Callable[[str, bytes], None]  # a member's name and content


@dataclass(frozen=True)
class Exported:
    """What was written."""

    model: str
    path: Path
    versions: int
    events: int
    blobs: int
    wheels: int  # among the blobs
    size_bytes: int  # of the blobs
    head: str  # hash of the chain's last event


def export_model(registry: Store, name: str, path: Path, *, with_wheels: bool = False) -> Exported:
    """Write model ``name`` to ``path``: a tar file where it ends in .tar or .tar.gz, else a folder.

    The same state of the registry gives the same bytes. ``path`` appears whole or not at all.

    Args:
        registry: where from.
        name: the model.
        path: a new file or folder.
        with_wheels: whether the kept wheels of its versions' locks go along.

    Raises:
        UnknownModelError: the model is not registered.
        ExportError: ``path`` exists already, or cannot be written.
        StoreError: a blob is too large.
        MissingBlobError, DigestMismatchError: the blob store is damaged.
    """
    with registry.read() as session:
        index = describe_model(session, name)
        kept = list_wheels(session) if with_wheels else []
    blobs = _reachable(registry.blobs, index)
    if with_wheels:
        index["wheels"] = _wheels(registry.blobs, index, kept)
        blobs |= {wheel["sha256"]: wheel["size"] for wheel in index["wheels"]}
    _check_sizes(blobs)
    index["blobs"] = blobs
    if path.exists() or path.is_symlink():
        raise ExportError(str(path), "exists already", "Give --out a path that does not.")
    try:
        _write(path, canonical_json(index), registry.blobs, blobs)
    except OSError as err:
        problem = f"cannot be written ({err.strerror})"
        raise ExportError(str(path), problem, "Free space, fix rights, or give another.") from err
    return Exported(
        name,
        path,
        len(index["versions"]),
        len(index["events"]),
        len(blobs),
        len(index.get("wheels", [])),
        sum(blobs.values()),
        index["head"]["hash"],
    )


def describe_model(session: Session, name: str) -> Record:
    """Return every row of model ``name``, in the order they were entered; reads only.

    Raises:
        UnknownModelError: the model is not registered.
    """
    model = get_model(session, name)
    rows = {table: _rows(session, kind, model.id) for table, kind in TABLES.items()}
    numbers = {row.id: row.number for row in rows["versions"]}
    names: Names = {
        "version_id": numbers,
        "parent_id": numbers,
        "challenger_id": numbers,
        "event_id": {row.id: row.seq for row in rows["events"]},
        "approval_id": {row.id: row.digest() for row in rows["approvals"]},
    }
    head = latest_event(session, model.id)
    return {
        "format": FORMAT,
        "model": encode_row(model, names),
        "head": {"seq": head.seq, "hash": head.hash} if head else {"seq": 0, "hash": ""},
        **{table: [encode_row(row, names) for row in found] for table, found in rows.items()},
    }


def _rows(session: Session, table: type[Base], model_id: int) -> list[Any]:
    columns = table.__table__.columns
    if "model_id" in columns:
        mine = columns["model_id"] == model_id
    elif "version_id" in columns:
        versions = select(ModelVersion.id).where(ModelVersion.model_id == model_id)
        mine = columns["version_id"].in_(versions)
    elif "run_id" in columns:
        mine = columns["run_id"].in_(select(Run.id).where(Run.model_id == model_id))
    else:
        approvals = select(Approval.id).join(ModelVersion, ModelVersion.id == Approval.version_id)
        mine = columns["approval_id"].in_(approvals.where(ModelVersion.model_id == model_id))
    order = [Event.seq] if table is Event else list(table.__table__.primary_key)
    return list(session.scalars(select(table).where(mine).order_by(*order)))


def _reachable(blobs: BlobStore, index: Record) -> dict[str, int]:
    """Return digest -> bytes of what the rows reach: manifests, files, reports and profiles."""
    found: dict[str, int] = {}
    for version in index["versions"]:
        data = blobs.get(version["digest"])
        found[version["digest"]] = len(data)
        found |= {file.sha256: file.size for file in decode_manifest(data).files}
    reports = {row["report_digest"] for row in index["verifications"]}
    profiles = {row["profile_digest"] for row in index["run_outcomes"]}
    for digest in sorted((reports | profiles) - {None} - found.keys()):
        if blobs.has(digest):
            found[digest] = len(blobs.get(digest))
    return found


def _wheels(blobs: BlobStore, index: Record, kept: list[Wheel]) -> list[Record]:
    """Return those of the ``kept`` wheels that a lock of the model's versions names."""
    named: list[LockedPackage] = []
    for version in index["versions"]:
        manifest = decode_manifest(blobs.get(version["digest"]))
        for file in manifest.files:
            if file.role == "lock":
                named += read_lock(blobs.get(file.sha256))
    return [
        {"sha256": wheel.sha256, "filename": wheel.filename, "size": wheel.size}
        for wheel in kept
        if is_locked(wheel.filename, wheel.sha256, named)
    ]


def _check_sizes(blobs: dict[str, int]) -> None:
    for digest, size in blobs.items():
        if size > Caps.member_bytes:
            problem = f"has {size} bytes; an export holds at most {Caps.member_bytes} a file"
            raise StoreError(f"blob {digest[:12]}", problem, "Copy the blob store instead.")


def _write(path: Path, index: bytes, blobs: BlobStore, digests: dict[str, int]) -> None:
    """Write under a temporary name beside ``path``, then rename."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            put = _open_target(path, temporary, stack)
            put(INDEX, index)
            for digest in sorted(digests):
                put(f"blobs/{digest[:2]}/{digest}", blobs.get(digest))
        temporary.rename(path)
    except BaseException:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
        raise


def _open_target(path: Path, temporary: Path, stack: ExitStack) -> Put:
    """Return what adds a member to the folder or tar file; it is whole when ``stack`` closes."""
    if not path.name.endswith(TAR_SUFFIXES):
        temporary.mkdir()
        return lambda name, data: _add_file(temporary / name, data)
    file = stack.enter_context(_synced(temporary))
    target: Any = file
    if path.name.endswith(".gz"):
        target = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
    # Plain headers: names are short, so the format needs no extension.
    tar = stack.enter_context(tarfile.TarFile(None, "w", target, tarfile.USTAR_FORMAT))
    return lambda name, data: _add_member(tar, name, data)


def _add_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _synced(path) as file:
        file.write(data)


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # mode 0644, time 0, nobody's: the same wherever it is made
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


@contextmanager
def _synced(path: Path) -> Iterator[BinaryIO]:
    """Give a new file whose bytes are on the disk at the end: no name may outlive a power cut."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
