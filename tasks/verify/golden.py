"""The golden set: held-out rows with what the model said of them when it was trained."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pilotline.tasks.lab import Bundle, Column, arrow_schema
from pilotline.tasks.sandbox import BATCH_ROWS, Child, Room, output_schema, scoring_child
from pilotline.tasks.stats import Check

TOLERANCE = 1e-9  # where model.toml names none; the same build gives the same bits
EXACT = -1.0  # compares bits: also -0.0 with 0.0
SHOWN_LETTERS = 60


@dataclass(frozen=True)
class Golden:
    """The golden set of a version."""

    features: pa.Table  # in the contract's types, ordered as the model gets them
    expected: pa.Table  # the declared predictions
    columns: dict[str, Column]  # of the features, as the contract declares them


def read_golden(bundle: Bundle) -> Golden:
    """Return the version's golden set."""
    contract = bundle.json("contract.json")["inputs"]
    columns = {name: Column(**contract[name]) for name in bundle.spec.features}
    with pa.ipc.open_stream(bundle.files["golden.arrow"]) as reader:
        kept = reader.read_all().combine_chunks()
    outputs = output_schema(bundle.spec.predictions)
    expected = kept.select([f"predicted:{name}" for name in outputs.names])
    return Golden(
        kept.select(list(columns)).cast(arrow_schema(columns)),
        expected.rename_columns(outputs.names).cast(outputs),
        columns,
    )


def check_golden(room: Room, bundle: Bundle) -> list[Check]:
    """Score the golden set twice in one child and once in another; compare with what was kept.

    Raises:
        ChildError: the model failed on it.
    """
    golden = read_golden(bundle)
    batches = golden.features.to_batches(max_chunksize=BATCH_ROWS)
    with scoring_child(room, bundle.folder, bundle.artifact) as child:
        first, again = (score_batches(child, bundle, batches) for _ in range(2))
    with scoring_child(room, bundle.folder, bundle.artifact) as other:
        elsewhere = score_batches(other, bundle, batches)
    names = golden.expected.column_names
    return [
        _check_determinism(first, again, elsewhere),
        *(_check_column(bundle, golden.expected, first, name) for name in names),
    ]


def score_batches(child: Child, bundle: Bundle, batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Return the predictions for one stream of at least one batch.

    Raises:
        ChildError: the model failed on it.
    """
    outputs = output_schema(bundle.spec.predictions)
    return pa.Table.from_batches(child.score(batches, batches[0].schema, outputs), outputs)


def tolerance_of(bundle: Bundle, name: str) -> float:
    """Return how far predictions in a column may lie apart; only numbers may at all."""
    floating = bundle.spec.predictions[name] == "float64"
    return bundle.spec.tolerances.get(name, TOLERANCE) if floating else EXACT


def find_difference(expected: pa.Table, found: pa.Table, name: str, tolerance: float) -> str:
    """Return the first difference in a column, in words; nothing where there is none.

    Args:
        expected: shape (n, columns).
        found: shape (n, columns).
        name: of the column.
        tolerance: at most this far apart, for numbers; EXACT asks for the same bits.
    """
    wanted, given = expected[name].combine_chunks(), found[name].combine_chunks()
    differs = _compare(wanted, given, tolerance)
    if not differs.any():
        return ""
    row = int(np.argmax(differs))
    values = f"expected {_show(wanted[row])}, found {_show(given[row])}"
    return f"row {row} of column {name!r}: {values}; {differs.sum():,} of {len(differs):,} differ"


def _check_determinism(first: pa.Table, again: pa.Table, elsewhere: pa.Table) -> Check:
    for where, other in (("the same process", again), ("another process", elsewhere)):
        for name in first.column_names:
            difference = find_difference(first, other, name, EXACT)
            if difference:
                return Check("determinism", False, f"asked again in {where}, {difference}")
    detail = "the golden set twice in one process and once in another: the same bits"
    return Check("determinism", True, detail)


def _check_column(bundle: Bundle, expected: pa.Table, found: pa.Table, name: str) -> Check:
    tolerance = tolerance_of(bundle, name)
    difference = find_difference(expected, found, name, tolerance)
    detail = f"{expected.num_rows} rows, equal"
    if tolerance != EXACT:
        gaps = np.abs(_numbers(expected[name]) - _numbers(found[name]))
        largest = gaps.max(where=~np.isnan(gaps), initial=0.0)
        allowed = f"largest difference {largest:.1e}, at most {tolerance:g}"
        detail = f"{expected.num_rows} rows, {allowed}"
        difference = difference and f"{difference}; {allowed}"
    return Check(f"golden set {name}", not difference, difference or detail)


def _compare(wanted: pa.Array, given: pa.Array, tolerance: float) -> NDArray[np.bool_]:
    if pa.types.is_floating(wanted.type):
        expected, found = _numbers(wanted), _numbers(given)
        if tolerance == EXACT:
            return np.not_equal(expected.view(np.int64), found.view(np.int64))
        near: NDArray[np.bool_] = np.abs(expected - found) <= tolerance
        return ~near  # also where either is no number
    pairs = zip(wanted.to_pylist(), given.to_pylist(), strict=True)
    return np.array([want != gave for want, gave in pairs], dtype=np.bool_)


def _numbers(values: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers, NaN where one is missing."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _show(value: pa.Scalar) -> str:
    plain = value.as_py()
    if isinstance(plain, float) and math.isfinite(plain):
        return f"{plain:.17g}"  # enough digits to tell any two apart
    text = repr(plain)
    return text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + "..."
