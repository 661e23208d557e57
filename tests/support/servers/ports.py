"""Ports for servers that must be told one: no two tests of a run are given the same."""

import fcntl
import random
import socket
from pathlib import Path

# Below what Linux, macOS and Windows take for outgoing connections, above what services have.
FIRST, LAST = 20_000, 32_000


def next_port(shared: Path) -> int:
    """Return a port that nobody listens on and that no other worker of the run was given."""
    with (shared / "ports").open("a+") as given:
        fcntl.flock(given, fcntl.LOCK_EX)
        given.seek(0)
        last = given.read().split()[-1:]
        port = int(last[0]) if last else random.randrange(FIRST, LAST)
        while not _is_free(port := port + 1 if port < LAST else FIRST):
            pass
        given.write(f"{port}\n")
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
