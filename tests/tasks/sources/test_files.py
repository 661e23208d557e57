"""Files of a day as a source: which are read, and what shows that one is damaged."""

import hashlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Dataset, Source
from pilotline.tasks.sources.contract import nullable
from pilotline.tasks.sources.files import FileSource
from tests.support.tasks.facts import DAY, facts_from, facts_table


def facts_in(path: str, written: str = "", timeout_s: float = 60) -> Dataset:
    """Return the facts' dataset over files."""
    return facts_from(Source("files", path=path, format=written, timeout_s=timeout_s))


def write(path: Path, table: pa.Table | None = None) -> Path:
    """Write the facts, or a table, as the format of the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = facts_table() if table is None else table
    if path.suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    return path


@pytest.mark.parametrize("extension", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("{home}/landing/{date}", "landing/2013-01-01/facts"),
        ("{home}/landing/{date}/", "landing/2013-01-01/facts"),
        ("{home}/landing/{date}/*", "landing/2013-01-01/facts"),
        ("{home}/landing/day={date}/part-*.*", "landing/day=2013-01-01/part-0"),
        ("{home}/landing/*/facts-{date}.*", "landing/eu/facts-2013-01-01"),
    ],
)
def test_a_day_s_files_are_found(tmp_path: Path, path: str, file: str, extension: str) -> None:
    home = tmp_path / "home [1]"  # what would be a pattern elsewhere
    write(home / f"{file}.{extension}")
    rows = FileSource(facts_in(path), home).read(DAY)
    assert rows == facts_table().cast(nullable(facts_in(path)))


def test_all_files_of_a_day_together_are_the_day(tmp_path: Path) -> None:
    whole = facts_table()
    for place in range(3):
        write(tmp_path / f"2013-01-01/part-{place}.parquet", whole.slice(place, 1))
    write(tmp_path / "2013-01-02/part-0.parquet")
    write(tmp_path / "2013-01-01/deeper/part-0.parquet")
    for left in ("_SUCCESS", ".part-0.parquet.crc", "_metadata"):
        (tmp_path / "2013-01-01" / left).write_text("left by a writer")
    rows = FileSource(facts_in("{home}/{date}"), tmp_path).read(DAY)
    assert rows.combine_chunks() == whole.cast(rows.schema).combine_chunks()


def test_a_day_without_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "2013-01-01/facts.csv")
    with pytest.raises(
        PartitionRefusedError, match=r"2013-01-02 of .*there is no file '.*2013-01-02/\*'\. Check"
    ):
        FileSource(facts_in("{home}/{date}"), tmp_path).read(date(2013, 1, 2))


@pytest.mark.parametrize("others", [["b.csv"], ["b.csv", "c.txt"], ["b"]])
def test_a_mixture_of_formats_is_refused(tmp_path: Path, others: list[str]) -> None:
    write(tmp_path / "2013-01-01/a.parquet")
    for name in others:
        (tmp_path / "2013-01-01" / name).write_text("day\n")
    with pytest.raises(SourceError, match=r"Expected either \.parquet or \.csv: narrow the path"):
        FileSource(facts_in("{home}/{date}"), tmp_path).read(DAY)


def test_a_declared_format_needs_no_extension(tmp_path: Path) -> None:
    write(tmp_path / "2013-01-01/a.csv").rename(tmp_path / "2013-01-01/a.txt")
    assert FileSource(facts_in("{home}/{date}", "csv"), tmp_path).read(DAY).num_rows == 3


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_a_checksum_beside_a_file_is_held_against_it(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"2013-01-01/facts.{extension}")
    source = FileSource(facts_in("{home}/{date}"), tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_name(path.name + ".sha256")
    beside.write_text(f"{digest}  {path.name}\n")
    assert source.read(DAY).num_rows == 3
    for place in range(0, path.stat().st_size, 7):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        broken = tmp_path / "broken" / "2013-01-01"
        broken.mkdir(parents=True, exist_ok=True)
        (broken / path.name).write_bytes(data)
        (broken / beside.name).write_text(digest)
        with pytest.raises(SourceError, match=r"is damaged: its SHA-256 is .*, and \.sha256 bes"):
            FileSource(facts_in("{home}/broken/{date}"), tmp_path).read(DAY)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "2013-01-01/facts.csv")
    batches = FileSource(facts_in("{home}/{date}"), tmp_path).stream(DAY)
    next(batches)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(SourceError, match=r"facts\.csv' changed while it was read\. Write files"):
        list(batches)


def test_another_type_than_yesterday_refuses_the_day(tmp_path: Path) -> None:
    table = facts_table()
    write(tmp_path / "2013-01-01/facts.parquet")
    floats = table.set_column(2, "count", table.column("count").cast(pa.float64(), safe=False))
    write(tmp_path / "2013-01-02/facts.parquet", floats)
    source = FileSource(replace(facts_in("{home}/{date}")), tmp_path)
    assert source.read(DAY).num_rows == 3
    with pytest.raises(PartitionRefusedError, match=r"(?s)1 of another type.*\n  count .*double$"):
        source.read(date(2013, 1, 2))
