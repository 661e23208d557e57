"""The registry as one object: its database, migrated, and its blob store."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from registry.blobs import BlobStore
from registry.blobs_folder import FolderBlobs
from registry.errors import StoreError

SCHEMA = "0001"  # the migration this code was written for; see registry/migrations
LOCK_WAIT_S = 30  # how long a writer waits for another one on SQLite


class Registry:
    """An open registry. Cheap to make; close it, or use it in a ``with`` statement."""

    def __init__(self, url: str, blobs: BlobStore | Path | str) -> None:
        """Open the database at ``url``, bringing its tables up to date.

        Args:
            url: SQLAlchemy URL, such as ``sqlite:///registry.db``.
            blobs: a blob store, or the folder of one.

        Raises:
            StoreError: the database cannot be opened, or is newer than this code.
        """
        self.url = url
        self.blobs: BlobStore = FolderBlobs(Path(blobs)) if isinstance(blobs, str | Path) else blobs
        try:
            self.engine = _make_engine(url)
        except (ArgumentError, ImportError) as err:  # the address may hold a password: not shown
            raise StoreError(
                "PILOTLINE_REGISTRY_URL",
                f"is no address of a database that works here ({type(err).__name__})",
                "Write sqlite:///PATH, or install the driver it names.",
            ) from None
        try:
            self._migrate()
        except StoreError:
            self.close()
            raise
        except DBAPIError as err:
            self.close()
            raise StoreError(
                _shown(url),
                f"cannot be opened ({err.orig})",
                "Check PILOTLINE_HOME and its rights.",
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
        """Give a session that only reads; nothing it does is kept."""
        with self.engine.connect() as connection:
            sqlite = connection.dialect.name == "sqlite"
            if sqlite:  # there a reading session has no transaction that could be rolled back
                connection.exec_driver_sql("PRAGMA query_only=ON")
            try:
                with Session(connection, expire_on_commit=False) as session:
                    yield session
                    session.expunge_all()  # what was read stays readable after the session
            finally:
                if sqlite:
                    connection.exec_driver_sql("PRAGMA query_only=OFF")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session that commits at the end, or rolls everything back on an error."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                # Take the writer's lock first: a reader that turns writer loses updates.
                session.execute(text("BEGIN IMMEDIATE"))
            yield session

    def _migrate(self) -> None:
        with self.engine.connect() as connection:
            found = None
            if inspect(connection).has_table("alembic_version"):
                found = connection.scalar(text("select version_num from alembic_version"))
        if found is None or found < SCHEMA:
            from registry.migrations.upgrade import upgrade  # alembic: only when needed

            upgrade(self.engine)
        elif found > SCHEMA:
            raise StoreError(
                _shown(self.url),
                f"has schema {found}, this pilotline knows up to {SCHEMA}",
                "Use the newer pilotline that made it.",
            )


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


def _make_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url)
    if parsed.database and parsed.database != ":memory:":
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise StoreError(
                _shown(url), f"cannot be made ({err.strerror})", "Check PILOTLINE_HOME and rights."
            ) from err
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_S})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        # pysqlite would begin on its own terms; transactions are begun by hand (see write).
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")

    return engine
