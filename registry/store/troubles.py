"""What can ail a database or a text handed to it, in words; statements and values stay unsaid."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import String, event
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, UOWTransaction

from pilotline.registry.form import StoreError, TextRefusedError

AGAIN = "Try again; for many writers use PostgreSQL."
SPACE = "Free space, then repeat the command; nothing of it was kept."
DISK = "Free space or mend the disk, then repeat the command; nothing of it was kept."
RIGHTS = "Check the rights of the file and of its folder."
MEND = "Check the disk; restore a copy of the database if it is damaged."
SERVER = "Check that the database server runs, then repeat the command."
# By the second word of SQLite's error names (sqlite.org/rescode.html).
SQLITE = {
    "BUSY": ("other processes kept it locked", AGAIN),
    "LOCKED": ("other processes kept it locked", AGAIN),
    "FULL": ("its disk is full", SPACE),
    "READONLY": ("it cannot be written", RIGHTS),
    "PERM": ("it cannot be written", RIGHTS),
    "CANTOPEN": ("it cannot be opened", RIGHTS),
    "IOERR": ("its disk fails or is full", DISK),
    "CORRUPT": ("it is damaged", MEND),
    "NOTADB": ("it is damaged", MEND),
}
# By SQLSTATE, or by its class, the first two characters (PostgreSQL manual, appendix A).
POSTGRESQL = {
    "55P03": ("other processes kept it locked", "Try again."),
    "40": ("other processes changed the same rows", "Try again."),
    "53100": ("its disk is full", SPACE),
    "53": ("its server is short of something", SERVER),
    "25006": ("it cannot be written", "Check that the server is no standby."),
    "42501": ("its user lacks rights", "Grant them the rights on the registry's tables."),
    "57P": ("its server went away", SERVER),
    "08": ("its server went away", SERVER),
    "58": ("its disk fails or is full", DISK),
    "XX": ("it is damaged", MEND),
}


@contextmanager
def troubles_in_words(where: str, *, writing: bool) -> Iterator[None]:
    """Turn what ails the database or a text into a refusal; every other error stays what it is.

    Args:
        where: the database's address, without its password.
        writing: whether the caller may write; where not, an attempt to is the caller's own fault.

    Raises:
        StoreError: the database is locked, full, read-only, damaged or away.
        TextRefusedError: a text cannot be stored.
    """
    try:
        yield
    except UnicodeEncodeError as err:
        raise TextRefusedError(err.object, "half a character (a lone surrogate)") from err
    except DBAPIError as err:
        if isinstance(err, DataError) and "NUL" in str(err.orig):
            raise TextRefusedError("", "a NUL character") from err
        found = _find(err)
        if found is None or (not writing and found[0] == "it cannot be written"):
            raise
        raise StoreError(where, *found) from err


def refuse_odd_texts(session: Session) -> None:
    """Let ``session`` refuse, before a flush, texts that not every database takes.

    SQLite keeps a NUL and any length, PostgreSQL neither: what one registry holds must fit into
    another.
    """

    @event.listens_for(session, "before_flush")
    def check(session: Session, _: UOWTransaction, __: object) -> None:
        for row in (*session.new, *session.dirty):
            for column in row.__table__.columns:
                value = row.__dict__.get(column.key)
                if isinstance(value, str) and isinstance(column.type, String):
                    _check_text(f"{column.key} of {row.__tablename__}", value, column.type.length)


def _check_text(what: str, text: str, longest: int | None) -> None:
    if "\0" in text:
        raise TextRefusedError(text, "a NUL character", what)
    if longest is not None and len(text) > longest:
        raise TextRefusedError(text, f"{len(text)} characters, at most {longest} fit", what)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise TextRefusedError(text, "half a character (a lone surrogate)", what)


def _find(error: DBAPIError) -> tuple[str, str] | None:
    """Return what ails the database and what to do, None where the statement is at fault."""
    name = getattr(error.orig, "sqlite_errorname", None)
    if isinstance(error.orig, sqlite3.Error):
        return SQLITE.get(name.split("_")[1]) if name else None
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # the driver's own: no connection, or it broke
        lost = isinstance(error, OperationalError | InterfaceError)
        return ("its server cannot be reached", SERVER) if lost else None
    return next((POSTGRESQL[s] for s in (state, state[:3], state[:2]) if s in POSTGRESQL), None)
