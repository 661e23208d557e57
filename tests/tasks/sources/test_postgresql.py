"""PostgreSQL as a source, on a real server: types compared, time bounded, passwords unseen."""

import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import cast

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotline.tasks.errors import PartitionRefusedError, SourceError
from pilotline.tasks.lab.datasets import Dataset, Source
from pilotline.tasks.sources.postgresql import PostgresqlSource, bind_date
from tests.support.tasks.facts import DAY, ROWS, facts_from
from tests.support.waiting import stretched

PASSWORD = "can/ary@:%"
TABLE = """
create table facts (
    day date, name text, count bigint, share double precision, open boolean, at timestamptz
)
"""
HOME = Path("unused")


@pytest.fixture
def url(new_database: str) -> str:
    """Return the address of a database with the facts in it."""
    address = new_database.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(address) as connection:
        connection.execute(TABLE)
        connection.cursor().executemany(
            "insert into facts values (%s, %s, %s, %s, %s, %s)",
            [tuple(row.values()) for row in ROWS],
        )
    return address


@pytest.fixture
def dataset(url: str, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Return the facts' dataset, its address in a variable."""
    monkeypatch.setenv("FACTS_URL", url)
    return facts_from(Source("postgresql", "env:FACTS_URL", "select * from facts where day=:date"))


def asking(dataset: Dataset, query: str, timeout_s: float = 60) -> PostgresqlSource:
    """Return the source with another query."""
    source = replace(dataset.source, query=query, timeout_s=timeout_s)
    return PostgresqlSource(replace(dataset, source=source), HOME)


def instead(column: str, expression: str) -> str:
    """Return the query with one column computed differently."""
    columns = [f"{expression} as {c}" if c == column else c for c in ROWS[0]]
    return f"select {', '.join(columns)} from facts where day = :date"


def test_empty_texts_line_breaks_and_quotes_stay_what_they_are(dataset: Dataset) -> None:
    texts = ["", "\n", 'a"b', "a,b", "\\N", "\\.", " ", "é", "NULL", "%s"]
    with psycopg.connect(os.environ["FACTS_URL"]) as connection:
        connection.cursor().executemany(
            "insert into facts values ('2013-02-01', %s, 1, 1, true, now())", [(t,) for t in texts]
        )
    rows = PostgresqlSource(dataset, HOME).read(date(2013, 2, 1))
    assert rows.column("name").to_pylist() == texts


def test_numbers_that_are_not_finite_are_left_for_the_checks(dataset: Dataset) -> None:
    rows = asking(dataset, instead("share", "'-Infinity'::float8")).read(DAY)
    assert rows.column("share").to_pylist() == [float("-inf")] * 3


def test_the_server_s_own_settings_change_nothing(dataset: Dataset) -> None:
    before = PostgresqlSource(dataset, HOME).read(DAY)
    with psycopg.connect(os.environ["FACTS_URL"], autocommit=True) as connection:
        for setting in (
            "timezone to 'Asia/Tokyo'",
            "datestyle to 'German'",
            "extra_float_digits to 0",
        ):
            connection.execute(f"alter role postgres set {setting}".encode())
        try:
            assert PostgresqlSource(dataset, HOME).read(DAY) == before
        finally:
            connection.execute("alter role postgres reset all")


@pytest.mark.parametrize(
    ("column", "expression", "found"),
    [
        ("count", "count::numeric(10,2)", r"int64 +numeric\(10, ?2\)"),
        ("count", "count::float8", "int64 +float8"),
        ("share", "1", "float64 +int4"),
        ("share", "share::real", "float64 +float4"),
        ("at", "at::timestamp", "timestamp +timestamp"),
        ("day", "day::text", "date +text"),
        ("name", "'{}'::jsonb", "string +jsonb"),
        ("name", "array[name]", r"string +text\[\]"),
        ("open", "1", "bool +int4"),
    ],
)
def test_another_type_is_refused_before_a_row_is_read(
    dataset: Dataset, column: str, expression: str, found: str
) -> None:
    with pytest.raises(
        PartitionRefusedError, match=rf"(?s)1 of another type\..*\n  {column} +{found}$"
    ):
        asking(dataset, instead(column, expression)).read(DAY)


def test_missing_extra_and_double_columns_are_refused(dataset: Dataset) -> None:
    with pytest.raises(PartitionRefusedError, match="5 missing, 1 not declared, 1 twice"):
        asking(dataset, "select day, day, 1 as gate from facts where day = :date").read(DAY)


@pytest.mark.parametrize(
    ("column", "expression"),
    [
        ("at", "'infinity'::timestamptz"),
        ("day", "'infinity'::date"),
        ("day", "date '0044-03-15 BC'"),
    ],
)
def test_infinity_and_dates_before_christ_are_refused(
    dataset: Dataset, column: str, expression: str
) -> None:
    with pytest.raises(PartitionRefusedError, match=f"column '{column}': expected .*(infinity|BC)"):
        asking(dataset, instead(column, expression)).read(DAY)


def test_types_are_compared_on_an_empty_day_too(dataset: Dataset) -> None:
    with pytest.raises(PartitionRefusedError, match="1 of another type"):
        asking(dataset, instead("count", "count::int8::numeric")).read(date(2014, 1, 1))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select nope from facts where day = :date", r'failed \(column "nope" does not exist LINE'),
        ("selec * from facts where day = :date", "failed .syntax error at or near"),
        ("select 1; drop table facts -- :date", "failed .syntax error"),
        ("delete from facts where day = :date returning *", "failed .syntax error"),
        (
            "select *, :date from facts, (select pg_catalog.lo_create(0)) as made",
            "failed .cannot execute lo_create.* in a read-only transaction",
        ),
    ],
)
def test_a_query_that_fails_or_writes_says_why(dataset: Dataset, query: str, message: str) -> None:
    every = query.replace("select *, :date", "select facts.*")
    with pytest.raises(SourceError, match=message):
        asking(dataset, f"{every} -- :date").read(DAY)


def test_a_source_that_dies_half_way_gives_no_rows_at_all(dataset: Dataset) -> None:
    many = "select day, name, i as count, 1.0 / (400000 - i) as share, open, at "
    many += "from facts, generate_series(1, 300000) as i where day = :date"
    stream = asking(dataset, many.replace("1.0 / (400000 - i)", "(1.0 / (400000 - i))::float8"))
    batches = stream.stream(DAY)
    assert next(batches).num_rows > 0
    with psycopg.connect(os.environ["FACTS_URL"], autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    with pytest.raises(
        SourceError, match=r"the server cannot be reached, or went away|terminating"
    ):
        list(batches)


def test_an_error_in_a_late_row_gives_no_rows_at_all(dataset: Dataset) -> None:
    late = "select day, name, 1 / (i - 300000) as count, share, open, at "
    late += "from facts, generate_series(1, 300000) as i where day = :date"
    with pytest.raises(SourceError, match=r"the query failed \(division by zero\)\. Check"):
        asking(dataset, late).read(DAY)


def test_a_query_that_takes_too_long_is_ended(dataset: Dataset) -> None:
    slow = instead("count", "(select count(*) from pg_sleep(60))")
    with pytest.raises(SourceError, match=r"it did not give the day within 1 s\. Look at the sour"):
        asking(dataset, slow, timeout_s=1).read(DAY)


def test_a_server_that_falls_silent_is_hung_up_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotline.tasks.sources.postgresql.GRACE_S", 0.5)
    stopped: list[int] = []
    many = "select day, name, i as count, share, open, at "
    many += "from facts, generate_series(1, 3000000) as i where day = :date"
    timeout_s = stretched(3)
    batches = asking(dataset, many, timeout_s=timeout_s).stream(DAY)
    assert next(batches).num_rows > 0
    with psycopg.connect(os.environ["FACTS_URL"], autocommit=True) as connection:
        found = connection.execute(
            "select pid from pg_stat_activity where application_name = 'pilotline' "
            "and datname = current_database()"
        )
        stopped += [pid for (pid,) in found.fetchall()]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(SourceError, match=f"it did not give the day within {timeout_s:g} s"):
            list(batches)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Return a port where connections are taken and nothing is ever said."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_server_that_never_answers_is_given_up(
    dataset: Dataset, mute_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTS_URL", f"postgresql://u:canary@127.0.0.1:{mute_port}/facts")
    with pytest.raises(SourceError, match=r"did not give the day within 2 s|cannot be rea"):
        asking(dataset, dataset.source.query, timeout_s=2).read(DAY)


@pytest.fixture
def reader(url: str) -> Iterator[str]:
    """Return the address of a user with a password of difficult signs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role canary_reader login password 'can/ary@:%'")
        connection.execute("grant select on facts to canary_reader")
        yield url.replace("postgres:@", "canary_reader:can%2Fary%40%3A%25@")
        connection.execute("drop owned by canary_reader; drop role canary_reader")


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("/test_", "/no_such_test_"),
        lambda url: url.replace("canary_reader:", "nobody:"),
        lambda url: url.replace("@/", "@127.0.0.1:1/").split("?")[0],
        lambda url: url.replace("@/", "@no.such.host.invalid/").split("?")[0],
        lambda url: url + "&nonsense=can%2Fary%40%3A%25",
        lambda url: url.replace("can%2Fary%40%3A%25", PASSWORD),
        lambda url: url.replace("postgresql:", "oracle:"),
        lambda url: url.replace("?host=", "?port=can%2Fary%40%3A%25&host="),
        lambda url: f"host=x password={PASSWORD}",
        lambda url: PASSWORD,
    ],
)
def test_no_way_to_fail_shows_the_password(
    dataset: Dataset,
    reader: str,
    change: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("FACTS_URL", change(reader))
    with pytest.raises(SourceError) as caught:
        asking(dataset, dataset.source.query, timeout_s=10).read(DAY)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    shown += repr(caught.value.__context__) + "".join(capfd.readouterr()) + caplog.text
    for form in (PASSWORD, "can%2Fary", "can/ary"):
        assert form not in shown


def test_a_failing_query_does_not_show_the_password(
    dataset: Dataset, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTS_URL", reader)
    assert PostgresqlSource(dataset, HOME).read(DAY).num_rows == 3
    query = f"select '{PASSWORD}'::date as day where :date = current_date"
    with pytest.raises(
        SourceError, match=r"invalid input syntax for type date: \"\*\*\*\""
    ) as caught:
        asking(dataset, query).read(DAY)
    assert "can/ary" not in "".join(traceback.format_exception(caught.value))


def test_a_source_object_shows_no_address(dataset: Dataset) -> None:
    assert os.environ["FACTS_URL"] not in repr(vars(PostgresqlSource(dataset, HOME)))


def test_nothing_is_left_behind_by_a_reader_who_stops_early(dataset: Dataset) -> None:
    many = "select day, name, i as count, share, open, at "
    many += "from facts, generate_series(1, 3000000) as i where day = :date"
    threads = threading.active_count()
    batches = cast(Generator[pa.RecordBatch], asking(dataset, many).stream(DAY))
    next(batches)
    batches.close()
    assert threading.active_count() == threads
    with psycopg.connect(os.environ["FACTS_URL"]) as connection:
        left = connection.execute(
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and application_name = 'pilotline' and state = 'active'"
        )
        assert left.fetchone() == (0,)


@pytest.mark.parametrize(
    ("query", "bound"),
    [
        ("a = :date", "a = date '2013-01-01'"),
        ("a::date = :date;\n", "a::date = date '2013-01-01'"),
        ("a = ':date' and b = :date", "a = ':date' and b = date '2013-01-01'"),
        ("a = 'it''s :date' -- :date\n", "a = 'it''s :date' -- :date"),
        ('":date" /* :date */ :date', "\":date\" /* :date */ date '2013-01-01'"),
        ("$x$ :date $x$ :date", "$x$ :date $x$ date '2013-01-01'"),
        ("$$ :date $$ :dates", "$$ :date $$ :dates"),
        ("a like '%s' and b = :date", "a like '%s' and b = date '2013-01-01'"),
    ],
)
def test_the_day_is_written_only_where_the_parameter_stands(query: str, bound: str) -> None:
    assert bind_date(query, DAY) == bound


@given(st.dates())
def test_nothing_but_a_date_is_ever_written(day: date) -> None:
    assert bind_date(":date", day) == f"date '{day.year:04}-{day.month:02}-{day.day:02}'"


def test_what_only_looks_like_a_date_is_not_written() -> None:
    class Hostile(date):
        def isoformat(self) -> str:
            return "2013-01-01' or true --"

    assert bind_date(":date", Hostile(2013, 1, 1)) == "date '2013-01-01'"
