"""The data files of a day: found where the log says, hashed whole, streamed in order."""

import hashlib
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import WriterProperties, write_deltalake

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.partition_files import PartitionFiles, Piece, find_files

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
    return find_files(lake.open_table(folder), folder, "numbers", "day", DAY)


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
    again = find_files(lake.open_table(folder, before), folder, "numbers", "day", DAY)
    assert again.paths == files.paths
    now = find_files(lake.open_table(folder), folder, "numbers", "day", DAY)
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
    none = find_files(lake.open_table(folder), folder, "numbers", "day", date(2024, 1, 1))
    assert none.paths == ()
    assert list(none.stream(SCHEMA, 300)) == []


@pytest.fixture
def many(tmp_path: Path) -> PartitionFiles:
    """Return a day of 1,000 rows in two files, of 200 and of 300 rows a group."""
    path = tmp_path / "many"
    lake.ensure_table(path, SCHEMA, ["day"])
    whole = rows(DAY, 1000)
    for part, group in ((whole.slice(0, 400), 200), (whole.slice(400), 300)):
        properties = WriterProperties(max_row_group_size=group)
        write_deltalake(path, part, mode="append", writer_properties=properties)
    return find_files(lake.open_table(path), path, "numbers", "day", DAY)


def test_each_row_group_is_a_piece_of_its_own(many: PartitionFiles) -> None:
    pieces = many.pieces(many.digest())
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in many.paths}
    assert [(piece.file, piece.sha256) for piece in pieces] == [
        (path.name, hashes[path.name]) for path in many.paths for _ in range(2)
    ]
    assert [piece.groups for piece in pieces] == [(0,), (1,)] * 2
    assert sorted(piece.rows for piece in pieces) == [200, 200, 300, 300]


def test_picked_pieces_together_are_the_whole_day(many: PartitionFiles) -> None:
    pieces = many.pieces(many.digest())
    for cut in ([pieces[:1], pieces[1:3], pieces[3:]], [pieces]):
        batches = [b for some in cut for b in many.pick(some).stream(SCHEMA, 150)]
        assert pa.Table.from_batches(batches, SCHEMA).sort_by("id") == rows(DAY, 1000)
    middle = many.pick(pieces[1:3])
    assert [len(groups) for groups in middle.groups] == [1, 1]
    assert sum(b.num_rows for b in middle.stream(SCHEMA, 5000)) == sum(
        piece.rows for piece in pieces[1:3]
    )


def test_files_that_are_not_what_was_ingested_are_not_cut(many: PartitionFiles) -> None:
    digest = many.digest()
    pq.write_table(rows(DAY, 3).drop(["day"]), many.paths[0])
    with pytest.raises(LakeError, match="2024-02-29 are not what was ingested"):
        many.pieces(digest)


def test_who_picks_finds_what_changed_since_the_cut(many: PartitionFiles) -> None:
    pieces = many.pieces(many.digest())
    untouched = 1000 - pq.read_metadata(many.paths[1]).num_rows
    data = bytearray(many.paths[1].read_bytes())
    data[len(data) // 2] ^= 1
    many.paths[1].write_bytes(data)
    name = many.paths[1].name
    with pytest.raises(LakeError, match=f"not what was ingested .{name} hashes to"):
        many.pick([piece for piece in pieces if piece.file == name])
    other = many.pick([piece for piece in pieces if piece.file != name])
    assert sum(batch.num_rows for batch in other.stream(SCHEMA, 5000)) == untouched


def test_a_piece_of_a_file_that_is_not_here_is_named(many: PartitionFiles) -> None:
    with pytest.raises(LakeError, match=r"elsewhere\.parquet: it is not here"):
        many.pick([Piece("elsewhere.parquet", "0" * 64, (0,), 200)])
