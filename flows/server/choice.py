"""Which Prefect server a command uses: one that is named, that of ``pilotline up``, or its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import MutableMapping
from types import TracebackType
from typing import Self

from pilotline.flows.server.facts import find_up
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import Home

START_WAIT_S = 90  # a fresh database needs about 10 s on two cores, more on a busy machine
STOP_WAIT_S = 5
POLL_S = 0.05
GUARD = "PREFECT_SERVER_API_AUTH_STRING"  # what a server asks for; one of our own asks for nothing
FULL_BYTES = 16 * 2**20  # less than the server wants for its database and log
# What makes Prefect's own lines, and ours in its processes, go through our handlers. Prefect takes
# each entry of its logging.yml from a variable of that name.
FOR_PREFECT = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "pilotline",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": "pilotline.flows.screen.logs.ToStream",
    "PREFECT_LOGGING_HANDLERS_API_CLASS": "pilotline.flows.server.logs_at_server.ToServer",
    # A line that belongs to no run has no page to stand on.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


def prepare_environment(home: Home, environment: MutableMapping[str, str]) -> None:
    """Set what Prefect reads when it is imported; call it before that.

    The user's own profiles are left out: a logged-in profile would run our flows at the user's
    server (Prefect 3.9.1). Only ``PREFECT_API_URL`` in the environment itself counts.
    """
    for name in ("PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        environment.pop(name, None)
    if "PREFECT_API_URL" not in environment:
        for name in ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
            environment.pop(name, None)
    environment["PREFECT_HOME"] = str(home.prefect)
    environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    environment["DO_NOT_TRACK"] = "1"
    environment["GX_ANALYTICS_ENABLED"] = "false"
    # Prefect's own lines stay in the server; what a person should see is said by the command.
    environment.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    for name, value in FOR_PREFECT.items():
        environment.setdefault(name, value)
    environment.setdefault("PREFECT_RESULTS_DEFAULT_SERIALIZER", "json")  # the default is pickle


class PrefectServer:
    """A running Prefect server for the length of a ``with`` statement.

    The process starts at once and is waited for where it is needed first, so that other work
    overlaps with its start.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home.prefect / "server.log"
        self._named = "PREFECT_API_URL" in os.environ
        running = None if self._named else find_up(home)
        found = running.api_url if running is not None and running.ready else ""
        self.url = os.environ.get("PREFECT_API_URL", found)
        self.temporary = not self.url

    def __enter__(self) -> Self:
        if not self.temporary:
            os.environ["PREFECT_API_URL"] = self.url  # first: what goes with it is kept then
        prepare_environment(self._home, os.environ)
        if not self._named:
            os.environ.pop("PREFECT_API_KEY", None)  # of another server
        if not self.temporary:
            return self
        self._home.prefect.mkdir(parents=True, exist_ok=True)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pilotline.flows.server.serving", str(port), "temporary"],
                env={name: value for name, value in os.environ.items() if name != GUARD},
                stdin=subprocess.PIPE,  # it ends when this closes, however we end
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours to handle first
            )
        os.environ["PREFECT_API_URL"] = self.url
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._named:
            os.environ.pop("PREFECT_API_URL", None)
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            SettingsError: it does not, or it ended.
        """
        until = time.monotonic() + (START_WAIT_S if self.temporary else STOP_WAIT_S)
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                if self._process is not None and self._process.poll() is not None:
                    raise SettingsError(
                        "The temporary Prefect server",
                        f"ended with status {self._process.returncode}",
                        self._advise(),
                    ) from None
                time.sleep(POLL_S)
        remedy = self._advise() if self.temporary else "Start it, or unset it."
        raise SettingsError(f"Prefect server {self.url!r}", "does not answer", remedy)

    def _advise(self) -> str:
        free = shutil.disk_usage(self._home.root).free
        if free < FULL_BYTES:
            return f"The disk of {str(self._home.root)!r} is full ({free / 2**20:.1f} MiB free)."
        return f"Its log is {str(self._log)!r}."


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
