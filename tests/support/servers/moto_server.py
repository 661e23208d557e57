"""An S3 server in a process of its own: ``python -m tests.support.servers.moto_server FILE``.

It takes a port that is free and writes its endpoint into FILE when it answers.
"""

import signal
import sys
from pathlib import Path

from moto.server import ThreadedMotoServer


def serve(said: Path) -> None:
    """Serve until the process is ended."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    unfinished = said.with_suffix(".part")
    unfinished.write_text(f"http://{host}:{port}", "utf-8")
    unfinished.rename(said)
    while True:  # a signal ends it
        signal.pause()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
