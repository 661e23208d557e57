"""Blobs in a local folder: ``ab/abcdef...``, written under a temporary name, then renamed."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from errno import EINVAL, ELOOP, ENOTDIR, ENXIO
from pathlib import Path
from secrets import token_hex
from stat import S_ISREG
from tempfile import TemporaryFile
from typing import BinaryIO

from pilotline.registry.blobs.store import DIGEST, StoredBlob, checked, do_at_once, require_digest
from pilotline.registry.form import MissingBlobError, StoreError, digest_bytes

THREADS = 4  # that wait for the disk; measured: more gain nothing, and starting them takes time


class FolderBlobs:
    """A blob store in one folder, which is made on the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Store ``data`` wholly or not at all and return its SHA-256.

        Raises:
            StoreError: the folder cannot be written.
        """
        return self.put_all([data])[0]

    def put_all(self, blobs: Iterable[bytes]) -> list[str]:
        """Store each of ``blobs`` and return their SHA-256 in order.

        Threads, because most of the time is spent waiting for the disk, which makes several files
        durable in the time of one.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            _make_folder(self.root)
            digests = do_at_once(self._store, blobs, THREADS)
            _sync(self.root)
        except OSError as err:
            raise self._refusal("cannot write a blob", err) from err
        return digests

    def get(self, digest: str) -> bytes:
        """Return the bytes of ``digest``, hashed again.

        Raises:
            MissingBlobError: nothing is stored under ``digest``, or something that is no file.
            DigestMismatchError: the stored bytes are damaged.
            StoreError: the file cannot be read.
        """
        try:
            with _open(self._path(digest)) as file:
                return checked(digest, file.read())
        except FileNotFoundError as err:
            raise MissingBlobError(digest) from err
        except _NoFileError as err:
            raise MissingBlobError(digest, "is no plain file in the blob store") from err
        except OSError as err:
            raise self._refusal(f"cannot read blob {digest[:12]}", err) from err

    def has(self, digest: str) -> bool:
        """Tell whether a file is stored under ``digest``."""
        facts = _look_at(self._path(digest))
        return facts is not None and S_ISREG(facts.st_mode)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of ``digests`` under which nothing is stored."""
        return [digest for digest in digests if not self.has(digest)]

    def list(self) -> Iterator[StoredBlob]:
        """Give every stored blob; files that no ``put`` finished here are passed over."""
        for path in self.root.glob("??/*"):
            if not DIGEST.fullmatch(path.name) or path.parent.name != path.name[:2]:
                continue
            facts = _look_at(path)
            if facts is None or not S_ISREG(facts.st_mode):  # deleted meanwhile, or never put
                continue
            yield StoredBlob(path.name, facts.st_size, _stored_at(facts))

    def delete(self, digest: str, before: datetime | None = None) -> bool:
        """Remove what is stored under ``digest`` and tell whether it did.

        Args:
            digest: of the blob.
            before: where given, what was put then or later stays.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = self._path(digest)
        facts = _look_at(path)
        if facts is None or (before and _stored_at(facts) >= before):
            return False
        aside = path.with_name(f".gone-{token_hex(8)}")
        try:
            # From here on a put does not find it, and writes it anew. One that found it before has
            # by now made it young, or will see that its file went.
            path.rename(aside)
            if before and _stored_at(aside.lstat()) >= before:
                aside.rename(path)
                return False
            aside.unlink()
        except FileNotFoundError:  # another process was faster
            return False
        except OSError as err:
            raise self._refusal("cannot delete a blob", err) from err
        return True

    def check(self) -> None:
        """Prove that the folder can be written, and leave nothing behind in it.

        Raises:
            StoreError: it cannot.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.root, prefix=".put-") as file:
                file.write(b"pilotline")
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise self._refusal("cannot be written", err) from err

    def _store(self, data: bytes) -> str:
        """Store ``data`` and return its SHA-256; only the name of its folder is not yet synced."""
        digest = digest_bytes(data)
        path = self._path(digest)
        if not _refresh(path, digest):
            path.parent.mkdir(exist_ok=True)
            _write(path, data)
        _sync(path.parent)  # also where it was there: whoever put it may not have come to this yet
        return digest

    def _path(self, digest: str) -> Path:
        return self.root / require_digest(digest)[:2] / digest

    def _refusal(self, problem: str, err: OSError) -> StoreError:
        return StoreError(
            str(self.root), f"{problem} ({err.strerror})", "Free space or fix rights."
        )


class _NoFileError(OSError):
    """A link, a folder, a pipe or a device lies where a file should."""


def _open(path: Path) -> BinaryIO:
    """Open the plain file at ``path``; whatever else is there is neither followed nor waited for.

    Raises:
        _NoFileError: it is none.
        OSError: it is not there, or cannot be opened.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as err:
        if err.errno in (ELOOP, ENOTDIR, ENXIO):  # a link; below a file; a socket
            raise _NoFileError(err.errno, err.strerror) from err
        raise
    if not S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise _NoFileError(EINVAL, "no plain file")
    return open(opened, "rb")


def _look_at(path: Path) -> os.stat_result | None:
    """Return the facts of what is at ``path`` itself, None where nothing is or can be."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        if err.errno == ELOOP:
            return None
        raise


def _stored_at(facts: os.stat_result) -> datetime:
    return datetime.fromtimestamp(facts.st_mtime, UTC)


def _refresh(path: Path, digest: str) -> bool:
    """Tell whether ``path`` holds sound bytes, and make it young for garbage collection."""
    try:
        with _open(path) as file:
            if digest_bytes(file.read()) != digest:
                return False
            os.utime(file.fileno())
            # Garbage collection may have put it aside, and not seen that it is young now.
            return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except (FileNotFoundError, PermissionError, _NoFileError):  # gone, another user's, or none
        return False


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".put-{token_hex(8)}")
    with temporary.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o444)
            os.fsync(file.fileno())  # the name must never outlive a power cut without the bytes
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _make_folder(folder: Path) -> None:
    """Make ``folder`` and what is above it, safe from a power cut; there already is no error."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in ``folder`` durable; syncing a file does nothing for its name."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
