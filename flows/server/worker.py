"""The process of the factory's worker, which starts each flow run; it ends when its parent does."""

import socket
import sys

from pilotline.flows.server.child import end_with_parent
from pilotline.flows.server.command import run_prefect


def worker_name(pool: str) -> str:
    """Return what the worker of this machine is called."""
    return f"{pool}-{socket.gethostname()}"


def main() -> None:
    """Work on the pool given as the first argument, as ``prefect worker start`` does."""
    end_with_parent()
    pool = sys.argv[1]
    names = ("--name", worker_name(pool), "--pool", pool)
    run_prefect(["worker", "start", "--type", "process", *names])


if __name__ == "__main__":
    main()
