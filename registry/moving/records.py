"""A model's rows as JSON values and back; what a row refers to is named, never by a database id."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Float, Integer, String

from pilotline.registry.consumers import Consumer
from pilotline.registry.gates import Approval, ApprovalUse
from pilotline.registry.record import (
    Alias,
    Event,
    Metric,
    ModelVersion,
    TrainingPartition,
    Verification,
    VersionStatus,
)
from pilotline.registry.runs import Run, RunInput, RunOutcome, Teardown
from pilotline.registry.store import Base, UtcDateTime

# In the order in which they can be entered; the model itself comes before them.
TABLES: dict[str, type[Base]] = {
    "versions": ModelVersion,
    "statuses": VersionStatus,
    "training_partitions": TrainingPartition,
    "events": Event,
    "approvals": Approval,
    "approval_uses": ApprovalUse,
    "verifications": Verification,
    "metrics": Metric,
    "aliases": Alias,
    "consumers": Consumer,
    "runs": Run,
    "run_inputs": RunInput,
    "run_outcomes": RunOutcome,
    "teardowns": Teardown,
}
# A version is named by its number, an event by its place in the chain, an approval by its digest.
REFERENCES = {
    "version_id": "version",
    "parent_id": "parent",
    "challenger_id": "challenger",
    "event_id": "event",
    "approval_id": "approval",
}
# What exports of before do not name, and nothing is then.
LATER = {"challenger", "share", "low", "high"}
LATER_TABLES = {"run_inputs"}
LARGEST = 2**31 - 1  # PostgreSQL's integer
LARGEST_BIG = 2**63 - 1  # and its bigint

Names = Mapping[str, Mapping[Any, Any]]  # reference's column -> database id -> name, or back
Record = dict[str, Any]


def encode_row(row: Base, names: Names) -> Record:
    """Return ``row`` as a JSON value; moments in ISO 8601 and UTC."""
    record: Record = {}
    for column in _columns(type(row)):
        value = getattr(row, column.key)
        if column.key in REFERENCES:
            value = None if value is None else names[column.key][value]
        elif isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat()
        elif isinstance(value, date):
            value = value.isoformat()
        record[REFERENCES.get(column.key, column.key)] = value
    return record


def decode_record(table: type[Base], record: object) -> Record:
    """Return the values of one row, typed; references stay names.

    Raises:
        ValueError: a key is missing or unknown, or a value does not fit its column.
    """
    columns = {REFERENCES.get(column.key, column.key): column for column in _columns(table)}
    if isinstance(record, dict):
        record = {name: None for name in columns if name in LATER} | record
    if not isinstance(record, dict) or set(record) != set(columns):
        raise ValueError(f"expected exactly the keys {', '.join(columns)}")
    return {name: _decode(name, column, record[name]) for name, column in columns.items()}


def resolve_record(record: Record, ids: Names) -> Record:
    """Return ``record`` with database ids in place of names.

    Raises:
        ValueError: it names what is not there.
    """
    resolved = {name: v for name, v in record.items() if name not in REFERENCES.values()}
    for column, name in REFERENCES.items():
        if name in record:
            value = record[name]
            if value is not None and value not in ids[column]:
                raise ValueError(f"expected a known {name}, got {value!r}")
            resolved[column] = None if value is None else ids[column][value]
    return resolved


def _columns(table: type[Base]) -> list[Column[Any]]:
    """Return what is exported of ``table``: all but the database's own numbers."""
    found = []
    for column in table.__table__.columns:
        own = column.key == "id" and isinstance(column.type, Integer)
        if isinstance(column, Column) and not own and column.key != "model_id":
            found.append(column)
    return found


def _decode(name: str, column: Column[Any], value: object) -> Any:
    if value is None and column.nullable:
        return None
    if column.key in REFERENCES:
        return _integer(name, value) if name == "event" else _text(name, value, 64)
    kind = column.type
    if isinstance(kind, Boolean):
        return _of(bool, name, value)
    if isinstance(kind, BigInteger):
        return _integer(name, value, LARGEST_BIG)
    if isinstance(kind, Integer):
        return _integer(name, value)
    if isinstance(kind, Float):
        return float(value if type(value) is int else _of(float, name, value))
    if isinstance(kind, UtcDateTime):
        return _moment(name, value)
    if isinstance(kind, Date):
        return _day(name, value)
    if isinstance(kind, String):  # Text is one
        return _text(name, value, kind.length)
    raise TypeError(f"Column {column} has a type that no export knows: {kind!r}.")


def _of(wanted: type[Any], name: str, value: object) -> Any:
    if type(value) is not wanted:
        raise ValueError(f"expected {name!r} as {wanted.__name__}, got {type(value).__name__}")
    return value


def _integer(name: str, value: object, largest: int = LARGEST) -> int:
    number: int = _of(int, name, value)
    if not 0 <= number <= largest:
        raise ValueError(f"expected {name!r} from 0 to {largest}, got {number}")
    return number


def _text(name: str, value: object, longest: int | None) -> str:
    text: str = _of(str, name, value)
    if "\0" in text or (longest is not None and len(text) > longest):
        raise ValueError(f"expected {name!r} without NUL, of at most {longest} characters")
    return text


def _moment(name: str, value: object) -> datetime:
    text = _text(name, value, 40)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment.astimezone(UTC).isoformat() != text:
        raise ValueError(f"expected {name!r} as a moment in UTC, got {text!r}")
    return moment.astimezone(UTC)


def _day(name: str, value: object) -> date:
    text = _text(name, value, 10)
    day = date.fromisoformat(text)
    if day.isoformat() != text:
        raise ValueError(f"expected {name!r} as YYYY-MM-DD, got {text!r}")
    return day
