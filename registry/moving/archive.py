"""An export's bytes, a folder or a tar file, brought into a staging folder or refused whole."""

import hashlib
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from pilotline.registry.form import ImportRefusedError

INDEX = "export.json"
TAR_SUFFIXES = (".tar", ".tar.gz")
MEMBER = re.compile(r"export\.json|blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
FOLDER = re.compile(r"blobs(/[0-9a-f]{2})?")
BLOCK = 512  # POSIX.1-2017, pax, "ustar Interchange Format": headers and padding
CHUNK = 1 << 20
FREE_BYTES = 1 << 20  # padding of a small archive packs better than any ratio worth refusing
AGAIN = "Nothing was imported. Export the model again and bring that file."


@dataclass(frozen=True)
class Caps:
    """How much an export may hold."""

    members: int = 100_000
    member_bytes: int = 4 << 30
    total_bytes: int = 64 << 30
    ratio: int = 200  # unpacked to packed; deflate itself reaches 1032
    json_bytes: int = 64 << 20


@dataclass(frozen=True)
class Staged:
    """An export in a folder of our own: ``export.json``, and each blob under its SHA-256."""

    source: Path
    folder: Path
    blobs: dict[str, int]  # digest -> bytes

    def read(self, name: str, limit: int) -> bytes:
        """Return one staged file of at most ``limit`` bytes.

        Raises:
            ImportRefusedError: it is larger.
        """
        path = self.folder / name
        if path.stat().st_size > limit:
            raise refusal(self.source, f"{name!r} has more than {limit} bytes")
        return path.read_bytes()


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    content: _Readable  # exactly ``size`` bytes are to be read


def stage(path: Path, folder: Path, caps: Caps) -> Staged:
    """Copy the export at ``path`` into ``folder``, every blob hashed on the way.

    Raises:
        ImportRefusedError: something in it is not exactly what an export holds.
    """
    seen: set[str] = set()
    blobs: dict[str, int] = {}
    total = 0
    for member in _members(path, caps):
        found = MEMBER.fullmatch(member.name)
        total += member.size
        if found is None:
            raise refusal(path, f"member {member.name!r} is neither {INDEX!r} nor a blob's name")
        if member.name in seen:
            raise refusal(path, f"member {member.name!r} is there twice")
        if member.size > caps.member_bytes or total > caps.total_bytes:
            limits = f"{caps.member_bytes} bytes a member, {caps.total_bytes} in all"
            raise refusal(path, f"member {member.name!r} is over the limit ({limits})")
        if len(seen) == caps.members:
            raise refusal(path, f"member {member.name!r} is one more than {caps.members}")
        seen.add(member.name)
        digest = _copy(path, member, folder / (found[2] or INDEX))
        if found[2] not in (None, digest):
            raise refusal(path, f"member {member.name!r} has SHA-256 {digest}: it is damaged")
        if found[2]:
            blobs[digest] = member.size
    if INDEX not in seen:
        raise refusal(path, f"{INDEX!r} is missing")
    return Staged(path, folder, blobs)


def refusal(path: Path, problem: str, remedy: str = AGAIN) -> ImportRefusedError:
    """Return the refusal of the export at ``path``."""
    return ImportRefusedError(path.name, problem, remedy)


def _members(path: Path, caps: Caps) -> Iterator[_Member]:
    if path.is_dir():
        yield from _folder_members(path, path)
        return
    if not path.is_file() or not path.name.endswith(TAR_SUFFIXES):
        wanted = "expected a folder, or a file that ends in .tar or .tar.gz"
        raise refusal(path, wanted, "Give what 'pilotline export' wrote.")
    with path.open("rb") as file:
        packed = path.name.endswith(".gz")
        yield from _tar_members(path, _Unpacked(path, file, caps) if packed else file)


def _folder_members(root: Path, folder: Path) -> Iterator[_Member]:
    for entry in sorted(folder.iterdir()):
        name = entry.relative_to(root).as_posix()
        mode = entry.lstat().st_mode
        if stat.S_ISDIR(mode) and FOLDER.fullmatch(name):
            yield from _folder_members(root, entry)
            continue
        if not stat.S_ISREG(mode):
            raise refusal(root, f"member {name!r} is no regular file")
        # What was a file a moment ago may be a link or a pipe by now.
        handle = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise refusal(root, f"member {name!r} is no regular file")
            yield _Member(name, facts.st_size, file)


def _tar_members(path: Path, stream: _Readable) -> Iterator[_Member]:
    """Yield the members of a tar file, header by header.

    The headers are read here because ``tarfile`` itself reads long names and pax headers into
    memory at whatever size they claim; none of those occurs in an export.
    """
    while (header := _exactly(path, stream, BLOCK)).strip(b"\0"):
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as err:
            raise refusal(path, f"it is no tar file, or a damaged one ({err})") from err
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise refusal(path, f"member {info.name!r} is no regular file")
        if info.size < 0:
            raise refusal(path, f"member {info.name!r} has a size below zero")
        yield _Member(info.name, info.size, stream)
        _exactly(path, stream, -info.size % BLOCK)
    padding = 0
    while data := stream.read(CHUNK):
        padding += len(data)
        if data.strip(b"\0") or padding > FREE_BYTES:
            raise refusal(path, "there is more after its end")
    if padding < BLOCK:
        raise refusal(path, "its end is missing")


def _copy(path: Path, member: _Member, target: Path) -> str:
    """Copy one member and return its SHA-256."""
    digest = hashlib.sha256()
    left = member.size
    with target.open("xb") as file:
        while left:
            data = _exactly(path, member.content, min(left, CHUNK))
            digest.update(data)
            file.write(data)
            left -= len(data)
    return digest.hexdigest()


def _exactly(path: Path, stream: _Readable, size: int) -> bytes:
    parts = []
    while size:
        data = stream.read(size)
        if not data:
            raise refusal(path, "it is cut short")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


class _Unpacked:
    """The content of a gzip file, its ratio watched while it is read."""

    def __init__(self, path: Path, file: BinaryIO, caps: Caps) -> None:
        self._path = path
        self._file = file
        self._ratio = caps.ratio
        self._inflate = zlib.decompressobj(wbits=31)  # 31: with gzip's header and checksum
        self._packed = 0
        self._unpacked = 0

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._file.read(1 << 16)
                self._packed += len(packed)
            data = self._next(packed, size)
            if data:
                return data
            if not packed and not self._inflate.eof:
                raise refusal(self._path, "it is cut short")
        if self._inflate.unused_data or self._file.read(1):
            raise refusal(self._path, "there is more after its end")
        return b""

    def _next(self, packed: bytes, size: int) -> bytes:
        try:
            data = self._inflate.decompress(packed, size)
        except zlib.error as err:
            raise refusal(self._path, f"it is no gzip file, or a damaged one ({err})") from err
        self._unpacked += len(data)
        if self._unpacked > max(FREE_BYTES, self._ratio * self._packed):
            raise refusal(
                self._path,
                f"it unpacks to more than {self._ratio} times its size",
                "Nothing was imported. If it is yours, export it again as .tar.",
            )
        return data
