"""Dataset folders of the lab: what a dataset is, where it comes from, what its rows are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from pilotline.registry.form import check_name, digest_json
from pilotline.tasks.errors import LabError, UnknownFolderError
from pilotline.tasks.lab.addresses import check_url
from pilotline.tasks.lab.toml_table import Table, read_toml

# Declared type -> Arrow type. Others are left out on purpose: Delta cannot keep uint8 >= 128,
# time64 or float16 (deltalake 1.6).
TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
SOURCES = ("sqlite", "postgresql", "files")
FORMATS = ("parquet", "csv")
TIMEOUT_S = 600.0  # of a day's reading; a year of flights takes a second


@dataclass(frozen=True)
class Column:
    """A declared column."""

    type: str
    nullable: bool = False


@dataclass(frozen=True)
class Source:
    """Where a dataset's rows come from."""

    kind: str
    url: str = ""  # of a database; may be "env:NAME" or "block:secret/NAME"; "{home}" is the home
    query: str = ""  # of a database, with the parameter :date
    path: str = ""  # of files, with "{date}": a folder or a pattern, local or under s3://
    format: str = ""  # of files; empty: by their extension
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True)
class Dataset:
    """What the lab says of a dataset."""

    name: str
    owner: str
    description: str
    date: str  # the partition column
    key: tuple[str, ...]  # unique together
    source: Source
    columns: Mapping[str, Column]
    max_share: float  # of broken rows, in [0, 1]; above it a partition is refused whole
    suite: Mapping[str, Any]  # a Great Expectations suite
    zone: str = "UTC"  # whose days its dates are

    @property
    def schema(self) -> pa.Schema:
        """The declared columns as an Arrow schema, in the declared order."""
        return arrow_schema(self.columns)

    def rules_digest(self) -> str:
        """Return the SHA-256 of everything that decides what becomes of a source row."""
        return digest_json(
            {
                "columns": {name: vars(column) for name, column in self.columns.items()},
                "key": self.key,
                "date": self.date,
                "max_share": self.max_share,
                "suite": json.dumps(self.suite, sort_keys=True),
            }
        )


def arrow_schema(columns: Mapping[str, Column]) -> pa.Schema:
    """Return the Arrow schema of declared columns."""
    return pa.schema(
        [pa.field(name, TYPES[column.type], column.nullable) for name, column in columns.items()]
    )


def list_datasets(lab: Path) -> list[str]:
    """Return the names of the lab's dataset folders."""
    return sorted(path.parent.name for path in lab.glob("datasets/*/dataset.toml"))


def load_dataset(lab: Path, name: str) -> Dataset:
    """Return what ``lab/datasets/<name>/`` says.

    Raises:
        NameRefusedError: the name is outside the allowed form.
        UnknownFolderError: there is no such folder.
        LabError: a file is missing or wrong.
    """
    check_name(name)
    folder = lab / "datasets" / name
    if not folder.is_dir():
        raise UnknownFolderError("dataset", name, list_datasets(lab))
    top = read_toml(folder / "dataset.toml", f"lab/datasets/{name}/dataset.toml")
    top.only("dataset", "source", "schema", "quarantine")
    about = top.table("dataset").only("name", "owner", "description", "date", "key", "zone")
    if about.get("name", str) != name:
        raise LabError(about.where, f"name is {about.get('name', str)!r}", f"Expected {name!r}.")
    columns = _columns(top.table("schema"))
    dataset = Dataset(
        name=name,
        owner=about.get("owner", str),
        description=about.get("description", str),
        date=about.get("date", str),
        key=about.names("key"),
        source=_source(top.table("source")),
        columns=columns,
        max_share=top.table("quarantine").only("max_share").get("max_share", float),
        suite=_load_suite(folder / "expectations.json", f"lab/datasets/{name}/expectations.json"),
        zone=about.get("zone", str, "UTC"),
    )
    _check(about.where, dataset)
    return dataset


def _source(table: Table) -> Source:
    kind = table.get("kind", str)
    if kind not in SOURCES:
        raise LabError(table.where, f"kind {kind!r}", f"Known: {', '.join(SOURCES)}.")
    timeout_s = table.get("timeout_s", float, TIMEOUT_S)
    if not 0 < timeout_s < float("inf"):
        raise LabError(table.where, f"timeout_s is {timeout_s:g}", "Expected seconds above 0.")
    if kind == "files":
        return _files(table, timeout_s)
    table.only("kind", "url", "query", "timeout_s")
    source = Source(kind, table.get("url", str), table.get("query", str), timeout_s=timeout_s)
    check_url(table.where, source.url)
    if ":date" not in source.query:
        raise LabError(
            table.where, "the query has no parameter :date", "Ask for one day: where d = :date."
        )
    return source


def _files(table: Table, timeout_s: float) -> Source:
    table.only("kind", "path", "format", "timeout_s")
    path, written = table.get("path", str), table.get("format", str, "")
    check_url(table.where, path)
    if "{date}" not in path:
        raise LabError(
            table.where, "the path has no {date}", 'Name a day\'s files: "folder/{date}/*.parquet".'
        )
    if written not in ("", *FORMATS):
        raise LabError(table.where, f"format {written!r}", f"Known: {', '.join(FORMATS)}.")
    return Source("files", path=path, format=written, timeout_s=timeout_s)


def _columns(table: Table) -> dict[str, Column]:
    columns = {}
    for name, value in table.values.items():
        facts = value if isinstance(value, dict) else {"type": value}
        kind, nullable = facts.get("type"), facts.get("nullable", False)
        known = set(facts) <= {"type", "nullable"} and isinstance(nullable, bool)
        if not known or not isinstance(kind, str) or kind not in TYPES:
            raise LabError(
                table.where, f"column {name!r} is {value!r}", f"Types: {', '.join(TYPES)}."
            )
        columns[name] = Column(kind, nullable)
    return columns


def _load_suite(path: Path, where: str) -> Mapping[str, Any]:
    try:
        suite = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as err:
        raise LabError(where, "the file is missing", "Write a Great Expectations suite.") from err
    except ValueError as err:
        raise LabError(where, f"not JSON: {err}", "Mend the file.") from err
    if not isinstance(suite, dict) or not suite.get("expectations"):
        # An empty suite passes every row (Great Expectations 1.24): that would check nothing.
        raise LabError(where, "holds no expectations", "Write at least one.")
    return suite


def _check(where: str, dataset: Dataset) -> None:
    if not dataset.key:
        raise LabError(where, "the key is empty", "Name the columns that are unique together.")
    for name in (dataset.date, *dataset.key):
        column = dataset.columns.get(name)
        if column is None:
            raise LabError(where, f"column {name!r} is not in [schema]", "Declare its type.")
        if column.nullable:
            raise LabError(where, f"column {name!r} is nullable", "Keys and dates must not be.")
    if dataset.columns[dataset.date].type != "date":
        raise LabError(
            where, f"date column {dataset.date!r} is not of type date", 'Declare it "date".'
        )
    try:
        ZoneInfo(dataset.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise LabError(
            where, f"zone {dataset.zone!r} is unknown", 'Write it as "America/New_York".'
        ) from err
    if not 0 <= dataset.max_share <= 1:
        raise LabError(where, f"max_share is {dataset.max_share}", "Expected a share, 0 to 1.")
