"""Where the factory's own Prefect server listens and keeps its facts."""

import os
import socket

from pilotline.flows.server.api import AUTH, KEY, PrefectApi
from pilotline.flows.server.database import prepare_database
from pilotline.registry.gates import KEY_VARIABLE
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home

# What one kind of process needs and the other does not: the server, and those that ask it.
SERVER_ONLY = (
    "PILOTLINE_PREFECT_DB",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_PASSWORD",
    "PREFECT_API_DATABASE_CONNECTION_URL",  # other names of the two above
    "PREFECT_API_DATABASE_PASSWORD",
)
CLIENTS_ONLY = ("PREFECT_API_URL", AUTH, KEY, KEY_VARIABLE)
UI_ASKS = ("PREFECT_SERVER_UI_API_URL", "PREFECT_UI_API_URL")  # two names of one setting
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
            # Whoever that is gets no credentials.
            other = PrefectApi(f"http://127.0.0.1:{port}/api", {}).answers()
            who = "another Prefect server listens there" if other else taken.strerror
            raise SettingsError(
                f"Port {port}", f"cannot be used ({who})", "Name another one with --port."
            ) from taken


def server_settings(home: Home, url: str) -> dict[str, str]:
    """Return the settings of the server's process.

    Where browsers ask is the user's to say: behind a proxy they do not reach ``url``.

    Raises:
        SettingsError: PILOTLINE_PREFECT_DB names no PostgreSQL database that Prefect can use.
    """
    settings = {
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home.prefect / "ui"),
        # By default in the server's memory: after its restart Prefect 3.9.1 ends each run that asks
        # to go on holding its deployment's only slot, and the slots of dead ones stay taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES,
    }
    if not any(os.environ.get(name) for name in UI_ASKS):
        settings[UI_ASKS[0]] = url
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
