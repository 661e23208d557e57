"""Delta tables: pinned versions stay, partitions are replaced whole, the later handle loses."""

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.handle import TableRefusedError

SCHEMA = pa.schema(
    [pa.field("day", pa.date32(), False), pa.field("x", pa.int64(), False), ("name", pa.string())]
)
DAY = date(2013, 1, 1)
ON_DAY = lake.on_day("day", DAY)


def rows(day: date, *values: int) -> pa.Table:
    return pa.Table.from_pylist([{"day": day, "x": x, "name": f"n{x}"} for x in values], SCHEMA)


def read(path: Path, version: int | None = None, predicate: str | None = None) -> list[int]:
    return sorted(lake.read(lake.open_table(path, version), SCHEMA, predicate)["x"].to_pylist())


def test_a_replaced_partition_leaves_the_others_and_the_old_version(tmp_path: Path) -> None:
    path = tmp_path / "t"
    other = DAY + timedelta(days=1)
    table = lake.ensure_table(path, SCHEMA, ["day"])
    first = lake.replace_partition(table, rows(DAY, 1, 2), ON_DAY, {})
    second = lake.replace_partition(table, rows(other, 7), lake.on_day("day", other), {})
    third = lake.replace_partition(lake.open_table(path), rows(DAY, 3), ON_DAY, {"run": "r3"})
    assert (first, second, third) == (1, 2, 3)
    assert lake.open_table(path).version() == 3
    assert lake.open_table(path).history()[0]["run"] == "r3"
    assert read(path) == [3, 7]
    assert read(path, predicate=ON_DAY) == [3]
    assert read(path, 2) == [1, 2, 7]
    assert read(path, predicate=lake.on_days("day", [DAY, other])) == [3, 7]


def test_a_pinned_version_is_readable_after_its_log_is_old_and_checkpoints_were_made(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t"
    table = lake.ensure_table(path, SCHEMA, ["day"])
    pinned = lake.replace_partition(table, rows(DAY, 1, 2, 3), ON_DAY, {})
    table.delta.alter.set_table_properties({"delta.checkpointInterval": "5"})
    old = time.time() - 40 * 86_400
    for _ in range(2):  # a log is cleaned up to a checkpoint that is old itself
        for n in range(12):
            table = lake.open_table(path)
            lake.replace_partition(table, rows(DAY, n), ON_DAY, {})
        assert list((path / "_delta_log").glob("*.checkpoint.parquet"))
        for file in (path / "_delta_log").iterdir():
            os.utime(file, (old, old))
    for n in range(12):
        lake.replace_partition(lake.open_table(path), rows(DAY, n), ON_DAY, {})
    assert read(path, pinned) == [1, 2, 3]
    assert (path / "_delta_log" / f"{pinned:020}.json").exists()


def test_a_reader_that_raises_at_its_end_commits_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t"
    lake.replace_partition(lake.ensure_table(path, SCHEMA, ["day"]), rows(DAY, 1), ON_DAY, {})

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows(DAY, *range(5)).to_batches()
        raise RuntimeError("rows are missing")

    table = lake.open_table(path)
    with pytest.raises(TableRefusedError, match="rows are missing"):
        lake.replace_partition(
            table, pa.RecordBatchReader.from_batches(SCHEMA, batches()), ON_DAY, {}
        )
    assert lake.open_table(path).version() == 1
    assert read(path) == [1]


@pytest.mark.parametrize("existing", [True, False])
def test_of_two_stale_handles_the_later_is_refused(tmp_path: Path, existing: bool) -> None:
    path = tmp_path / "t"
    table = lake.ensure_table(path, SCHEMA, ["day"])
    if existing:
        lake.replace_partition(table, rows(DAY, 0), ON_DAY, {})
    one, two = lake.open_table(path), lake.open_table(path)
    lake.replace_partition(one, rows(DAY, 1), ON_DAY, {}, ("production/2013-01-01", 1))
    with pytest.raises(TableRefusedError):
        lake.replace_partition(two, rows(DAY, 2), ON_DAY, {}, ("production/2013-01-01", 2))
    assert read(path) == [1]
    assert lake.open_table(path).transaction_version("production/2013-01-01") == 1


def test_rows_outside_the_partition_are_refused(tmp_path: Path) -> None:
    table = lake.ensure_table(tmp_path / "t", SCHEMA, ["day"])
    other = rows(DAY + timedelta(days=1), 1)
    with pytest.raises(TableRefusedError):
        lake.replace_partition(table, other, ON_DAY, {})
    assert lake.open_table(tmp_path / "t").version() == 0


def test_a_table_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match=r"^Table 'gone': cannot be opened \(.*Check PILOTLINE_L"):
        lake.open_table(tmp_path / "gone")


def test_a_version_that_is_not_there_is_named(tmp_path: Path) -> None:
    lake.ensure_table(tmp_path / "t", SCHEMA, ["day"])
    with pytest.raises(LakeError, match=r"^Table 't': cannot be opened at version 7 \("):
        lake.open_table(tmp_path / "t", 7)


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    lake.ensure_table(tmp_path / "t", SCHEMA, ["day"])
    lake.ensure_table(tmp_path / "t", SCHEMA, ["day"])
    changed = SCHEMA.set(1, pa.field("x", pa.float64()))
    with pytest.raises(LakeError, match=r"has columns .*'x': 'int64'.*expected .*'x': 'double'"):
        lake.ensure_table(tmp_path / "t", changed, ["day"])


def test_a_table_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LakeError, match=r"cannot be made \(.*Free space or fix rights\."):
        lake.ensure_table(tmp_path / "file" / "t", SCHEMA, ["day"])


def test_the_tables_of_a_lake_have_their_places(tmp_path: Path) -> None:
    assert lake.accepted_path(tmp_path, "flights") == tmp_path / "datasets" / "flights" / "accepted"
    assert lake.quarantine_path(tmp_path, "flights").name == "quarantine"
    assert lake.predictions_path(tmp_path, "m") == tmp_path / "predictions" / "m"


def test_a_rival_in_another_partition_refuses_a_commit_on_an_older_handle_too(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "t", DAY + timedelta(days=1)
    lake.ensure_table(path, SCHEMA, ["day"])
    one, two = lake.open_table(path), lake.open_table(path)
    lake.replace_partition(one, rows(other, 1), lake.on_day("day", other), {}, ("2013-01-02", 1))
    with pytest.raises(TableRefusedError):
        lake.replace_partition(two, rows(DAY, 2), ON_DAY, {}, ("2013-01-01", 1))
    assert read(path) == [1]
    lake.replace_partition(lake.open_table(path), rows(DAY, 2), ON_DAY, {}, ("2013-01-01", 1))
    assert read(path) == [1, 2]
