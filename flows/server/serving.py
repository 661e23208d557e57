"""The process of a Prefect server, the factory's or a temporary one; it ends when its parent does.

Run as ``python -m pilotline.flows.server.serving PORT [temporary]``.
"""

import os
import sys

from pilotline.flows.server.child import end_with_parent


def serve(port: int, log_level: str) -> None:
    """Serve Prefect on ``port`` of this machine only, until the parent ends."""
    end_with_parent()
    # Read when Prefect is imported: no second server inside.
    os.environ["PREFECT__SERVER_FINAL"] = "1"
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level=log_level,
        lifespan="on",
        timeout_graceful_shutdown=2,  # an open page holds its connection for ever
    )


def main() -> None:
    """Serve on the port given as the first argument; a temporary server has no UI."""
    temporary = sys.argv[2:] == ["temporary"]
    if temporary:
        # Prefect reads these when it is imported: no UI to build.
        os.environ["PREFECT_UI_ENABLED"] = "0"
        os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    serve(int(sys.argv[1]), "error" if temporary else "warning")


if __name__ == "__main__":
    main()
