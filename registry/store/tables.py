"""The declarative base of every table, and the column types they share."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, MetaData
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from pilotline.registry.form import GarbledError

WRITERS_LOCK = 0x70696C6F74  # any number, the same in every process: PostgreSQL's advisory lock


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, stored as UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return ``value`` in UTC; a naive moment is refused with ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"Expected a moment with a time zone, got {value.isoformat()!r}.")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the stored moment with its zone, UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        """Return what reads a stored moment; SQLite keeps texts, which somebody may have edited."""
        read = super().result_processor(dialect, coltype)
        if read is None:
            return None

        def process(value: Any) -> datetime | None:
            try:
                return read(value)
            except (ValueError, TypeError) as err:
                found = f"expected a date and time, found {str(value)[:40]!r}"
                raise GarbledError("registry", "A moment", found) from err

        return process


class Base(DeclarativeBase):
    """Base of all tables; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def now() -> datetime:
    """Return the wall clock, in UTC; every ``recorded_at`` comes from here."""
    return datetime.now(UTC)
