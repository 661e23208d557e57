"""A process that is kept running: started again when it dies, with a back-off and a limit."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pilotline.tasks.errors import SettingsError

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
MOST_RESTARTS = 6  # in a row; with the back-off some minutes of trying
STEADY_S = 300.0  # who ran for so long begins at nought again
LOG_LINES = 12
MAX_LOG_BYTES = 20 * 2**20  # then the log of before is kept beside a new one


class Kept:
    """One process that is to run all the time."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.restarts = 0
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._again_at: float | None = None

    def start(self) -> None:
        """Start it; its standard input stays open as long as this process lives."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            os.replace(self.log, self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is the supervisor's to handle
            )
        self._started, self._again_at = time.monotonic(), None

    @property
    def pid(self) -> int | None:
        """Its number while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def look(self) -> str:
        """Start it again where its time has come; return what happened, or nothing.

        Raises:
            SettingsError: it died too often.
        """
        if self.pid is not None:
            if self.restarts and time.monotonic() - self._started > STEADY_S:
                self.restarts = 0
            return ""
        if self._again_at is None:
            return self._plan_restart()
        if time.monotonic() >= self._again_at:
            self.start()
            return f"{self.name} started again"
        return ""

    def _plan_restart(self) -> str:
        assert self._process is not None
        status = self._process.returncode
        if self.restarts >= MOST_RESTARTS:
            raise SettingsError(
                f"The {self.name}",
                f"ended {MOST_RESTARTS + 1} times in a row, last with status {status}",
                f"Its log is {str(self.log)!r}; the last lines:\n{self.tail()}",
            )
        wait = min(FIRST_WAIT_S * 2**self.restarts, LONGEST_WAIT_S)
        self.restarts += 1
        self._again_at = time.monotonic() + wait
        return f"{self.name} ended with status {status}; again in {wait:g} s"

    def stop(self, wait_s: float) -> None:
        """End it, gently at first."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        try:
            lines = self.log.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-LOG_LINES:])
