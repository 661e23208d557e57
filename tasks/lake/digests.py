"""The partition digest: SHA-256 over the canonical rows of one day, whatever their order."""

import hashlib
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.tasks.errors import LakeError

FORMAT = b"pilotline-partition/1\n"


def partition_digest(rows: pa.Table, key: tuple[str, ...]) -> str:
    """Return the digest of ``rows``: the same data gives the same digest, in any order.

    Rows are sorted by the key, then by the other columns; each column, by name, adds its name,
    its type, one byte a row for null, and its values: fixed-width ones little-endian with nulls
    as zeros, texts as their UTF-8 lengths (64 bit) followed by all their bytes.

    Args:
        rows: shape (rows, columns) of declared types.
        key: names of columns, unique together.

    Returns:
        64 hex digits.

    Source:
        docs/reference/formats.md.
    """
    return digest_sorted(rows.take(canonical_order(rows, key)))


def canonical_order(rows: pa.Table, key: tuple[str, ...]) -> pa.UInt64Array:
    """Return the places of the rows in the order in which they are digested."""
    others = sorted(set(rows.column_names) - set(key))
    return pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in (*key, *others)])


def digest_sorted(rows: pa.Table) -> str:
    """Return the digest of rows that are in their canonical order already."""
    sha = hashlib.sha256(FORMAT + f"{rows.num_rows}\n".encode())
    for name in sorted(rows.column_names):
        column = rows.column(name)
        sha.update(f"{name}\n{column.type}\n".encode())
        sha.update(pc.cast(pc.is_null(column), pa.uint8()).to_numpy().tobytes())
        for part in _canonical_parts(column):
            sha.update(part)
    return sha.hexdigest()


def _canonical_parts(column: pa.ChunkedArray) -> list[bytes]:
    kind = column.type
    if pa.types.is_string(kind):
        texts = pc.fill_null(column, "")
        lengths = pc.cast(pc.binary_length(texts), pa.int64()).to_numpy()
        return [lengths.tobytes(), *(_text_bytes(chunk) for chunk in texts.chunks)]
    if pa.types.is_boolean(kind):
        column = pc.cast(column, pa.uint8())
    elif pa.types.is_date32(kind):
        column = pc.cast(column, pa.int32())
    elif pa.types.is_timestamp(kind):
        column = pc.cast(column, pa.int64())
    elif pa.types.is_floating(kind):
        column = pc.add(column, 0.0)  # -0.0 and 0.0 are one value
    return [pc.fill_null(column, 0).to_numpy().tobytes()]


def _text_bytes(chunk: pa.Array) -> bytes:
    offsets = chunk.buffers()[1]
    data = chunk.buffers()[2]
    if data is None or len(chunk) == 0:
        return b""
    width = memoryview(offsets).cast("i")
    start, end = width[chunk.offset], width[chunk.offset + len(chunk)]
    return bytes(memoryview(data)[start:end])


def check_day(dataset: str, key: tuple[str, ...], day: date, rows: pa.Table, digest: str) -> None:
    """Do nothing if ``rows`` are what was ingested.

    Raises:
        LakeError: they are not.
    """
    found = partition_digest(rows, key)
    if found != digest:
        raise LakeError(
            dataset,
            f"day {day} reads as {found[:12]}..., ingested as {digest[:12]}...",
            "Its files are damaged: restore the lake from a copy, or ingest the day again.",
        )
