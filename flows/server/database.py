"""The PostgreSQL database of the factory's Prefect server: there, and with what Prefect needs."""

import asyncio

from pilotline.tasks.errors import SettingsError

EXTENSION = "pg_trgm"  # Prefect 3.9.1 searches names with it
SETTING = "PILOTLINE_PREFECT_DB"
WAIT_S = 10
NOT_ALLOWED = "42501"  # insufficient_privilege, appendix A of the PostgreSQL 15 manual


def prepare_database(address: str) -> None:
    """Return when Prefect can make its tables there; the extension it needs is made here.

    Args:
        address: as SQLAlchemy writes it, for the driver asyncpg; it may hold a password and is not
            shown.

    Raises:
        SettingsError: the database does not answer, or it has not the extension.
    """
    from asyncpg import PostgresError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        problem = asyncio.run(_make_extension(address))
    except (ArgumentError, ValueError) as err:
        # What could not be read may be a part of the password.
        raise SettingsError(
            SETTING,
            "cannot be read",
            "In a password write %2F for /, %40 for @ and %3A for :, as in any address.",
        ) from err
    except (SQLAlchemyError, PostgresError, OSError, TypeError) as err:
        raise SettingsError(
            SETTING,
            f"the database cannot be used ({_first_line(err)})",
            "Start it, mend the address, or unset it for SQLite in the home.",
        ) from err
    if problem == NOT_ALLOWED:
        raise SettingsError(
            SETTING,
            f"its user may not make the extension {EXTENSION}, which Prefect needs",
            f"Let an administrator of that database type: CREATE EXTENSION {EXTENSION};",
        )
    if problem:
        raise SettingsError(
            SETTING,
            f"its server has not the extension {EXTENSION}, which Prefect needs",
            "Install PostgreSQL's contrib modules on it; in Debian's package they are.",
        )


async def _make_extension(address: str) -> str:
    """Return nothing, or the code of the error for which the extension cannot be made."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    there = text("SELECT true FROM pg_extension WHERE extname = :name")
    engine = create_async_engine(address, poolclass=NullPool, connect_args={"timeout": WAIT_S})
    async with engine.connect() as connection:
        if await connection.scalar(there, {"name": EXTENSION}):
            return ""
        try:
            await connection.execute(text(f"CREATE EXTENSION {EXTENSION}"))
            await connection.commit()
        except DBAPIError as err:
            return str(getattr(err.orig, "sqlstate", None) or "unknown")
    return ""


def _first_line(err: BaseException) -> str:
    return str(err).partition("\n")[0] or type(err).__name__
