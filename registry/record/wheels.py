"""Wheels kept as blobs: which file a digest is, so that a lock can be installed from them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from sqlalchemy import BigInteger, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.store import Base

HASH = re.compile(r"sha256:([0-9a-f]{64})")  # as a lock names a file
_CONTINUED = re.compile(r"\\\r?\n")


class Wheel(Base):
    """A wheel in the blob store. Its digest is the one that locks name."""

    __tablename__ = "wheel"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes


@dataclass(frozen=True)
class LockedPackage:
    """One package of a lock, and the files it may come from."""

    requirement: Requirement
    hashes: frozenset[str]  # SHA-256 of the files

    def may_come_from(self, filename: str, sha256: str) -> bool:
        """Tell whether a wheel of that name and digest is this package in a version it allows."""
        if sha256 not in self.hashes:
            return False
        try:
            name, version, _, _ = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            return False
        return name == canonicalize_name(
            self.requirement.name
        ) and self.requirement.specifier.contains(version, prereleases=True)


def put_wheel(session: Session, wheel: Wheel) -> None:
    """Note that ``wheel`` is in the blob store, under the name it has now.

    Flushes, the caller commits.
    """
    session.merge(wheel)
    session.flush()


def list_wheels(session: Session) -> list[Wheel]:
    """Return the wheels that are kept, by file name; reads only."""
    return list(session.scalars(select(Wheel).order_by(Wheel.filename, Wheel.sha256)))


def find_wheels(session: Session, lock: bytes) -> list[Wheel]:
    """Return the kept wheels of ``lock``'s packages, for whichever machine; reads only.

    They come by file name, each name once. A wheel whose name is not of the package that the lock
    names beside its digest is passed over. Few are kept, and a lock names more files than a query
    may.
    """
    packages = read_lock(lock)
    fitting = [w for w in list_wheels(session) if is_locked(w.filename, w.sha256, packages)]
    by_name = {wheel.filename: wheel for wheel in reversed(fitting)}
    return list(reversed(by_name.values()))


def is_locked(filename: str, sha256: str, packages: Iterable[LockedPackage]) -> bool:
    """Tell whether a wheel of that name and digest is one that a lock's ``packages`` come from."""
    return any(package.may_come_from(filename, sha256) for package in packages)


def read_lock(lock: bytes) -> list[LockedPackage]:
    """Return the packages of ``lock`` in its order, for whichever machine.

    What is no requirement with hashes is passed over: the build refuses it with its own words.
    """
    found = []
    for line in _CONTINUED.sub(" ", lock.decode("utf-8", "replace")).splitlines():
        words = line.split("#")[0].strip()
        hashes = frozenset(HASH.findall(words))
        try:
            wanted = Requirement(words.split(" --hash")[0])
        except InvalidRequirement:
            continue
        if hashes:
            found.append(LockedPackage(wanted, hashes))
    return found
