"""A real Prefect server, begun with tables that were made once."""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.commands import COMMAND, environment_of
from tests.support.servers.once import Kept, kept_server, made_once
from tests.support.servers.ports import next_port
from tests.support.waiting import stretched

TABLES_LIMIT_S = 60  # it takes 4 s on two idle cores


def make_tables(shared: Path) -> Path:
    """Return an empty database of Prefect's; a server that makes its own takes 9 s to start."""

    def make(folder: Path) -> None:
        prefect = str(COMMAND.with_name("prefect"))
        command = [prefect, "server", "database", "upgrade", "--yes"]
        subprocess.run(
            command,
            env=_environment(folder),
            check=True,
            capture_output=True,
            timeout=stretched(TABLES_LIMIT_S),
        )

    return made_once(shared, "prefect-tables", make) / "prefect.db"


@contextmanager
def prefect_server(shared: Path, tables: Path, name: str) -> Iterator[Kept]:
    """Give the Prefect server of that name, which all who name it share."""

    def command(folder: Path) -> list[str]:
        shutil.copy(tables, folder)
        port = next_port(folder.parent)
        (folder / "port").write_text(str(port), "utf-8")  # known from here on
        return [sys.executable, "-m", "pilotline.flows.server.serving", str(port), "temporary"]

    with kept_server(shared, name, command, _address, _environment) as kept:
        yield kept


def answers(url: str) -> bool:
    """Tell whether a Prefect server answers at ``url``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def _environment(folder: Path) -> dict[str, str]:
    return environment_of(folder, {"PREFECT_HOME": str(folder), "DO_NOT_TRACK": "1"})


def _address(folder: Path) -> dict[str, str] | None:
    url = f"http://127.0.0.1:{(folder / 'port').read_text('utf-8')}/api"
    return {"url": url} if answers(url) else None
