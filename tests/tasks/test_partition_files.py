"""The data files of a day: found where the log says, hashed whole, streamed in order."""

import hashlib
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from tasks import lake
from tasks.errors import LakeError
from tasks.partition_files import PartitionFiles, find_files

DAY, NEXT = date(2024, 2, 29), date(2024, 3, 1)
SCHEMA = pa.schema([("day", pa.date32()), ("id", pa.int64()), ("name", pa.string())])


def rows(day: date, count: int) -> pa.Table:
    """Return ``count`` rows of a day, numbered in order."""
    columns = [[day] * count, list(range(count)), [f"n{i}" for i in range(count)]]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a table of two days, in a folder whose name needs quoting in an address."""
    path = tmp_path / "a lake, ünd more"
    for day in (DAY, NEXT):
        table = lake.ensure_table(path, SCHEMA, ["day"])
        lake.replace_partition(table, rows(day, 1000), lake.on_day("day", day), {})
    return path


@pytest.fixture
def files(folder: Path) -> PartitionFiles:
    """Return the files of the first day."""
    return find_files(lake.open_table(folder), "numbers", "day", DAY)


def test_a_day_comes_in_the_order_it_was_written_with_its_date(files: PartitionFiles) -> None:
    batches = list(files.stream(SCHEMA, 300))
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    assert pa.Table.from_batches(batches, SCHEMA) == rows(DAY, 1000)


def test_only_the_asked_columns_are_read_in_the_asked_order(files: PartitionFiles) -> None:
    schema = pa.schema([SCHEMA.field("name"), SCHEMA.field("id")])
    (batch,) = files.stream(schema, 5000)
    assert batch.schema == schema


def test_the_digest_is_over_the_files_as_sha256sum_sees_them(files: PartitionFiles) -> None:
    each = [hashlib.sha256(path.read_bytes()).digest() for path in files.paths]
    assert files.digest() == hashlib.sha256(b"".join(each)).hexdigest()
    files.require(files.digest())


def test_an_earlier_version_keeps_its_own_files(folder: Path, files: PartitionFiles) -> None:
    before = lake.open_table(folder).version()
    lake.replace_partition(
        lake.open_table(folder), rows(DAY, 3), lake.on_day("day", DAY), {"why": "corrected"}
    )
    again = find_files(lake.open_table(folder, before), "numbers", "day", DAY)
    assert again.paths == files.paths
    now = find_files(lake.open_table(folder), "numbers", "day", DAY)
    assert sum(batch.num_rows for batch in now.stream(SCHEMA, 10)) == 3


def test_a_flipped_bit_is_found_before_anything_is_decoded(files: PartitionFiles) -> None:
    digest = files.digest()
    data = bytearray(files.paths[0].read_bytes())
    data[len(data) // 2] ^= 1
    files.paths[0].write_bytes(data)
    with pytest.raises(LakeError, match="2024-02-29 are not what was ingested"):
        files.require(digest)


def test_a_file_that_changes_while_it_is_read_is_noticed(files: PartitionFiles) -> None:
    stream = files.stream(SCHEMA, 300)
    next(stream)
    files.paths[0].touch()
    with pytest.raises(LakeError, match="changed while they were read"):
        list(stream)


def test_a_file_that_is_gone_says_which(files: PartitionFiles) -> None:
    files.paths[0].unlink()
    with pytest.raises(LakeError, match=files.paths[0].name):
        files.digest()
    with pytest.raises(LakeError, match=files.paths[0].name):
        list(files.stream(SCHEMA, 300))


def test_a_day_without_files_has_no_rows(folder: Path) -> None:
    none = find_files(lake.open_table(folder), "numbers", "day", date(2024, 1, 1))
    assert none.paths == ()
    assert list(none.stream(SCHEMA, 300)) == []
