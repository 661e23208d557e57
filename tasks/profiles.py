"""Profiles of columns: counts that merge exactly and repeat to the byte."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from registry.canonical import canonical_json

FORMAT = "pilotline-profile/1"
MAX_VALUES = 1024  # up to here a column's values are counted one by one
BINS = 1024  # above it: a histogram between frozen edges, and what falls outside
OTHER = "\x00other"  # values beyond the counted ones; no real text starts with NUL


@dataclass(frozen=True)
class ColumnProfile:
    """How often each value, or each bin, was seen in one column."""

    numeric: bool
    missing: int
    counts: Mapping[str, int]  # value as text -> rows; empty where edges are given
    edges: tuple[float, ...] = ()  # BINS + 1 numbers
    bins: tuple[int, ...] = ()  # underflow, BINS, overflow

    @property
    def rows(self) -> int:
        """Rows with a value."""
        return sum(self.bins) if self.edges else sum(self.counts.values())


@dataclass(frozen=True)
class Profile:
    """Profiles of several columns over the same rows."""

    rows: int
    columns: Mapping[str, ColumnProfile]

    def encode(self) -> bytes:
        """Return the profile as canonical JSON."""
        columns = {
            name: {**vars(column), "edges": list(column.edges), "bins": list(column.bins)}
            for name, column in self.columns.items()
        }
        return canonical_json({"format": FORMAT, "rows": self.rows, "columns": columns})


def decode_profile(data: bytes) -> Profile:
    """Return the profile that ``data`` holds.

    Raises:
        ValueError: it is of another format.
    """
    facts: dict[str, Any] = json.loads(data)
    if facts.get("format") != FORMAT:
        raise ValueError(f"Expected a profile of format {FORMAT!r}, got {facts.get('format')!r}.")
    columns = {
        name: ColumnProfile(
            column["numeric"],
            column["missing"],
            column["counts"],
            tuple(column["edges"]),
            tuple(column["bins"]),
        )
        for name, column in facts["columns"].items()
    }
    return Profile(facts["rows"], columns)


def make_reference(rows: pa.Table) -> Profile:
    """Return the profile of ``rows``, fixing for each column how later rows are counted."""
    return Profile(
        rows.num_rows, {name: _reference_column(rows.column(name)) for name in rows.column_names}
    )


def profile_like(reference: Profile, rows: pa.Table | pa.RecordBatch) -> Profile:
    """Return the profile of ``rows``, counted as ``reference`` fixed it; profiles then merge."""
    columns = {
        name: _column_like(column, rows.column(name))
        for name, column in reference.columns.items()
        if name in rows.schema.names
    }
    return Profile(rows.num_rows, columns)


def merge_profiles(profiles: Iterable[Profile]) -> Profile | None:
    """Return the profile of all rows together, None where there are none."""
    merged: Profile | None = None
    for profile in profiles:
        merged = profile if merged is None else _merge(merged, profile)
    return merged


def _merge(one: Profile, two: Profile) -> Profile:
    columns = {}
    for name, left in one.columns.items():
        right = two.columns[name]
        if left.edges != right.edges:
            raise ValueError(f"Column {name!r}: expected equal edges; profile both alike.")
        counts = dict(left.counts)
        for value, count in right.counts.items():
            counts[value] = counts.get(value, 0) + count
        bins = tuple(a + b for a, b in zip(left.bins, right.bins, strict=True))
        columns[name] = ColumnProfile(
            left.numeric, left.missing + right.missing, counts, left.edges, bins
        )
    return Profile(one.rows + two.rows, columns)


def _reference_column(values: pa.ChunkedArray) -> ColumnProfile:
    numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    counted = _count(values)
    if len(counted) <= MAX_VALUES:
        return ColumnProfile(numeric, values.null_count, counted)
    if numeric:
        numbers = pc.drop_null(values).to_numpy().astype(np.float64)
        edges = np.linspace(numbers.min(), numbers.max(), BINS + 1)
        return _binned(numbers, values.null_count, tuple(float(edge) for edge in edges))
    kept = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))[: MAX_VALUES - 1])
    kept[OTHER] = sum(counted.values()) - sum(kept.values())
    return ColumnProfile(False, values.null_count, kept)


def _column_like(reference: ColumnProfile, values: pa.ChunkedArray | pa.Array) -> ColumnProfile:
    if reference.edges:
        numbers = pc.drop_null(values).to_numpy(zero_copy_only=False).astype(np.float64)
        return _binned(numbers, values.null_count, reference.edges)
    counted = _count(values)
    # Numbers are counted whatever they are: an unknown one has a place on the axis all the same.
    if not reference.numeric and (OTHER in reference.counts or len(counted) > MAX_VALUES):
        kept = {value: n for value, n in counted.items() if value in reference.counts}
        beyond = sum(counted.values()) - sum(kept.values())
        counted = kept | ({OTHER: beyond} if beyond else {})
    return ColumnProfile(reference.numeric, values.null_count, counted)


def _count(values: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    counted = pc.value_counts(pc.drop_null(values))
    texts = [_text(value) for value in counted.field("values").to_pylist()]
    return dict(sorted(zip(texts, counted.field("counts").to_pylist(), strict=True)))


def _text(value: object) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)


def _binned(numbers: Any, missing: int, edges: tuple[float, ...]) -> ColumnProfile:
    inside, _ = np.histogram(numbers, bins=np.asarray(edges))
    below, above = int((numbers < edges[0]).sum()), int((numbers > edges[-1]).sum())
    bins = (below, *inside.tolist(), above)  # plain integers, as JSON wants them
    return ColumnProfile(True, missing, {}, edges, bins)
