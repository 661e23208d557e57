"""What a source gives against what [schema] declares: compared in a table, never cast silently."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from difflib import get_close_matches

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.lab import TYPES, Dataset

ANY = frozenset(TYPES)
SHOWN = 20  # lines of the table; a file of 10,000 columns is refused in a page, too
COMPARED = 50  # names looked through for one that was renamed
NAME_WIDTH = 60
# Python's datetime ends where ISO dates do; PostgreSQL's "infinity" and dates B.C. lie outside.
FIRST, LAST = date.min, date.max
UTC_NAMES = {"UTC", "+00:00", "Etc/UTC", "Z", "GMT"}


@dataclass(frozen=True)
class Found:
    """A column as the source has it."""

    name: str
    type: str  # in the source's own words; "untyped" where it has none
    fits: frozenset[str]  # declared types it gives without loss


def check_columns(dataset: Dataset, day: date, found: Sequence[Found]) -> None:
    """Do nothing if the columns are the declared ones; their order does not matter.

    Raises:
        PartitionRefusedError: a column is missing, not declared, there twice or of another type.
    """
    by_name = {column.name: column for column in found}
    counts = Counter(column.name for column in found)
    missing = [name for name in dataset.columns if name not in by_name]
    extra = [name for name in by_name if name not in dataset.columns]
    twice = [name for name, count in counts.items() if count > 1]
    retyped = [
        name
        for name, declared in dataset.columns.items()
        if name in by_name and declared.type not in by_name[name].fits
    ]
    if not (missing or extra or twice or retyped):
        return
    said = {"missing": missing, "not declared": extra, "twice": twice, "of another type": retyped}
    lines = [
        *(_line(name, dataset.columns[name].type, by_name[name].type) for name in retyped),
        *(_line(n, dataset.columns[n].type, _hint(n, extra)) for n in missing),
        *(_line(name, "not declared", by_name[name].type) for name in extra),
        *(_line(name, "once", f"{counts[name]} times") for name in twice),
    ]
    raise PartitionRefusedError(
        dataset.name,
        day.isoformat(),
        "its columns are not the declared ones: "
        + ", ".join(f"{len(names)} {what}" for what, names in said.items() if names),
        "Bring [schema] and the source together; nothing is cast silently.\n"
        + _table([("column", "expected", "found"), *lines[:SHOWN]])
        + (f"\n  ... and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""),
    )


def refused_value(dataset: Dataset, day: date, name: str, found: object) -> PartitionRefusedError:
    """Return the refusal of a day for one value of a column."""
    declared = dataset.columns[name].type
    return PartitionRefusedError(
        dataset.name,
        day.isoformat(),
        f"column {name!r}: expected {declared}, found {str(found)[:200]}",
        "Mend the source or declare another type; nothing is cast silently.",
    )


def found_in_arrow(schema: pa.Schema) -> list[Found]:
    """Return the columns of an Arrow schema, with the declared types each gives without loss."""
    return [Found(field.name, str(field.type), _fits(field.type)) for field in schema]


def to_declared(dataset: Dataset, day: date, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch in the declared columns, order and types; all may hold nulls.

    Only representations change: a narrower whole number becomes int64, a float32 float64, a text
    of another layout string, a time in UTC of another unit microseconds.

    Args:
        batch: whose columns passed ``check_columns``.

    Raises:
        PartitionRefusedError: a value is lost by that, or a date lies outside the years 1 to 9999.
    """
    arrays = []
    for field in dataset.schema:
        array = batch.column(field.name)
        try:
            array = array.cast(field.type, safe=True)
        except pa.ArrowException as err:
            raise refused_value(dataset, day, field.name, err) from err
        if _is_beyond(array):
            beyond = "a date outside the years 1 to 9999, such as infinity"
            raise refused_value(dataset, day, field.name, beyond)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=nullable(dataset))


def nullable(dataset: Dataset) -> pa.Schema:
    """Return the declared schema with nulls allowed: what may be null is judged row by row."""
    return pa.schema([field.with_nullable(True) for field in dataset.schema])


def collect(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Return all batches as one table; a source that fails half way leaves none."""
    return pa.Table.from_batches(list(batches), schema=nullable(dataset))


def _fits(kind: pa.DataType) -> frozenset[str]:
    types = pa.types
    if types.is_null(kind):  # what writers make of a column without a single value
        return ANY
    if types.is_dictionary(kind):
        return _fits(kind.value_type) & {"string"}
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return frozenset({"string"})
    if types.is_integer(kind):
        return frozenset() if types.is_uint64(kind) else frozenset({"int64"})
    if types.is_float32(kind) or types.is_float64(kind):
        return frozenset({"float64"})
    if types.is_boolean(kind):
        return frozenset({"bool"})
    if types.is_date(kind):
        return frozenset({"date"})
    # A time without a zone is no moment; one in another zone would lose that it was.
    if types.is_timestamp(kind) and kind.tz in UTC_NAMES:
        return frozenset({"timestamp"})
    return frozenset()


def _is_beyond(array: pa.Array) -> bool:
    if pa.types.is_date(array.type):
        numbers, epoch = array.cast(pa.int32()), date(1970, 1, 1).toordinal()
        first, last = FIRST.toordinal() - epoch, LAST.toordinal() - epoch
    elif pa.types.is_timestamp(array.type):
        numbers = array.cast(pa.int64())
        first = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 10**6
        last = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp() + 1) * 10**6 - 1
    else:
        return False
    ends = pc.min_max(numbers).as_py()
    return ends["min"] is not None and (ends["min"] < first or ends["max"] > last)


def _hint(name: str, extra: list[str]) -> str:
    close = get_close_matches(name, extra[:COMPARED], n=1)
    return f"missing; renamed to {close[0]!r}?" if close else "missing"


def _line(name: str, expected: str, found: str) -> tuple[str, str, str]:
    cut = name if len(name) <= NAME_WIDTH else name[: NAME_WIDTH - 3] + "..."
    return (cut, expected, found[:NAME_WIDTH])


def _table(lines: Sequence[tuple[str, str, str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(2)]
    return "\n".join(
        f"  {name:<{widths[0]}}  {expected:<{widths[1]}}  {found}"
        for name, expected, found in lines
    )
