"""The ground of the registry: its database, whose sessions read and write, and its blob store."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session as Session  # others import it from here

from pilotline.registry.blobs import BlobStore
from pilotline.registry.form import StoreError
from pilotline.registry.store.tables import WRITERS_LOCK
from pilotline.registry.store.troubles import refuse_odd_texts, troubles_in_words

SCHEMA = "0004"  # the migration this code was written for; see registry/migrations
LOCK_WAIT_S = 120  # how long a writer waits for the others
BUSY_WAIT_S = 30  # how long SQLite itself waits, at a commit for those who read


# What is done around a writing session, from its first statement to just before its commit.
Follower = Callable[[Session], AbstractContextManager[None]]


class Store:
    """An open database with its blob store, knowing of no table. ``Registry`` is what people open.

    Close it, or use it in a ``with`` statement.
    """

    def __init__(
        self,
        url: str,
        blobs: BlobStore,
        *,
        upgrade: Callable[[Engine], None],
        follow: Follower,
    ) -> None:
        """Open the database at ``url``, bringing its tables up to date.

        Args:
            url: SQLAlchemy URL, such as ``sqlite:///registry.db`` or ``postgresql://host/name``.
            blobs: a blob store.
            upgrade: makes the tables of an older or empty database those of this code.
            follow: put around each writing session.

        Raises:
            StoreError: the database cannot be opened, or is newer than this code.
        """
        self.url = url
        self.blobs = blobs
        self._upgrade = upgrade
        self._follow = follow
        try:
            self.engine = _make_engine(url)
        except (ArgumentError, ImportError) as err:  # the address may hold a password: not shown
            raise StoreError(
                "PILOTLINE_REGISTRY_URL",
                f"is no address of a database that works here ({type(err).__name__})",
                "Write sqlite:///PATH or postgresql://USER@HOST/NAME.",
            ) from None
        self._shown = show_url(url)
        try:
            self._migrate()
        except StoreError:
            self.close()
            raise
        except DBAPIError as err:
            self.close()
            raise StoreError(
                show_url(url),
                f"cannot be opened ({str(err.orig).strip().splitlines()[0]})",
                "Check PILOTLINE_HOME, PILOTLINE_REGISTRY_URL and the rights there.",
            ) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that only reads, all of it from one moment; nothing it does is kept."""
        sqlite = self.engine.dialect.name == "sqlite"
        with self._in_words(writing=False), self.engine.connect() as connection:
            if sqlite:
                connection.exec_driver_sql("PRAGMA query_only=ON")
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            try:
                with Session(connection, expire_on_commit=False) as session:
                    yield session
                    session.expunge_all()  # what was read stays readable after the session
            finally:
                if sqlite:
                    connection.rollback()
                    connection.exec_driver_sql("PRAGMA query_only=OFF")

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Give a connection for single questions, each answered as things are at that moment.

        Lighter than ``read``: no transaction is begun or ended around it.
        """
        with self._in_words(writing=False), self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                yield connection
            else:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session that commits at the end, or rolls everything back on an error.

        One writer at a time, on either database: see docs/decisions/one-writer.md.

        Raises:
            StoreError: the others did not let it in for two minutes, or the database is full,
                read-only, damaged or away.
            TextRefusedError: a text is longer than its column, or holds half a character or NUL.
        """
        with (
            self._in_words(writing=True),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            if self.engine.dialect.name == "sqlite":
                self._begin_immediate(session)
            else:
                session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'"))
                session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": WRITERS_LOCK})
            refuse_odd_texts(session)
            with self._follow(session):
                yield session

    def _in_words(self, *, writing: bool) -> AbstractContextManager[None]:
        return troubles_in_words(self._shown, writing=writing)

    def _begin_immediate(self, session: Session) -> None:
        """Take the writer's lock first: a reader that turns writer loses updates.

        SQLite's own waiting is not fair: with many writers one may be passed over again and again.
        """
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                session.execute(text("BEGIN IMMEDIATE"))
                return
            except OperationalError as err:
                if not _is_busy(err):
                    raise
                if time.monotonic() > until:
                    raise StoreError(
                        show_url(self.url),
                        f"other processes wrote to it for {LOCK_WAIT_S} s without a pause",
                        "Try again; for many writers use PostgreSQL.",
                    ) from err
                time.sleep(random.uniform(0.001, 0.05))

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            found = None
            if inspect(connection).has_table("alembic_version"):
                found = connection.scalar(text("select version_num from alembic_version"))
        if found is None or found < SCHEMA:
            self._upgrade(self.engine)
        elif found > SCHEMA:
            raise StoreError(
                show_url(self.url),
                f"has schema {found}, this pilotline knows up to {SCHEMA}",
                f"Use pilotline {self._needs()} or newer.",
            )

    def _needs(self) -> str:
        """Return the release that a newer schema says it needs."""
        with self.engine.connect() as connection:
            if not inspect(connection).has_table("registry_info"):
                return "of the release that made it"
            found = connection.scalar(text("select value from registry_info where key = 'needs'"))
        return str(found)


def _is_busy(error: DBAPIError) -> bool:
    return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)


def show_url(url: str) -> str:
    """Return a registry's address without its password."""
    return make_url(url).render_as_string(hide_password=True)


def _make_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(_with_driver(parsed), pool_pre_ping=True)
    if parsed.get_backend_name() != "sqlite":
        raise ArgumentError("neither SQLite nor PostgreSQL")
    if file := _database_file(parsed):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(
                show_url(url),
                f"cannot be made ({err.strerror})",
                "Check PILOTLINE_HOME and rights.",
            ) from err
    engine = create_engine(url, connect_args={"timeout": BUSY_WAIT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        # pysqlite would begin on its own terms; transactions are begun by hand (see write).
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")

    return engine


def _database_file(url: URL) -> Path | None:
    """Return the file of a SQLite address, which may be a URI (``file:PATH``); None in memory."""
    name = url.database or ""
    if name.startswith("file:") and "uri" in url.query:
        name = "" if url.query.get("mode") == "memory" else unquote(urlsplit(name).path)
    return None if name in ("", ":memory:") else Path(name)


def _with_driver(url: URL) -> URL:
    """Return ``url`` with the driver that is installed, where it names none."""
    return url if "+" in url.drivername else url.set(drivername="postgresql+psycopg")
