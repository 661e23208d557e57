"""Wheels kept as blobs: which file a digest is, so that a lock can be installed from them."""

from collections.abc import Iterable

from sqlalchemy import BigInteger, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from registry.base import Base


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


def find_wheels(session: Session, digests: Iterable[str]) -> list[Wheel]:
    """Return the wheels kept among ``digests``, by file name; reads only."""
    query = select(Wheel).where(Wheel.sha256.in_(list(digests))).order_by(Wheel.filename)
    return list(session.scalars(query))
