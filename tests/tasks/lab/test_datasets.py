"""Dataset folders: what they say, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pilotline.registry.form.errors import NameRefusedError
from pilotline.tasks.errors import LabError, UnknownFolderError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.datasets import Dataset, Source, list_datasets, load_dataset


@pytest.fixture
def lab(blank: Home, tmp_path: Path) -> Path:
    """Return a lab with the example's datasets, for a test to spoil."""
    shutil.copytree(blank.lab / "datasets", tmp_path / "lab" / "datasets")
    return tmp_path / "lab"


def set_source(lab: Path, source: str) -> None:
    """Write another [source] into the flights' file."""
    file = lab / "datasets" / "flights" / "dataset.toml"
    before, _, rest = file.read_text().partition("[source]")
    file.write_text(f"{before}[source]\n{source}\n[schema]{rest.partition('[schema]')[2]}")


def test_the_example_is_read_as_declared(lab: Path) -> None:
    flights = load_dataset(lab, "flights")
    assert flights.key == ("flight_date", "carrier", "flight", "origin")
    assert flights.date == "flight_date"
    assert flights.max_share == 0.05
    assert flights.schema.names[:4] == ["flight_date", "carrier", "flight", "origin"]
    assert flights.schema.field("dep_delay") == pa.field("dep_delay", pa.float64(), nullable=True)
    assert flights.schema.field("hour") == pa.field("hour", pa.int64(), nullable=False)
    assert list_datasets(lab) == ["arrivals", "flights"]


def test_a_source_of_files_has_a_path(lab: Path) -> None:
    set_source(lab, 'kind = "files"\npath = "s3://bucket/{date}/*"\nformat = "csv"\ntimeout_s = 5')
    path = "s3://bucket/{date}/*"
    assert load_dataset(lab, "flights").source == Source(
        "files", path=path, format="csv", timeout_s=5.0
    )


def test_a_source_may_take_a_day_ten_minutes(lab: Path) -> None:
    set_source(lab, 'kind = "postgresql"\nurl = "env:DB"\nquery = "select :date"')
    assert load_dataset(lab, "flights").source == Source(
        "postgresql", "env:DB", "select :date", timeout_s=600.0
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            'kind = "files"\npath = "landing/*.csv"',
            r"the path has no \{date\}\. Name a day",
        ),
        ('kind = "files"\npath = "{date}"\nformat = "xls"', r"format 'xls'\. Known: parquet, csv"),
        (
            'kind = "postgresql"\nurl = "postgresql://u:canary@h/d"\nquery = "select :date"',
            r"the url holds a password\. Write",
        ),
        (
            'kind = "files"\npath = "s3://k:canary@bucket/{date}"',
            r"the url holds a password\. Write",
        ),
    ],
)
def test_sources_that_cannot_be_are_refused(lab: Path, source: str, message: str) -> None:
    set_source(lab, source)
    with pytest.raises(LabError, match=rf"dataset\.toml \[source\]: {message}") as caught:
        load_dataset(lab, "flights")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[source]", "[sources]", r"unknown key 'sources'\. Known: dataset, source"),
        ('owner = "', 'boss = "', r"\[dataset\]: unknown key 'boss'"),
        ('name = "flights"', 'name = "trains"', r"name is 'trains'\. Expected 'flights'\."),
        (
            'kind = "sqlite"',
            'kind = "oracle"',
            r"kind 'oracle'\. Known: sqlite, postgresql, files",
        ),
        ('kind = "sqlite"', 'kind = "sqlite"\ntimeout_s = 0', r"timeout_s is 0\. Expected seconds"),
        (
            'kind = "sqlite"',
            'kind = "sqlite"\npath = "x"',
            r"unknown key 'path'\. Known: kind",
        ),
        (
            'kind = "sqlite"',
            'kind = "files"\npath = "{date}"',
            r"unknown key 'url'\. Known: kind",
        ),
        ("= :date", "= '2013-01-01'", r"the query has no parameter :date\. Ask for one day"),
        ('hour = "int64"', 'hour = "int8"', r"column 'hour' is 'int8'\. Types: string, int64"),
        ('hour = "int64"', "hour = 7", r"column 'hour' is 7\. Types:"),
        ('hour = "int64"', 'hour = ["int64"]', r"column 'hour' is \['int64'\]\. Types:"),
        (
            'hour = "int64"',
            'hour = { type = "int64", nullable = "no" }',
            r"column 'hour' is \{'type': 'int64', 'nullable': 'no'\}\.",
        ),
        (
            'hour = "int64"',
            'hour = { type = "int64", unit = "h" }',
            r"column 'hour' is \{'type': 'int64', 'unit': 'h'\}\.",
        ),
        ('key = ["flight_date", "carrier", "flight", "origin"]', "key = []", r"the key is empty\."),
        ('key = ["flight_date", ', 'key = ["gate", ', r"column 'gate' is not in \[schema\]\."),
        ('key = ["flight_date", ', 'key = ["tailnum", ', r"column 'tailnum' is nullable\. Keys"),
        ('date = "flight_date"', 'date = "origin"', r"date column 'origin' is not of type date\."),
        ("max_share = 0.05", "max_share = 5", r"max_share is 5\.0\. Expected a share, 0 to 1\."),
        ("max_share = 0.05", "max_share = nan", r"max_share is nan\. Expected a share"),
        ("max_share = 0.05", 'max_share = "5%"', r"'max_share' is '5%', expected float"),
        ("[quarantine]\nmax_share = 0.05", "", r"key 'quarantine' is missing\."),
    ],
)
def test_what_a_dataset_cannot_mean_is_refused(lab: Path, old: str, new: str, message: str) -> None:
    path = lab / "datasets" / "flights" / "dataset.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LabError, match=rf"^lab/datasets/flights/dataset\.toml.*{message}"):
        load_dataset(lab, "flights")


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (None, r"the file is missing\. Write a Great Expectations suite\."),
        ("{", r"not JSON: .*\. Mend the file\."),
        ("{}", r"holds no expectations\. Write at least one\."),
        ('{"expectations": []}', r"holds no expectations"),
        ("[]", r"holds no expectations"),
    ],
)
def test_a_suite_that_checks_nothing_is_refused(lab: Path, suite: str | None, message: str) -> None:
    path = lab / "datasets" / "flights" / "expectations.json"
    path.unlink()
    if suite is not None:
        path.write_text(suite)
    with pytest.raises(LabError, match=rf"^lab/datasets/flights/expectations\.json: {message}"):
        load_dataset(lab, "flights")


def test_a_missing_dataset_file_is_named(lab: Path) -> None:
    (lab / "datasets" / "flights" / "dataset.toml").unlink()
    with pytest.raises(LabError, match=r"^lab/datasets/flights/dataset\.toml: the file is missing"):
        load_dataset(lab, "flights")


def test_an_unknown_dataset_is_named_beside_the_known_ones(lab: Path) -> None:
    with pytest.raises(
        UnknownFolderError,
        match=r"^No dataset 'fligths' in the lab; known: arrivals, flights\. Check the spelling, "
        r"or lay out lab/datasets/fligths/\.$",
    ):
        load_dataset(lab, "fligths")


def test_a_name_cannot_lead_out_of_the_lab(lab: Path) -> None:
    with pytest.raises(NameRefusedError):
        load_dataset(lab, "../datasets/flights")


def test_the_rules_digest_changes_with_the_checks_and_not_with_the_words(
    flights: Dataset,
) -> None:
    suite = json.loads(json.dumps(flights.suite))
    suite["expectations"][0]["kwargs"]["max_value"] = 3000
    assert replace(flights, owner="others").rules_digest() == flights.rules_digest()
    assert replace(flights, max_share=0.1).rules_digest() != flights.rules_digest()
    assert replace(flights, suite=suite).rules_digest() != flights.rules_digest()
