"""The process of a temporary Prefect server: it ends when its standard input closes."""

import os
import signal
import sys
import threading


def main() -> None:
    """Serve Prefect's API on the port given as the first argument, on this machine only."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
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


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
