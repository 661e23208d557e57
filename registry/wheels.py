"""Wheels kept as blobs: which file a digest is, so that a lock can be installed from them."""

import re

from sqlalchemy import BigInteger, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from registry.base import Base

HASH = re.compile(r"sha256:([0-9a-f]{64})")  # as a lock names a file


class Wheel(Base):
    """A wheel in the blob store. Its digest is the one that locks name."""

    __tablename__ = "wheel"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)  # bytes


def put_wheel(session: Session, wheel: Wheel) -> None:
    """Note that ``wheel`` is in the blob store; flushes, the caller commits."""
    if session.get(Wheel, wheel.sha256) is None:
        session.add(wheel)
        session.flush()


def list_wheels(session: Session) -> list[Wheel]:
    """Return the wheels that are kept, by file name; reads only."""
    return list(session.scalars(select(Wheel).order_by(Wheel.filename, Wheel.sha256)))


def find_wheels(session: Session, lock: bytes) -> list[Wheel]:
    """Return the kept wheels that ``lock`` names, for whichever machine, by file name; reads only.

    Few are kept, and a lock names more files than a query may.
    """
    named = named_files(lock)
    return [wheel for wheel in list_wheels(session) if wheel.sha256 in named]


def named_files(lock: bytes) -> frozenset[str]:
    """Return the SHA-256 of every file that ``lock`` names."""
    return frozenset(HASH.findall(lock.decode("utf-8", "replace")))
