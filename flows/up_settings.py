"""Where the factory's own Prefect server listens and keeps its facts."""

import os
import socket

from flows.up_api import PrefectApi
from flows.up_database import prepare_database
from tasks.errors import SettingsError
from tasks.home import Home

LEASES = "prefect.server.concurrency.lease_storage.filesystem"


def require_free(port: int) -> None:
    """Do nothing if nobody listens on ``port``.

    Raises:
        SettingsError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as taken:
            other = PrefectApi(f"http://127.0.0.1:{port}/api").answers()
            who = "another Prefect server listens there" if other else taken.strerror
            raise SettingsError(
                f"Port {port}", f"cannot be used ({who})", "Name another one with --port."
            ) from taken


def server_settings(home: Home, url: str) -> dict[str, str]:
    """Return the settings of the server's process.

    Raises:
        SettingsError: PILOTLINE_PREFECT_DB names no PostgreSQL database that Prefect can use.
    """
    settings = {
        "PREFECT_SERVER_UI_API_URL": url,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        # By default in the server's memory: after its restart Prefect 3.8 ends each run that asks
        # to go on holding its deployment's only slot, and the slots of dead ones stay taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
    }
    database = os.environ.get("PILOTLINE_PREFECT_DB")
    if database:
        address = _with_driver(database)
        prepare_database(address)
        settings["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address
    return settings


def _with_driver(database: str) -> str:
    """Return a PostgreSQL address with the driver that Prefect uses.

    Raises:
        SettingsError: it is another kind of address; it may hold a password and is not shown.
    """
    scheme, mark, rest = database.partition("://")
    if not mark or scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise SettingsError(
            "PILOTLINE_PREFECT_DB",
            "is no address of a PostgreSQL database",
            "Write postgresql://USER@HOST/NAME, or unset it for SQLite in the home.",
        )
    return f"postgresql+asyncpg://{rest}"
