"""How often each value of a column was seen, in summaries that merge exactly, in any order.

Up to 1,024 values of a column are counted one by one. Beyond that numbers are counted in bins
whose width is the smallest power of two that leaves at most 1,024 of them occupied, and texts in
1,024 buckets by their CRC. Which of them applies, and how wide the bins are, follows from the set
of values alone: never from their order, from how they came in batches, or from what was seen
elsewhere. So summaries of parts merge into the summary of the whole, to the byte, and need no
common reference: docs/decisions/profiles-that-merge.md.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LIMIT = 1024  # values or occupied bins of one column
FINEST, COARSEST = -1074, 1020  # powers of two of doubles: each is its own bin; four bins hold all
SAMPLE = 4096  # values in which the first bins are looked for
SLICE = 65_536  # numbers at once: temporaries then stay in the processor's cache
SPAN = 1 << 16  # bins in a row that are counted in an array, not in a hash table
HUGE = np.finfo(np.float64).max

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Numbers:
    """What a column of numbers held; integers beyond 2**53 count as the nearest double."""

    missing: int = 0  # null or NaN
    infinite: tuple[int, int] = (0, 0)  # minus, plus
    level: int | None = None  # bins are 2**level wide; None: values are counted one by one
    places: Floats = field(default_factory=lambda: np.empty(0))  # values, or bins' lower ends
    counts: Counts = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum()) + sum(self.infinite)


@dataclass(frozen=True)
class Texts:
    """What a column of anything else held, as text."""

    missing: int
    hashed: bool  # whether the keys are buckets
    counts: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return sum(self.counts.values())


Column = Numbers | Texts


class ColumnFold:
    """The summary of one column while its rows come in."""

    def __init__(self) -> None:
        self._parts: list[Column] = []

    def add(self, values: pa.Array | pa.ChunkedArray) -> None:
        """Count more values."""
        if not _is_number(values.type):
            self._parts.append(_count_texts(values))
        else:
            missing = values.null_count
            present = pc.drop_null(values) if missing else values
            numbers = _to_doubles(present)
            for start in range(0, len(numbers), SLICE):
                self._add_numbers(numbers[start : start + SLICE])
            self._parts.append(Numbers(missing=missing))
        if len(self._parts) > 64:  # memory stays bounded however long the column is
            self._parts = [merge_columns(self._parts)]

    def column(self) -> Column:
        """Return the summary of everything added."""
        return merge_columns(self._parts)

    def _add_numbers(self, numbers: Floats) -> None:
        lowest, highest = float(numbers.min()), float(numbers.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):  # NaN comes out of both
            finite = np.isfinite(numbers)
            below, above = int((numbers == -np.inf).sum()), int((numbers == np.inf).sum())
            missing = int(np.isnan(numbers).sum())
            self._parts.append(Numbers(missing, (below, above)))
            numbers = numbers[finite]
            if len(numbers) == 0:
                return
            lowest, highest = float(numbers.min()), float(numbers.max())
        level = self._level()
        if level is None:
            first = _count_values(numbers[:SAMPLE], lowest, highest)
            numbers = numbers[SAMPLE:]
            self._parts.append(first)
            level = first.level
            if len(numbers) == 0:
                return
        if level is None:
            self._parts.append(_count_values(numbers, lowest, highest))
        else:
            self._parts.append(_count_bins(numbers, level, lowest, highest))

    def _level(self) -> int | None:
        """Return a width that is known to be needed: it only ever grows."""
        for part in reversed(self._parts):
            if isinstance(part, Numbers) and part.level is not None:
                return part.level
        return None


def merge_columns(parts: Sequence[Column]) -> Column:
    """Return the summary of all parts together; their order does not matter.

    Raises:
        ValueError: some hold numbers, others texts.
    """
    texts = [part for part in parts if isinstance(part, Texts)]
    numbers = [part for part in parts if isinstance(part, Numbers)]
    if texts and numbers:
        raise ValueError("Expected one type, got numbers and texts; the column was retyped.")
    return _merge_texts(texts) if texts else _merge_numbers(numbers)


def coarsen(places: Floats, level: int) -> Floats:
    """Return the lower ends of the bins, 2**level wide, that hold ``places``; both finite."""
    # What lies beyond 2**53 widths is a multiple of one: dividing it overflows, or changes nothing.
    with np.errstate(over="ignore"):
        # Rounding down first keeps tiny negatives from vanishing in the division.
        scaled = np.ldexp(np.floor(places) if level > 0 else places, -level)
        ends = np.ldexp(np.floor(scaled), level)
    ends = np.where(np.isfinite(scaled), np.maximum(ends, -HUGE), places)
    return ends + 0.0  # no minus zero


def _merge_numbers(parts: Sequence[Numbers]) -> Numbers:
    missing = sum(part.missing for part in parts)
    infinite = (sum(p.infinite[0] for p in parts), sum(p.infinite[1] for p in parts))
    held = [part for part in parts if len(part.places)]
    if not held:
        return Numbers(missing, infinite)
    level = max((part.level for part in held if part.level is not None), default=None)
    places = [
        part.places if part.level == level or level is None else coarsen(part.places, level)
        for part in held
    ]
    counted = _sum_up(np.concatenate(places), np.concatenate([part.counts for part in held]))
    if len(counted[0]) > LIMIT:
        level = _find_level(counted[0], FINEST if level is None else level)
        counted = _sum_up(coarsen(counted[0], level), counted[1])
    return Numbers(missing, infinite, level, *counted)


def _sum_up(places: Floats, counts: Counts) -> tuple[Floats, Counts]:
    """Return the distinct places, ascending, and the sum of each one's counts."""
    found, which = np.unique(places, return_inverse=True)
    total = np.zeros(len(found), np.int64)
    np.add.at(total, which, counts)
    return found, total


def _find_level(places: Floats, low: int) -> int:
    """Return the smallest level, from ``low``, that leaves at most LIMIT bins occupied.

    Args:
        places: distinct and ascending.
        low: a level that leaves more, or the finest.
    """
    high = COARSEST
    while low < high:
        middle = (low + high) // 2
        ends = coarsen(places, middle)
        if 1 + np.count_nonzero(ends[1:] != ends[:-1]) <= LIMIT:
            high = middle
        else:
            low = middle + 1
    return high


def _count_values(numbers: Floats, lowest: float, highest: float) -> Numbers:
    """Count values one by one, or in bins if there are too many."""
    if lowest.is_integer() and highest - lowest < SPAN:
        shifted = numbers - lowest
        whole = shifted.astype(np.int32)
        if (whole == shifted).all():
            counts = np.bincount(whole)
            (seen,) = np.nonzero(counts)
            values = (seen + lowest).astype(np.float64)
            return _merge_numbers([Numbers(0, (0, 0), None, values, counts[seen])])
    counted = pc.value_counts(pa.array(numbers))
    values = counted.field("values").to_numpy()
    return _merge_numbers(
        [Numbers(0, (0, 0), None, values + 0.0, counted.field("counts").to_numpy())]
    )


def _count_bins(numbers: Floats, level: int, lowest: float, highest: float) -> Numbers:
    """Count numbers in bins 2**level wide."""
    ends = coarsen(np.array([lowest, highest]), level)
    if abs(level) > 1000 or np.abs(ends).max() >= 2.0 ** min(level + 52, 1000):
        return _merge_numbers([_count_distinct(coarsen(numbers, level), level)])
    scaled = np.multiply(np.floor(numbers) if level > 0 else numbers, 2.0**-level)
    np.floor(scaled, out=scaled)
    first, last = np.ldexp(ends, -level)
    if last - first < SPAN:
        return _count_in_a_row(scaled, first, level)
    # A few lie far out, as of a heavy tail: the array is for the others.
    first = scaled[len(scaled) // 2] - SPAN // 2
    near = (scaled >= first) & (scaled < first + SPAN)
    far = _count_distinct(np.ldexp(scaled[~near], level), level)
    return _merge_numbers([_count_in_a_row(scaled[near], first, level), far])


def _count_in_a_row(scaled: Floats, first: float, level: int) -> Numbers:
    counts = np.bincount((scaled - first).astype(np.int32))
    (seen,) = np.nonzero(counts)
    places: Floats = np.ldexp(seen + first, level)
    return Numbers(0, (0, 0), level, places + 0.0, counts[seen])


def _count_distinct(ends: Floats, level: int) -> Numbers:
    return Numbers(0, (0, 0), level, *np.unique(ends + 0.0, return_counts=True))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )


def _to_doubles(values: pa.Array | pa.ChunkedArray) -> Floats:
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())  # days since 1970
    elif pa.types.is_temporal(values.type):
        values = values.cast(pa.int64())
    elif pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    array: NDArray[Any] = (
        values.to_numpy()
        if isinstance(values, pa.ChunkedArray)
        else values.to_numpy(zero_copy_only=False)
    )
    return array.astype(np.float64, copy=False)


def _merge_texts(parts: Sequence[Texts]) -> Texts:
    hashed = any(part.hashed for part in parts)
    counts: dict[str, int] = {}
    for part in parts:
        known = part.counts if part.hashed or not hashed else to_buckets(part.counts)
        if not counts:
            counts = dict(known)
            continue
        for text, count in known.items():
            counts[text] = counts.get(text, 0) + count
    if not hashed and len(counts) > LIMIT:
        counts, hashed = to_buckets(counts), True
    return Texts(sum(part.missing for part in parts), hashed, counts)


def to_buckets(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of texts by the CRC of each, in 1,024 buckets."""
    buckets: dict[str, int] = {}
    for text, count in counts.items():
        bucket = f"#{zlib.crc32(text.encode()) % LIMIT:04}"
        buckets[bucket] = buckets.get(bucket, 0) + count
    return buckets


def _count_texts(values: pa.Array | pa.ChunkedArray) -> Texts:
    missing = values.null_count
    if missing == len(values):
        return Texts(missing, False, {})
    counted = pc.value_counts(values)
    texts = (str(value) for value in counted.field("values").to_pylist() if value is not None)
    numbers = counted.field("counts").to_pylist()
    if missing:  # the null has a count of its own
        valid = counted.field("values").is_valid().to_pylist()
        numbers = [count for count, here in zip(numbers, valid, strict=True) if here]
    return _merge_texts([Texts(missing, False, dict(zip(texts, numbers, strict=True)))])
