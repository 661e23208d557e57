"""What the contract allows and training did not show: the cases of the robustness suite."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pilotline.tasks.sandbox import BATCH_ROWS
from pilotline.tasks.verify.golden import Golden

MANY_ROWS = BATCH_ROWS + 1  # a full batch, and one of a single row after it
NOT_FINITE = {"infinity": float("inf"), "-infinity": -float("inf"), "NaN": float("nan")}
# Type -> what is sent, in words -> value. A lone surrogate cannot be written as UTF-8 at all.
EXTREMES: Mapping[str, Mapping[str, Any]] = {
    "int64": {"0": 0, "-1": -1, "the smallest": -(2**63), "the largest": 2**63 - 1},
    "float64": {
        "0": 0.0,
        "-0": -0.0,
        "the smallest above 0": 5e-324,
        "the largest": sys.float_info.max,
        "-the largest": -sys.float_info.max,
        **NOT_FINITE,
    },
    "bool": {"true": True, "false": False},
    "date": {
        "year 1": date(1, 1, 1),
        "year 1970": date(1970, 1, 1),
        "year 9999": date(9999, 12, 31),
    },
    "timestamp": {
        "year 1": datetime(1, 1, 1, tzinfo=UTC),
        "year 1970": datetime(1970, 1, 1, tzinfo=UTC),
        "year 9999": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    },
    "string": {
        "a category nobody saw": "nobody saw this before",
        "no letters": "",
        "a space": " ",
        "1 MiB of letters": "x" * (1 << 20),
        "quotes": "'; drop table x --\\\"\n",
        "a NUL": "\u0000",
        "combining marks": "Z\u0351\u036b\u0343a\u030a\u0323",
        "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c",
        "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "the last character": "\U0010ffff",
    },
}


@dataclass(frozen=True)
class Case:
    """One stream to send, and what is known of the answer."""

    group: str  # what the check is called
    name: str  # what is sent, in words
    batches: list[pa.RecordBatch]  # at least one
    finite: bool = True  # False: ingestion refuses such values, so may the answer be
    expected: pa.Table | None = None  # the predictions, where they are known

    @property
    def rows(self) -> int:
        """How many rows are sent."""
        return sum(batch.num_rows for batch in self.batches)


def make_cases(golden: Golden) -> list[Case]:
    """Return the cases for a contract; each is a small stream, so that none hides another."""
    rows = golden.features
    turned = rows.select(list(reversed(rows.column_names)))
    many = rows.take(pa.array([0] * MANY_ROWS))
    return [
        Case("no rows", "an empty batch", _batches(rows.slice(0, 0))),
        Case("one row", "one row", _batches(rows.slice(0, 1))),
        Case("columns in another order", "reversed", _batches(turned), expected=golden.expected),
        Case("many rows of one value", f"{MANY_ROWS:,} times one row", _batches(many)),
        *_missing_cases(golden),
        *_extreme_cases(golden),
    ]


def _missing_cases(golden: Golden) -> Iterator[Case]:
    rows = golden.features
    nothing = rows
    nullable = [name for name, column in golden.columns.items() if column.nullable]
    for name in nullable:
        kind = rows.schema.field(name).type
        half = [None if row % 2 == 0 else value for row, value in enumerate(rows[name].to_pylist())]
        for words, values in (
            ("in every row", pa.nulls(rows.num_rows, kind)),
            ("in every other row", pa.array(half, kind)),
            ("in a single row", pa.nulls(1, kind)),
        ):
            group = f"missing {name}"
            yield Case(group, words, _batches(_with(rows.slice(0, len(values)), name, values)))
        nothing = _with(nothing, name, pa.nulls(rows.num_rows, kind))
    if nullable:
        yield Case("all missing", "whatever may be missing", _batches(nothing))


def _extreme_cases(golden: Golden) -> Iterator[Case]:
    row = golden.features.slice(0, 1)
    for name, column in golden.columns.items():
        for words, value in EXTREMES[column.type].items():
            # From pandas would make a NaN a null: what is sent is the number.
            sent = _with(row, name, pa.array([value], row.schema.field(name).type))
            finite = words not in NOT_FINITE
            yield Case(f"extremes of {name}", words, _batches(sent), finite)


def _batches(rows: pa.Table) -> list[pa.RecordBatch]:
    """Return the rows as batches, one of no rows where there are none."""
    found = rows.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
    return found or [pa.RecordBatch.from_pylist([], rows.schema)]


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
