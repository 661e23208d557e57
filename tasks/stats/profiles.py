"""Profiles of rows: what each column held, in counts that merge exactly and repeat to the byte."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import canonical_json
from pilotline.tasks.stats.columns import Column, ColumnFold, Numbers, Texts, merge_columns

FORMAT = "pilotline-profile/2"


@dataclass(frozen=True)
class Profile:
    """What several columns of the same rows held."""

    rows: int
    columns: Mapping[str, Column]

    def encode(self) -> bytes:
        """Return the profile as canonical JSON: the same rows give the same bytes."""
        columns = {name: _to_json(column) for name, column in self.columns.items()}
        return canonical_json({"format": FORMAT, "rows": self.rows, "columns": columns})

    def select(self, names: Iterable[str]) -> "Profile":
        """Return the profile of those of the named columns that it has."""
        return Profile(
            self.rows, {name: self.columns[name] for name in names if name in self.columns}
        )


class ProfileFold:
    """A profile while its rows come in; memory is bounded by columns, not by rows."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns: dict[str, ColumnFold] = {}

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Count more rows."""
        self._rows += rows.num_rows
        for name, values in zip(rows.schema.names, rows.columns, strict=True):
            self._columns.setdefault(name, ColumnFold()).add(values)

    def profile(self) -> Profile:
        """Return the profile of everything added."""
        return Profile(self._rows, {name: fold.column() for name, fold in self._columns.items()})


def profile_rows(rows: pa.Table | pa.RecordBatch) -> Profile:
    """Return the profile of ``rows``."""
    fold = ProfileFold()
    fold.add(rows)
    return fold.profile()


def store_profile(blobs: BlobStore, rows: pa.Table) -> str:
    """Store the profile of a day's accepted rows; return its digest, for the ingest's record."""
    return blobs.put(profile_rows(rows).encode())


def merge_profiles(profiles: Iterable[Profile]) -> Profile | None:
    """Return the profile of all rows together, None where there are none; order does not matter.

    A column that some profiles lack is merged of those that have it.

    Raises:
        ValueError: a column held numbers in one and texts in another.
    """
    rows, found = 0, False
    parts: dict[str, list[Column]] = {}
    for profile in profiles:
        rows, found = rows + profile.rows, True
        for name, column in profile.columns.items():
            parts.setdefault(name, []).append(column)
    if not found:
        return None
    return Profile(rows, {name: _merge(name, columns) for name, columns in parts.items()})


def decode_profile(data: bytes) -> Profile:
    """Return the profile that ``data`` holds.

    Raises:
        ValueError: it is of another format.
    """
    facts: dict[str, Any] = json.loads(data)
    if facts.get("format") != FORMAT:
        raise ValueError(
            f"Expected a profile of format {FORMAT!r}, got {facts.get('format')!r}. Another "
            "release wrote it: train a new version, and score its days with that."
        )
    columns = {name: _from_json(column) for name, column in facts["columns"].items()}
    return Profile(facts["rows"], columns)


def _merge(name: str, columns: list[Column]) -> Column:
    try:
        return merge_columns(columns)
    except ValueError as err:
        raise ValueError(f"Column {name!r}: {err}") from err


def _to_json(column: Column) -> dict[str, object]:
    if isinstance(column, Texts):
        return {"kind": "texts", **vars(column)}
    lists = {"places": column.places.tolist(), "counts": column.counts.tolist()}
    return {"kind": "numbers", **vars(column), **lists}


def _from_json(facts: dict[str, Any]) -> Column:
    if facts["kind"] == "texts":
        return Texts(facts["missing"], facts["hashed"], facts["counts"])
    return Numbers(
        facts["missing"],
        (facts["infinite"][0], facts["infinite"][1]),
        facts["level"],
        np.array(facts["places"], np.float64),
        np.array(facts["counts"], np.int64),
    )
