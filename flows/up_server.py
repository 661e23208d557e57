"""The process of the factory's Prefect server, with its UI; it ends when its parent does."""

import os
import sys

from flows.with_parent import end_with_parent


def main() -> None:
    """Serve Prefect's API and UI on the port given as the first argument, on this machine only."""
    end_with_parent()
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        timeout_graceful_shutdown=2,  # an open page holds its connection for ever
    )


if __name__ == "__main__":
    main()
