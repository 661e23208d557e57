"""Corrected rows in a file: strict types, and errors that name the place."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from pilotline.tasks.errors import CorrectionRefusedError
from pilotline.tasks.ingest.corrections import Correction, read_corrections
from pilotline.tasks.lab.datasets import Column, Dataset, Source

DAY = date(2013, 1, 1)
COLUMNS = {
    "day": Column("date"),
    "name": Column("string"),
    "count": Column("int64"),
    "share": Column("float64", nullable=True),
    "open": Column("bool"),
    "at": Column("timestamp"),
}
SOURCE = Source("sqlite", "sqlite:///x.db", "select :date")
DATASET = Dataset("facts", "o", "", "day", ("day", "name"), SOURCE, COLUMNS, 0.5, {})
ROW: dict[str, Any] = {
    "day": "2013-01-01",
    "name": "a",
    "count": 3,
    "share": 0.5,
    "open": True,
    "at": "2013-01-01 05:00:00+00:00",
}
READ = {
    "day": DAY,
    "name": "a",
    "count": 3,
    "share": 0.5,
    "open": True,
    "at": datetime(2013, 1, 1, 5, tzinfo=UTC),
}
HEADER = "partition,row_number,day,name,count,share,open,at"
LINE = "2013-01-01,7,2013-01-01,a,3,0.5,true,2013-01-01T05:00:00Z"


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def entries(**changes: Any) -> str:
    return json.dumps([{"date": "2013-01-01", "row_number": 7, "row": {**ROW, **changes}}])


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    from_json = read_corrections(write(tmp_path, "r.json", entries()), DATASET, None)
    from_csv = read_corrections(write(tmp_path, "r.csv", f"{HEADER}\n{LINE}\n"), DATASET, None)
    assert from_json == from_csv == [Correction(DAY, 7, READ)]


def test_an_empty_cell_is_null(tmp_path: Path) -> None:
    path = write(tmp_path, "r.csv", f"{HEADER}\n{LINE.replace('0.5', '')}\n")
    (found,) = read_corrections(path, DATASET, None)
    assert found.row["share"] is None


def test_the_partition_may_be_given_beside_the_file(tmp_path: Path) -> None:
    text = f"{HEADER}\n{LINE}\n".replace("partition,", "").replace("2013-01-01,7", "7")
    path = write(tmp_path, "r.csv", text)
    assert read_corrections(path, DATASET, DAY) == [Correction(DAY, 7, READ)]
    with pytest.raises(CorrectionRefusedError, match=r"r\.csv, line 2: it does not say of which"):
        read_corrections(path, DATASET, None)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": 3.0}, "count is 3.0, expected int64"),
        ({"count": "3"}, "count is '3', expected int64"),
        ({"count": True}, "count is True, expected int64"),
        ({"count": 2**63}, "count is 9223372036854775808, expected int64"),
        ({"share": float("nan")}, "share is nan, expected float64"),
        ({"share": "inf"}, "share is 'inf', expected float64"),
        ({"open": 1}, "open is 1, expected bool"),
        ({"name": 5}, "name is 5, expected string"),
        ({"day": "1.1.2013"}, r"day is '1\.1\.2013', expected date"),
        ({"at": "2013-01-01 05:00:00"}, "at is '2013-01-01 05:00:00', expected timestamp"),
        ({"at": "0001-01-01T00:00:00+23:59"}, r"at is '0001-.*, expected timestamp"),
        ({"at": "9999-12-31T23:59:59-23:59"}, r"at is '9999-.*, expected timestamp"),
        ({"share": 10**400}, "share is 10000+, expected float64"),
        ({"name": "\ud800"}, r"name is '\\ud800', expected string"),
        ({"extra": 1}, r"missing columns none, not declared \['extra'\]"),
    ],
)
def test_a_value_of_another_type_is_refused(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path, "r.json", entries(**changes))
    with pytest.raises(CorrectionRefusedError, match=rf"in r\.json, entry 1: {problem}\. "):
        read_corrections(path, DATASET, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"{HEADER}\n{LINE},more\n", "line 2: 9 cells, the header has 8"),
        (f'{HEADER}\n{LINE[:-1]}"\n', "line 2: at is"),
        (f'{HEADER}\n2013-01-01,7,2013-01-01,"a\n', "line 2: unexpected end of data"),
        (f"{HEADER}\n{LINE.replace(',3,', ',=1+2,')}\n", "line 2: count is '=1\\+2', expected int"),
        (f"{HEADER}\n{LINE.replace(',a,', ',=1+1,')}\n", "line 2: name is '=1\\+1', expected str"),
        (f"{HEADER}\n{LINE.replace('0.5', '1_0')}\n", "line 2: share is '1_0', expected float64"),
        (f"{HEADER}\n{LINE.replace(',3,', ',٣,')}\n", "line 2: count is '.', expected int64"),
        (f"{HEADER}\n{LINE.replace(',7,', ',' + '7' * 5000 + ',')}\n", "line 2: row_number is '7+"),
        (f"{HEADER}\n{LINE}\n{LINE}\n", "row 7 of 2013-01-01 is there twice"),
        (f"{HEADER}\n", "it holds no rows"),
        ("", "no column row_number"),
    ],
)
def test_a_broken_csv_names_the_line(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, "r.csv", text)
    with pytest.raises(CorrectionRefusedError, match=problem):
        read_corrections(path, DATASET, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 200_000, "its lists are too deep"),
        ("{}", "it is no list"),
        ("[1]", "entry 1: it has no row_number"),
    ],
)
def test_a_broken_json_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(CorrectionRefusedError, match=problem):
        read_corrections(write(tmp_path, "r.json", text), DATASET, None)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    for name in ("r.csv", "r.json"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CorrectionRefusedError, match="byte 0 is no UTF-8"):
            read_corrections(tmp_path / name, DATASET, None)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "r.xlsx", "x")
    with pytest.raises(CorrectionRefusedError, match=r"^Corrections in r\.xlsx: it is neither"):
        read_corrections(path, replace(DATASET, max_share=0.1), None)
