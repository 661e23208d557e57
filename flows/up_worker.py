"""The process of the factory's worker, which starts each flow run; it ends when its parent does."""

import socket
import sys

from flows.with_parent import end_with_parent


def main() -> None:
    """Work on the pool given as the first argument, as ``prefect worker start`` does."""
    end_with_parent()
    from prefect.cli import app

    pool, name = sys.argv[1], f"{sys.argv[1]}-{socket.gethostname()}"
    sys.argv[1:] = ["worker", "start", "--type", "process", "--name", name, "--pool", pool]
    app()


if __name__ == "__main__":
    main()
