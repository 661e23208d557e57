"""The process of the factory's worker, which starts each flow run; it ends when its parent does."""

import os
import socket
import sys

from flows.logs import JsonLines, way_of
from flows.with_parent import end_with_parent


def main() -> None:
    """Work on the pool given as the first argument, as ``prefect worker start`` does."""
    end_with_parent()
    if way_of(os.environ) == "json":  # Prefect's command prints, and passes on what flows print
        sys.stdout, sys.stderr = JsonLines(sys.stdout), JsonLines(sys.stderr)
    from prefect.cli import app

    pool, name = sys.argv[1], f"{sys.argv[1]}-{socket.gethostname()}"
    sys.argv[1:] = ["worker", "start", "--type", "process", "--name", name, "--pool", pool]
    app()


if __name__ == "__main__":
    main()
