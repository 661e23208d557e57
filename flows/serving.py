"""Serving Prefect in a process of its own, which ends when its parent does."""

import os

from flows.with_parent import end_with_parent


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
