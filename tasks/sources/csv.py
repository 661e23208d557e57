"""CSV files of a source: text only, parsed strictly as the declared types.

What is accepted: docs/reference/sources.md.
"""

import csv
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab import Dataset
from pilotline.tasks.sources.contract import (
    ANY,
    Found,
    check_columns,
    nullable,
    refused_value,
    to_declared,
)

BLOCK_BYTES = 8 << 20
# What a spreadsheet would compute: =..., and +name(, -name(, @name( or name|. A text such as
# "+49 30 1234", "-" or "@home" is none. After OWASP, "CSV injection".
FORMULA = r"^(=|[+\-@][A-Za-z_.]+[(|])"
WORDS = ("true", "True", "TRUE"), ("false", "False", "FALSE")


def read_csv(dataset: Dataset, day: date, shown: str, path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the file's rows in the declared columns.

    Args:
        shown: the file's name for messages.

    Raises:
        SourceError: the file cannot be read.
        PartitionRefusedError: it is cut, a line is broken, or columns or values are not the
            declared ones.
    """
    try:
        names = _read_header(dataset, day, shown, path)
        check_columns(dataset, day, [Found(name, "untyped", ANY) for name in names])
        for batch in _open(dataset, path):
            _refuse_formulas(dataset, day, shown, batch)
            yield to_declared(dataset, day, batch)
    except pa.ArrowInvalid as err:
        raise _explain(dataset, day, shown, names, str(err)) from err
    except (pa.ArrowException, OSError) as err:
        raise SourceError(
            dataset.name, f"{shown!r} cannot be read ({str(err)[:200]})", "Look at the file."
        ) from err


def _read_header(dataset: Dataset, day: date, shown: str, path: Path) -> list[str]:
    with path.open("rb") as file:
        first = file.readline()
        if not first.strip():
            raise _refusal(dataset, day, f"{shown!r} is empty: not even its header is there")
        file.seek(-1, 2)
        last = file.read(1)
    try:
        names = next(csv.reader([first.decode("utf-8-sig").rstrip("\r\n")], strict=True))
    except (UnicodeDecodeError, csv.Error) as err:
        raise _refusal(dataset, day, f"{shown!r} has no header in UTF-8 ({err})") from err
    if last not in b"\r\n":
        # Half a number is a number too, so a file that was cut shows in nothing else.
        raise _refusal(dataset, day, f"{shown!r} may be cut: its last line has no end")
    return names


def _open(dataset: Dataset, path: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow import csv as arrow_csv

    schema = nullable(dataset)
    true, false = WORDS
    reader = arrow_csv.open_csv(
        path,
        # In one thread, Arrow says in which row a broken value stands.
        arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        arrow_csv.ParseOptions(newlines_in_values=False),
        arrow_csv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names,
            null_values=[""],  # and nothing else: NA is a text
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=list(true),
            false_values=list(false),
        ),
    )
    with reader:
        yield from reader


def _refuse_formulas(dataset: Dataset, day: date, shown: str, batch: pa.RecordBatch) -> None:
    for field in batch.schema:
        if not pa.types.is_string(field.type):
            continue
        texts = batch.column(field.name)
        # Arrow lets a quote that nobody closed swallow the lines up to the next (pyarrow 26).
        for what, pattern in (("a line break", r"[\r\n]"), ("a formula", FORMULA)):
            found = pc.index(pc.fill_null(pc.match_substring_regex(texts, pattern), False), True)
            if found.as_py() >= 0:
                text = texts[found.as_py()].as_py()[:80]
                raise _refusal(
                    dataset, day, f"{shown!r}, column {field.name!r} holds {what}: {text!r}"
                )


def _explain(
    dataset: Dataset, day: date, shown: str, names: list[str], said: str
) -> PartitionRefusedError:
    """Return Arrow's complaint in our words."""
    value = re.match(r"In CSV column #(\d+): (?:Row #(\d+): )?(.*)", said, re.DOTALL)
    if value:
        row = f" in line {value[2]}" if value[2] else ""
        return refused_value(
            dataset, day, names[int(value[1])], f"{value[3][:120]}{row} of {shown!r}"
        )
    line = re.match(r"CSV parse error: Row #(\d+): (Expected \d+ columns, got \d+)", said)
    where = f"line {line[1]} of {shown!r} is broken: {line[2]}" if line else f"{shown!r}: {said}"
    return _refusal(dataset, day, where[:300])


def _refusal(dataset: Dataset, day: date, problem: str) -> PartitionRefusedError:
    return PartitionRefusedError(
        dataset.name, day.isoformat(), problem, "Mend the file, or deliver it again."
    )
