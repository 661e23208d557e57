"""Corrected rows as a person gives them: CSV, or JSON as ``pilotline quarantine`` prints it."""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pilotline.tasks.errors import CorrectionRefusedError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources import FORMULA

PARTITION, NUMBER = "partition", "row_number"  # columns of a CSV beside the declared ones
INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
ROW_NUMBER = re.compile(r"[0-9]{1,18}")
RANGE = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Correction:
    """What one quarantined row should have been."""

    date: date  # of the partition
    row_number: int  # as the quarantine shows it
    row: Mapping[str, Any]  # every declared column, in its Python type


def read_corrections(path: Path, dataset: Dataset, day: date | None) -> list[Correction]:
    """Return the corrected rows in a file; whether they are right is not judged here.

    A JSON file is a list of objects with ``date``, ``row_number`` and ``row``. A CSV file has a
    header with ``row_number``, the declared columns and, unless ``day`` is given, ``partition``;
    an empty cell is null.

    Args:
        path: a file whose name ends in .json or .csv.
        dataset: what the rows are of.
        day: the partition of every row, where they do not say.

    Raises:
        CorrectionRefusedError: the file cannot be read, or a value is not of the declared type.
    """
    readers = {".json": _read_json, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise CorrectionRefusedError(path.name, "it is neither", "Give a .json or a .csv file.")
    try:
        found = list(readers[path.suffix.lower()](path, dataset, day))
    except RecursionError as err:
        raise CorrectionRefusedError(path.name, "its lists are too deep", _LIKE) from err
    except OSError as err:
        raise CorrectionRefusedError(path.name, str(err.strerror), "Check its path.") from err
    except UnicodeDecodeError as err:
        raise CorrectionRefusedError(
            path.name, f"byte {err.start} is no UTF-8", "Save it as UTF-8."
        ) from err
    _require_once(path.name, found)
    if not found:
        raise CorrectionRefusedError(path.name, "it holds no rows", "Put the corrected rows in.")
    return found


def parse_row(where: str, dataset: Dataset, values: Any) -> dict[str, Any]:
    """Return a row out of JSON in the declared types; nulls are allowed everywhere.

    Raises:
        CorrectionRefusedError: columns or types are not the declared ones.
    """
    return _convert(where, dataset, values, _FROM_JSON)


def _read_json(path: Path, dataset: Dataset, day: date | None) -> Iterator[Correction]:
    try:
        entries = json.loads(path.read_text("utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except ValueError as err:
        raise CorrectionRefusedError(path.name, f"not JSON: {err}", "Mend the file.") from err
    if not isinstance(entries, list):
        raise CorrectionRefusedError(path.name, "it is no list", _LIKE)
    for place, entry in enumerate(entries, 1):
        where = f"{path.name}, entry {place}"
        number = entry.get(NUMBER) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or type(number) is not int:
            raise CorrectionRefusedError(where, f"it has no {NUMBER}", _LIKE)
        own = _day_of(where, entry.get("date"), day)
        yield Correction(own, number, parse_row(where, dataset, entry.get("row")))


def _read_csv(path: Path, dataset: Dataset, day: date | None) -> Iterator[Correction]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if NUMBER not in header or len(set(header)) < len(header):
                raise CorrectionRefusedError(path.name, f"no column {NUMBER}, or one twice", _LIKE)
            for cells in reader:
                where = f"{path.name}, line {reader.line_num}"
                if len(cells) != len(header):
                    problem = f"{len(cells)} cells, the header has {len(header)}"
                    raise CorrectionRefusedError(where, problem, "Mend the line.")
                values = dict(zip(header, (cell or None for cell in cells), strict=True))
                number, own = values.pop(NUMBER), values.pop(PARTITION, None)
                if number is None or not ROW_NUMBER.fullmatch(number):
                    raise CorrectionRefusedError(where, f"{NUMBER} is {number!r:.80}", _LIKE)
                row = _convert(where, dataset, values, _FROM_CSV)
                yield Correction(_day_of(where, own, day), int(number), row)
        except csv.Error as err:
            where = f"{path.name}, line {reader.line_num}"
            raise CorrectionRefusedError(where, str(err), "Mend the line.") from err


def _convert(
    where: str, dataset: Dataset, values: Any, parsers: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    found = values if isinstance(values, dict) else {}
    missing = [name for name in dataset.columns if name not in found]
    extra = [name for name in found if name not in dataset.columns]
    if missing or extra:
        raise CorrectionRefusedError(
            where,
            f"missing columns {missing or 'none'}, not declared {extra or 'none'}",
            "Give every declared column; an empty cell or null where there is no value.",
        )
    row = {}
    for name, column in dataset.columns.items():
        value = found[name]
        try:
            row[name] = None if value is None else parsers[column.type](value)
        except (ValueError, TypeError, OverflowError) as err:
            shown = repr(value)[:80]
            raise CorrectionRefusedError(
                where, f"{name} is {shown}, expected {column.type}", "Correct the value."
            ) from err
    return row


def _day_of(where: str, said: Any, day: date | None) -> date:
    try:
        own = date.fromisoformat(said) if said is not None else day
    except (ValueError, TypeError) as err:
        raise CorrectionRefusedError(where, f"date {said!r} is no date", _LIKE) from err
    if own is None:
        raise CorrectionRefusedError(where, "it does not say of which partition", "Give --date.")
    if day is not None and own != day:
        raise CorrectionRefusedError(where, f"it is of {own}, not of {day}", "Leave it out.")
    return own


def _require_once(name: str, found: Sequence[Correction]) -> None:
    seen = set()
    for correction in found:
        place = (correction.date, correction.row_number)
        if place in seen:
            raise CorrectionRefusedError(
                name, f"row {place[1]} of {place[0]} is there twice", "Keep one of them."
            )
        seen.add(place)


def _integer(value: Any) -> int:
    if type(value) is not int or value not in RANGE:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError
        return value

    return parse


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    moment.astimezone(UTC)  # where that is outside the years 1 to 9999, nobody could read it back
    return moment


def _integer_text(text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError
    return _integer(int(text))


def _number_text(text: str) -> float:
    if not FLOAT.fullmatch(text):
        raise ValueError
    return _number(float(text))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError
    value.encode("utf-8")  # half a surrogate pair is no text
    return value


def _cell(text: str) -> str:
    if re.search(FORMULA, text):  # as a CSV source refuses it
        raise ValueError
    return text


def _boolean_text(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


_LIKE = (
    "Write it as 'pilotline quarantine DATASET --json' does, or as CSV with the columns row_number "
    "and partition."
)
_FROM_JSON: Mapping[str, Callable[[Any], Any]] = {
    "string": _text,
    "int64": _integer,
    "float64": _number,
    "bool": _exactly(bool),
    "date": date.fromisoformat,
    "timestamp": _moment,
}
_FROM_CSV: Mapping[str, Callable[[Any], Any]] = {
    "string": _cell,
    "int64": _integer_text,
    "float64": _number_text,
    "bool": _boolean_text,
    "date": date.fromisoformat,
    "timestamp": _moment,
}
