"""A PostgreSQL database as a source: its own COPY, parsed by Arrow as the declared types.

One connection and one read-only transaction a day; the server's types are compared before rows
are asked for. Why not connectorx: docs/decisions/postgresql-by-copy.md.
"""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pilotline.tasks.errors import SourceError
from pilotline.tasks.lab import Dataset, scrub
from pilotline.tasks.sources.contract import (
    Found,
    check_columns,
    collect,
    nullable,
    refused_value,
    to_declared,
)
from pilotline.tasks.sources.credentials import resolve_url
from pilotline.tasks.sources.deadline import Deadline

if TYPE_CHECKING:
    from psycopg import Connection

PREFIXES = ("postgresql://", "postgres://")
CONNECT_TIMEOUT_S = 10
GRACE_S = 5  # the server ends a statement itself; one that is silent is hung up on a little later
BATCH_BYTES = 8 << 20  # of COPY's text; about 100,000 rows of ten columns
# The server's type -> the declared type that its text stands for without loss. numeric, real and
# times without a zone are left out on purpose: docs/reference/sources.md.
TYPES = {
    "text": "string", "varchar": "string", "bpchar": "string", "name": "string", "uuid": "string",
    "int2": "int64", "int4": "int64", "int8": "int64",
    "float8": "float64", "bool": "bool", "date": "date", "timestamptz": "timestamp",
}  # fmt: skip
# What must not be taken for the parameter: texts, quoted names, comments, ::date.
QUOTED = r"""'(?:[^']|'')*'|"[^"]*"|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|::"""
PARAMETER = re.compile(QUOTED + r"|(?P<date>:date\b)", re.DOTALL)


class PostgresqlSource:
    """The query of a dataset over a PostgreSQL database."""

    def __init__(self, dataset: Dataset, home: Path) -> None:
        self.dataset = dataset

    def read(self, day: date) -> pa.Table:
        """Return the day's rows in the declared columns.

        Raises:
            SourceError: the server cannot be reached, refuses, takes too long or goes away.
            PartitionRefusedError: columns or values are not the declared ones.
        """
        return collect(self.dataset, self.stream(day))

    def stream(self, day: date) -> Iterator[pa.RecordBatch]:
        """Yield the day's rows in the declared columns; raises what ``read`` does."""
        deadline = Deadline(self.dataset.name, self.dataset.source.timeout_s)
        query = bind_date(self.dataset.source.query, day)
        with self._connected(deadline) as connection:
            names = self._check_columns(connection, query, day)
            for text in self._copy(connection, query):
                yield self._parse(text, names, day)

    @contextmanager
    def _connected(self, deadline: Deadline) -> "Iterator[Connection[Any]]":
        """Give a connection in a read-only transaction that ends at the deadline."""
        import psycopg

        url = self._url()
        try:
            with (
                psycopg.connect(
                    url,
                    connect_timeout=max(2, min(CONNECT_TIMEOUT_S, int(deadline.timeout_s))),
                    client_encoding="utf8",
                    application_name="pilotline",
                ) as connection,
                _hung_up_after(connection, deadline.left_s + GRACE_S),
            ):
                connection.read_only = True
                connection.execute(_settings(deadline))
                yield connection
            return
        except psycopg.Error as err:
            problem = self._explain(err, deadline, url)
        raise problem from None  # the cause could quote the address

    def _explain(self, err: Exception, deadline: Deadline, url: str) -> SourceError:
        from psycopg.errors import OperationalError, QueryCanceled

        canceled = isinstance(err, QueryCanceled)
        if deadline.passed or (canceled and deadline.left_s < GRACE_S):
            return deadline.error()
        said = scrub(" ".join(str(err).split())[:300], url)
        if isinstance(err, OperationalError) and not err.sqlstate:
            return SourceError(
                self.dataset.name,
                f"the server cannot be reached, or went away ({said})",
                "Check the server and the address; nothing was written.",
            )
        return SourceError(
            self.dataset.name,
            f"the query failed ({said})",
            "Check the query in dataset.toml, and the user's rights.",
        )

    def _url(self) -> str:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict

        url = resolve_url(self.dataset.name, self.dataset.source.url)
        try:
            if url.startswith(PREFIXES):
                conninfo_to_dict(url)
                return url
        except ProgrammingError:
            pass  # libpq quotes the part it does not understand, and that may be the password
        raise SourceError(
            self.dataset.name,
            "its url is no address of a PostgreSQL server",
            f"Expected {PREFIXES[0]}USER:PASSWORD@HOST/DATABASE; write %XX for special characters.",
        ) from None

    def _check_columns(self, connection: "Connection[Any]", query: str, day: date) -> list[str]:
        none = f"select * from (\n{query}\n) as source limit 0"
        described = connection.execute(none.encode())
        found = []
        for column in described.description or ():
            kind = connection.adapters.types.get(column.type_code)
            name = kind.name if kind else ""
            shown = column.type_display if name else "a type of its own"
            fits = frozenset({TYPES[name]}) if name in TYPES else frozenset[str]()
            if kind and column.type_code == kind.array_oid:
                shown, fits = f"{name}[]", frozenset()
            found.append(Found(column.name, shown, fits))
        check_columns(self.dataset, day, found)
        return [column.name for column in found]

    def _copy(self, connection: "Connection[Any]", query: str) -> Iterator[bytes]:
        """Yield the rows as CSV in pieces of whole rows."""
        statement = f"copy (\n{query}\n) to stdout (format csv)"
        with connection.cursor() as cursor, cursor.copy(statement.encode()) as rows:
            piece = bytearray()
            for row in rows:
                piece += row
                if len(piece) >= BATCH_BYTES:
                    yield bytes(piece)
                    piece.clear()
            if piece:
                yield bytes(piece)

    def _parse(self, text: bytes, names: list[str], day: date) -> pa.RecordBatch:
        from pyarrow import csv

        schema = nullable(self.dataset)
        try:
            table = csv.read_csv(
                pa.BufferReader(text),
                csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
                csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
                csv.ConvertOptions(
                    column_types=schema,
                    include_columns=schema.names,
                    null_values=[""],  # unquoted; COPY writes an empty text with quotes
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["t"],
                    false_values=["f"],
                ),
            )
        except pa.ArrowInvalid as err:
            place = re.match(r"In CSV column #(\d+): (?:Row #\d+: )?(.*)", str(err), re.DOTALL)
            if place is None:
                raise
            raise refused_value(self.dataset, day, names[int(place[1])], place[2]) from err
        (batch,) = table.combine_chunks().to_batches()
        return to_declared(self.dataset, day, batch)


def bind_date(query: str, day: date) -> str:
    """Return the query with each ``:date`` outside quotes and comments as the day's literal.

    COPY takes no parameters, so the day is written into it: nothing but digits and dashes.
    """
    literal = f"date '{date.fromordinal(day.toordinal()).isoformat()}'"
    bound = PARAMETER.sub(lambda found: literal if found["date"] else found[0], query)
    return bound.rstrip().rstrip(";")


@contextmanager
def _hung_up_after(connection: "Connection[Any]", seconds: float) -> Iterator[None]:
    """Close the socket under the connection after a while: whoever waits for a server wakes up."""
    line = socket.socket(fileno=os.dup(connection.fileno()))
    timer = Timer(max(seconds, 0), line.shutdown, [socket.SHUT_RDWR])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        line.close()


def _settings(deadline: Deadline) -> bytes:
    # LOCAL: a pooler may give the connection to others afterwards. The rest is what the text of
    # dates and numbers depends on; a server's own setting must not change what rows are read.
    return (
        f"set local statement_timeout = {max(1, int(deadline.left_s * 1000))};"
        " set local timezone = 'UTC'; set local datestyle = 'ISO';"
        " set local extra_float_digits = 1"
    ).encode()
