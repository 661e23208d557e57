"""The process of a temporary Prefect server: it ends when its standard input closes."""

import os
import sys

from flows.with_parent import end_with_parent


def main() -> None:
    """Serve Prefect's API on the port given as the first argument, on this machine only."""
    end_with_parent()
    # Prefect reads these when it is imported: no UI to build, no second server inside.
    os.environ["PREFECT_UI_ENABLED"] = "0"
    os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=2,
    )


if __name__ == "__main__":
    main()
