"""For processes that a command starts: end when it does, however it ended."""

import os
import signal
import threading


def end_with_parent() -> None:
    """Send this process SIGTERM once its standard input closes, which a parent's end does."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock, held here, would spoil the exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)
