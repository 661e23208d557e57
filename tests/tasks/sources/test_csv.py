"""CSV files: parsed strictly, and broken ones refused with the place."""

from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.tasks.errors import PartitionRefusedError
from pilotline.tasks.lab.datasets import Column, Source
from pilotline.tasks.sources.contract import collect, nullable
from pilotline.tasks.sources.csv import read_csv
from tests.support.tasks.facts import DAY, facts_from, facts_table, with_columns

FACTS = facts_from(Source("files"))
HEADER = "day,name,count,share,open,at\n"
LINE = "2013-01-01,a,7,0.5,true,2013-01-01T00:00:00Z\n"


def read(tmp_path: Path, text: str | bytes, one: str = "") -> pa.Table:
    """Return the rows of a file that holds ``text``; of one declared column only, if named."""
    (tmp_path / "f.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    dataset = with_columns(FACTS, {one: FACTS.columns[one]}) if one else FACTS
    return collect(dataset, read_csv(dataset, DAY, "f.csv", tmp_path / "f.csv"))


def test_every_declared_type_is_parsed(tmp_path: Path) -> None:
    lines = [
        "2013-01-01,a,7,0.1,true,2013-01-01 00:00:00+00",
        "2013-01-01,,-8,,FALSE,2013-01-01T01:00:00+01:00",
        '2013-01-01,"ü, ""b""",9007199254740993,1e300,True,2012-12-31T19:00:00.000000-0500',
    ]
    rows = read(tmp_path, HEADER + "\n".join(lines) + "\n")
    assert rows == facts_table().cast(nullable(FACTS))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEADER + LINE,
        (HEADER + LINE).replace("\n", "\r\n"),
        HEADER + LINE + "\n\n",
        "open,at,day,name,count,share\ntrue,2013-01-01T00:00:00Z,2013-01-01,a,7,0.5\n",
        HEADER.replace("day", '"day"') + LINE.replace("a", '"a"', 1),
    ],
)
def test_other_ways_to_write_the_same_file_are_the_same(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == read(tmp_path, HEADER + LINE)


def test_only_an_empty_cell_without_quotes_is_null(tmp_path: Path) -> None:
    rows = read(tmp_path, 'name\n""\nNA\nnull\nNaN\n', "name")
    assert rows.column("name").to_pylist() == ["", "NA", "null", "NaN"]
    rows = read(tmp_path, HEADER + LINE.replace(",a,", ",,"))
    assert rows.column("name").to_pylist() == [None]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("count", "7.0"),
        ("count", "1e3"),
        ("count", "9223372036854775808"),
        ("count", "NA"),
        ("count", "=SUM(A1:A3)"),
        ("share", "0,5".replace(",", ";")),
        ("share", "n/a"),
        ("open", "1"),
        ("open", "yes"),
        ("day", "01/02/2013"),
        ("day", "2013-02-30"),
        ("at", "2013-01-01T00:00:00"),
        ("at", "2013-01-01T00:00:00.1234567Z"),
    ],
)
def test_a_cell_of_another_type_is_named_with_its_line(
    tmp_path: Path, name: str, cell: str
) -> None:
    good = dict(zip(HEADER.strip().split(","), LINE.strip().split(","), strict=True))
    with pytest.raises(PartitionRefusedError) as refused:
        read(tmp_path, f"{name}\n{good[name]}\n{cell}\n", name)
    said = str(refused.value)
    assert f"column {name!r}: expected {FACTS.columns[name].type}, found" in said
    assert cell in said
    assert "in line 3 of 'f.csv'" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"'f\.csv' is empty: not even its header is there"),
        (b"\n", r"'f\.csv' is empty"),
        ((HEADER + LINE)[:-1].encode(), r"'f\.csv' may be cut: its last line has no end\. Mend"),
        ((HEADER + LINE + "2013-01-01,b\n").encode(), r"line 3 of 'f\.csv' is broken: Expected 6"),
        ((HEADER + LINE + "," + LINE).encode(), r"line 3 of .* Expected 6 columns, got 7\. Mend"),
        (
            (HEADER + LINE.replace("a", '"a', 1) + LINE).encode(),
            "line 2 of .* is broken|a line break",
        ),
        ((HEADER + LINE).encode("utf-16"), r"has no header in UTF-8"),
        ((HEADER + LINE).replace(",a,", ",é,").encode("latin-1"), "'name': .* invalid UTF8 data"),
        ((HEADER + LINE).replace(",", ";").encode(), "6 missing, 1 not declared"),
        ((HEADER.replace("share", "count") + LINE).encode(), "1 missing, 1 twice"),
        ((HEADER + LINE).replace(",7,", ",7\x00,").encode(), "expected int64, found"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(PartitionRefusedError, match=message):
        read(tmp_path, text)


def test_lines_swallowed_by_an_open_quote_are_not_lost_in_silence(tmp_path: Path) -> None:
    text = 'count,name\n1,"x\n2,y\n3,z"\n4,w\n'
    dataset = with_columns(FACTS, {"count": Column("int64"), "name": Column("string")})
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(PartitionRefusedError, match=r"column 'name' holds a line break: 'x\\n2,y"):
        collect(dataset, read_csv(dataset, DAY, "f.csv", tmp_path / "f.csv"))


@pytest.mark.parametrize(
    "cell", ["=1+1", "=cmd|' /C calc'!A0", "+SUM(A1)", "-cmd|x", "@SUM(1+1)*cmd|x"]
)
def test_a_formula_in_a_text_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(PartitionRefusedError, match=r"'f\.csv', column 'name' holds a formula: "):
        read(tmp_path, f"name\na\n{cell}\n", "name")


@pytest.mark.parametrize("cell", ["+49 30 1234", "-", "@home", "-5", "a=b", "- (none)", "+"])
def test_a_text_that_only_begins_like_a_formula_is_a_text(tmp_path: Path, cell: str) -> None:
    assert read(tmp_path, f"name\n{cell}\n", "name").column("name").to_pylist() == [cell]


def test_a_cell_broken_late_in_a_large_file_gives_no_rows_at_all(tmp_path: Path) -> None:
    text = HEADER + LINE * 300_000 + LINE.replace(",7,", ",x,")
    with pytest.raises(PartitionRefusedError, match=r"found .*'x' in line 300002 of 'f\.csv'"):
        read(tmp_path, text)
