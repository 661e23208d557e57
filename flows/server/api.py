"""Asking a Prefect server by its REST interface, without Prefect's own import of a second."""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from pilotline.tasks.errors import SettingsError

TIMEOUT_S = 15
BUSY = 503  # what it answers when another of its requests holds the database (Prefect 3.9.1)
BUSY_WAITS_S = (0.5, 1.0, 2.0, 4.0)
PAGE = 200  # Prefect gives no more at once
NOT_KNOWN, NOT_ALLOWED = 401, 403
AUTH, KEY = "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"


class _BusyError(SettingsError):
    """The server could not do it at this moment."""


class PrefectApi:
    """One server's REST interface."""

    def __init__(self, url: str, environment: Mapping[str, str] = os.environ) -> None:
        """Ask at ``url``, with the credentials that ``environment`` has for it.

        Raises:
            SettingsError: what it has cannot be sent.
        """
        self.url = url.rstrip("/")
        self.silent = False  # whether nobody answered the last time
        self._credentials = find_credentials(environment)

    def answers(self) -> bool:
        """Tell whether a Prefect server answers there."""
        try:
            return self._send("GET", "/health", None, 2) is True
        except SettingsError:
            return False

    def check_version(self) -> str:
        """Return the server's version, which must be the one that is installed here.

        Raises:
            SettingsError: it is another one, or no server answers.
        """
        found, own = str(self.get("/admin/version")), version("prefect")
        if found != own:
            raise SettingsError(
                f"Prefect server {self.url!r}",
                f"is version {found}, expected {own}",
                f"Run that server with prefect=={own}, or name another one.",
            )
        return found

    def get(self, path: str) -> Any:
        """Return what is at ``path``, None where nothing is."""
        return self._send("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """Send ``body`` and return the answer."""
        return self._send("POST", path, body)

    def patch(self, path: str, body: Any) -> None:
        """Change what is at ``path``."""
        self._send("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Remove what is at ``path``; that it is gone already is fine."""
        self._send("DELETE", path, None)

    def list_all(self, path: str, body: dict[str, Any]) -> list[Any]:
        """Return every page of a filter."""
        found: list[Any] = []
        while True:
            page = self.post(path, body | {"limit": PAGE, "offset": len(found)})
            found += page
            if len(page) < PAGE:
                return found

    def _send(self, method: str, path: str, body: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Send a request, again where the server says that its SQLite file was locked."""
        for wait_s in BUSY_WAITS_S:
            try:
                return self._send_once(method, path, body, timeout_s)
            except _BusyError:
                time.sleep(wait_s)
        return self._send_once(method, path, body, timeout_s)

    def _send_once(self, method: str, path: str, body: Any, timeout_s: float) -> Any:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"content-type": "application/json"},
        )
        for header in self._credentials.values():
            request.add_unredirected_header("authorization", header)  # for this server alone
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                text = reply.read()
        except urllib.error.HTTPError as err:
            self.silent = False
            if err.code == 404 and method in ("GET", "DELETE"):
                return None
            if err.code == BUSY:
                raise _BusyError(f"Prefect server {self.url!r}", "is busy", "Try again.") from err
            said = err.read().decode(errors="replace")[:300]
            if err.code in (NOT_KNOWN, NOT_ALLOWED):
                raise self._refusal(err.code, f"{method} {path}", said) from err
            raise SettingsError(
                f"Prefect server {self.url!r}",
                f"refused {method} {path} ({err.code}: {said})",
                "Is it the version that is installed here?",
            ) from err
        except (OSError, ValueError) as err:
            self.silent = True
            raise SettingsError(
                f"Prefect server {self.url!r}", f"does not answer ({err})", "Is it running?"
            ) from err
        self.silent = False
        return json.loads(text) if text else None

    def _refusal(self, code: int, what: str, said: str) -> SettingsError:
        """Return the error for one who is not known there, or may not do that."""
        held, server = next(iter(self._credentials), ""), f"Prefect server {self.url!r}"
        remedy = f"Set {held or f'{AUTH} or {KEY}'} to what that server expects."
        if code == NOT_ALLOWED:
            return SettingsError(server, f"does not allow {what} ({code}: {said})", remedy)
        if held:
            return SettingsError(server, f"does not take what {held} says ({code})", remedy)
        return SettingsError(server, f"asks for credentials, and none are set ({code})", remedy)


def find_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header that says who asks, by the variable it is made of; as Prefect's client.

    Raises:
        SettingsError: the key has characters that no header has, as a line's end; it is not shown.
    """
    if text := environment.get(AUTH):
        return {AUTH: f"Basic {base64.b64encode(text.encode('utf-8', 'surrogateescape')).decode()}"}
    key = environment.get(KEY, "")
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(KEY, "has characters that no key has", "Correct or unset it.")
    return {KEY: f"Bearer {key}"} if key else {}


def quote(name: str) -> str:
    """Return ``name`` as part of a path."""
    return urllib.parse.quote(name, safe="")
