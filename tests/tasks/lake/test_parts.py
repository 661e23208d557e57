"""Files of parts: what Delta reads of them is what it reads of files it wrote itself."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import QueryBuilder
from deltalake.transaction import AddAction

from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.handle import Table, TableRefusedError
from pilotline.tasks.lake.parts import FOLDER, PartFile, remove_part, write_part

DAY, NEXT = date(2024, 2, 29), date(2024, 3, 1)
VARIANT = "shadow/1.0.1"
SCHEMA = pa.schema(
    [
        ("day", pa.date32()),
        ("carrier", pa.string()),
        ("flight", pa.int64()),
        ("probability", pa.float64()),
        ("late", pa.bool_()),
        ("seen", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("nothing", pa.string()),
        ("variant", pa.string()),
    ]
)
PARTITIONED = ["variant", "day"]


def rows(count: int = 1000, day: date = DAY, variant: str = VARIANT) -> pa.Table:
    """Return rows with nulls, negative numbers, accents and microseconds among them."""
    columns: list[list[Any]] = [
        [day] * count,
        [None if n % 7 == 3 else f"Ä{n % 11}" for n in range(count)],
        [n - 400 for n in range(count)],
        [n / count for n in range(count)],
        [n % 2 == 0 for n in range(count)],
        [date(2020, 1, 1 + n % 28) for n in range(count)],
        [datetime(2020, 1, 1, n % 24, 30, 0, 123_000, UTC) for n in range(count)],
        [None] * count,
        [variant] * count,
    ]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def write(path: Path, table: pa.Table, name: str = "run-0") -> PartFile:
    return write_part(path, name, SCHEMA, table.to_batches(max_chunksize=300), set(PARTITIONED))


def action(file: PartFile, day: date = DAY, variant: str = VARIANT) -> AddAction:
    values: dict[str, str | None] = {"variant": variant, "day": day.isoformat()}
    return AddAction(file.path, file.size, values, 1, True, file.statistics)


def commit(table: Table, *files: PartFile, day: date = DAY, epoch: int = 1) -> int:
    actions = [action(file, day) for file in files]
    where = {"variant": VARIANT, "day": day.isoformat()}
    name = f"{VARIANT}/{day}"
    return lake.replace_by_files(table, actions, where, SCHEMA, {"run": "r"}, (name, epoch))


def made(path: Path) -> Table:
    return lake.ensure_table(path, SCHEMA, PARTITIONED)


def query(table: Table, sql: str) -> list[dict[str, Any]]:
    found = pa.table(QueryBuilder().register("t", table.delta).execute(sql).read_all())
    listed: list[dict[str, Any]] = found.to_pylist()
    return listed


def facts_of(table: Table) -> dict[str, Any]:
    (listed,) = pa.table(table.delta.get_add_actions(flatten=True)).to_pylist()
    return {
        name: value
        for name, value in listed.items()
        if name.startswith(("num_", "null_count", "min", "max", "partition"))
    }


def test_statistics_are_those_that_delta_itself_writes(tmp_path: Path) -> None:
    whole = rows()
    ours, theirs = made(tmp_path / "ours"), made(tmp_path / "theirs")
    commit(ours, write(tmp_path / "ours", whole))
    where = f"variant = '{VARIANT}' and {lake.on_day('day', DAY)}"
    lake.replace_partition(theirs, whole, where, {})
    found = facts_of(lake.open_table(tmp_path / "ours"))
    wanted = facts_of(lake.open_table(tmp_path / "theirs"))
    # No order is kept for true and false by both; nobody looks for rows by it.
    for facts in (found, wanted):
        for edge in ("min.late", "max.late"):
            facts.pop(edge, None)
    assert found == wanted
    assert found["num_records"] == 1000
    assert (found["min.flight"], found["max.flight"]) == (-400, 599)
    assert found["null_count.nothing"] == 1000


def test_delta_counts_and_finds_the_rows_of_files_it_did_not_write(tmp_path: Path) -> None:
    whole = rows()
    table = made(tmp_path / "t")
    files = [write(tmp_path / "t", whole.slice(0, 600)), write(tmp_path / "t", whole[600:], "b")]
    before = table.version()
    assert commit(table, *files) == before + 1
    table = lake.open_table(tmp_path / "t")
    assert table.version() == before + 1
    assert query(table, "select count(*) as n from t") == [{"n": 1000}]
    assert query(table, "select count(*) as n from t where flight >= 590") == [{"n": 10}]
    assert query(table, "select count(*) as n from t where flight > 599") == [{"n": 0}]
    read = lake.read(table, SCHEMA, f"variant = '{VARIANT}' and {lake.on_day('day', DAY)}")
    assert read.sort_by("flight") == whole
    assert table.history()[0]["run"] == "r"


def test_a_variant_with_a_slash_is_read_back_beside_others(tmp_path: Path) -> None:
    table = made(tmp_path / "t")
    plain = rows(5, variant="production")
    lake.replace_partition(table, plain, "variant = 'production'", {})
    commit(lake.open_table(tmp_path / "t"), write(tmp_path / "t", rows(3)))
    table = lake.open_table(tmp_path / "t")
    assert query(table, "select variant, count(*) as n from t group by 1 order by 1") == [
        {"variant": "production", "n": 5},
        {"variant": VARIANT, "n": 3},
    ]
    assert lake.read(table, SCHEMA, f"variant = '{VARIANT}'") == rows(3)


def test_a_partition_is_replaced_whole_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "t"
    commit(made(path), write(path, rows(10), "a"))
    commit(lake.open_table(path), write(path, rows(20, NEXT), "b"), day=NEXT)
    before = lake.open_table(path)
    commit(lake.open_table(path), write(path, rows(4), "c"), epoch=2)
    counts = "select day, count(*) as n from t group by 1 order by 1"
    after = lake.open_table(path)
    assert [row["n"] for row in query(after, counts)] == [4, 20]
    assert [row["n"] for row in query(before, counts)] == [10, 20]  # the version pinned before
    assert after.transaction_version(f"{VARIANT}/{DAY}") == 2


def test_of_two_stale_handles_that_add_the_same_new_partition_one_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t"
    made(path)
    first, second = lake.open_table(path), lake.open_table(path)
    files = [write(path, rows(10), name) for name in ("one", "two")]
    commit(first, files[0], epoch=1)
    with pytest.raises(TableRefusedError):
        commit(second, files[1], epoch=2)
    table = lake.open_table(path)
    assert query(table, "select count(*) as n from t") == [{"n": 10}]
    assert table.transaction_version(f"{VARIANT}/{DAY}") == 1


def test_a_file_lies_in_the_table_s_folder_and_in_no_commit(tmp_path: Path) -> None:
    path = tmp_path / "t"
    table = made(path)
    file = write(path, rows(10))
    assert file.path == f"{FOLDER}/run-0.parquet"
    assert (file.rows, file.size) == (10, os.path.getsize(path / file.path))
    kept = pq.read_schema(path / file.path)
    assert kept.names == [name for name in SCHEMA.names if name not in PARTITIONED]
    assert query(lake.open_table(path), "select count(*) as n from t") == [{"n": 0}]
    assert table.version() == lake.open_table(path).version()


def test_a_part_without_rows_says_that_it_has_none(tmp_path: Path) -> None:
    made(tmp_path / "t")
    file = write_part(tmp_path / "t", "none", SCHEMA, iter(()), set(PARTITIONED))
    assert (file.rows, json.loads(file.statistics)["numRecords"]) == (0, 0)


def test_what_raises_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows(10).to_batches()
        raise ValueError("the model is gone")

    made(tmp_path / "t")
    with pytest.raises(ValueError, match="the model is gone"):
        write_part(tmp_path / "t", "run-0", SCHEMA, batches(), set(PARTITIONED))
    assert list((tmp_path / "t" / FOLDER).iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    made(tmp_path / "t")
    (tmp_path / "t" / FOLDER).write_text("a file where the folder should be")
    with pytest.raises(LakeError, match=r"'t'.*its predictions cannot be written \(File exists\)"):
        write(tmp_path / "t", rows(10))


def test_to_remove_what_is_gone_is_fine(tmp_path: Path) -> None:
    made(tmp_path / "t")
    file = write(tmp_path / "t", rows(10))
    for _ in range(2):
        remove_part(tmp_path / "t", file.path)
    assert list((tmp_path / "t" / FOLDER).iterdir()) == []


def test_a_rival_in_another_partition_refuses_a_commit_on_an_older_handle_too(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t"
    made(path)
    first, second = lake.open_table(path), lake.open_table(path)
    files = [write(path, rows(10, day), f"{day}") for day in (DAY, NEXT)]
    commit(first, files[0])
    with pytest.raises(TableRefusedError):
        commit(second, files[1], day=NEXT)
    assert query(lake.open_table(path), "select count(*) as n from t") == [{"n": 10}]
    commit(lake.open_table(path), files[1], day=NEXT)
    assert query(lake.open_table(path), "select count(*) as n from t") == [{"n": 20}]
