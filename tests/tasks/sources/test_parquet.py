"""Parquet files: read in pieces, and damaged ones refused."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Source
from pilotline.tasks.sources.contract import collect, nullable
from pilotline.tasks.sources.parquet import BATCH_ROWS, read_parquet
from tests.support.tasks.facts import DAY, facts_from, facts_table

FACTS = facts_from(Source("files"))


def read(path: Path) -> pa.Table:
    """Return the file's rows."""
    return collect(FACTS, read_parquet(FACTS, DAY, path.name, path))


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_values_come_in_as_they_were_written(tmp_path: Path, compression: str) -> None:
    parquet.write_table(facts_table(), tmp_path / "facts.parquet", compression=compression)
    assert read(tmp_path / "facts.parquet") == facts_table().cast(nullable(FACTS))


def test_a_large_file_comes_in_pieces(tmp_path: Path) -> None:
    rows = facts_table().take([0] * (2 * BATCH_ROWS + 5))
    parquet.write_table(rows, tmp_path / "facts.parquet", row_group_size=10_000_000)
    batches = read_parquet(FACTS, DAY, "facts", tmp_path / "facts.parquet")
    sizes = [batch.num_rows for batch in batches]
    assert (sum(sizes), max(sizes)) == (rows.num_rows, BATCH_ROWS)


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    parquet.write_table(facts_table(), tmp_path / "facts.parquet")
    data = (tmp_path / "facts.parquet").read_bytes()
    for size in (*range(0, len(data), 97), len(data) - 1):
        (tmp_path / "cut.parquet").write_bytes(data[:size])
        with pytest.raises(SourceError, match=r"'cut\.parquet' is damaged or no Parquet file \("):
            read(tmp_path / "cut.parquet")


def test_text_that_is_no_utf8_is_refused_with_its_column(tmp_path: Path) -> None:
    rows = facts_table()
    name = next(f.name for f in rows.schema if pa.types.is_string(f.type))
    broken = pa.array([b"\xff\xfe"] * rows.num_rows, pa.binary()).view(pa.string())
    at = rows.schema.get_field_index(name)
    parquet.write_table(rows.set_column(at, rows.schema.field(at), broken), tmp_path / "f.parquet")
    with pytest.raises(PartitionRefusedError, match=f"column '{name}' holds bytes that are no UTF"):
        read(tmp_path / "f.parquet")


def test_a_flipped_byte_in_pages_with_checksums_is_seen(tmp_path: Path) -> None:
    chance = random.Random(2013)
    rows = facts_table().take([chance.randrange(3) for _ in range(500)])
    path = tmp_path / "facts.parquet"
    parquet.write_table(rows, path, write_page_checksum=True, compression="none")
    data, seen = path.read_bytes(), 0
    first = parquet.read_metadata(path).row_group(0).column(0).data_page_offset
    length = int.from_bytes(data[-8:-4], "little")
    for place in chance.sample(range(first, len(data) - 8 - length), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            got = read(path)
        except (SourceError, PartitionRefusedError):
            seen += 1
        else:  # statistics in a page's header, which nobody reads
            assert got == rows.cast(nullable(FACTS))
    assert seen > 200
