"""What the database says of itself: which release it needs, kept for older ones to read."""

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pilotline.registry.store.tables import Base

NEEDS = "needs"  # the oldest release that understands this schema


class RegistryInfo(Base):
    """One fact about the database itself, written by migrations only."""

    __tablename__ = "registry_info"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
