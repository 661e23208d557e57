"""Asking a server that wants to know who asks: what it is sent, what is said when it refuses."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from pilotline.flows.server.api import PrefectApi
from pilotline.tasks.errors import SettingsError
from tests.support.servers.local import LocalServer

# RFC 7617, section 2: the header for this user and password.
PERSON, BASIC = "Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


class Guard(LocalServer):
    """A server that answers everybody alike and keeps who they say they are."""

    def __init__(self, status: int = 200, elsewhere: str = "", version: str = "3.9.1") -> None:
        told: list[str | None] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.append(self.headers["Authorization"])
                self.send_response(status)
                if elsewhere:
                    self.send_header("Location", elsewhere)
                self.end_headers()
                self.wfile.write(json.dumps(version).encode())

        super().__init__(Handler)
        self.told = told
        self.url = f"http://127.0.0.1:{self.port}/api"


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Return a server that lets everybody in."""
    with Guard() as running:
        yield running


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({"PREFECT_API_AUTH_STRING": PERSON}, BASIC),
        ({"PREFECT_API_KEY": "pnu_canary"}, "Bearer pnu_canary"),
        ({"PREFECT_API_AUTH_STRING": PERSON, "PREFECT_API_KEY": "pnu_canary"}, BASIC),
        ({"PREFECT_API_AUTH_STRING": "", "PREFECT_API_KEY": ""}, None),
        ({}, None),
    ],
)
def test_a_server_is_told_who_asks_as_prefects_client_tells_it(
    guard: Guard, environment: dict[str, str], header: str | None
) -> None:
    PrefectApi(guard.url, environment).get("/admin/version")
    assert guard.told == [header]


def test_what_the_process_was_started_with_counts(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", PERSON)
    PrefectApi(guard.url).get("/admin/version")
    assert guard.told == [BASIC]


def test_another_server_that_it_points_to_is_not_told_who_asks(guard: Guard) -> None:
    with Guard(302, guard.url) as pointing:
        PrefectApi(pointing.url, {"PREFECT_API_AUTH_STRING": PERSON}).get("/admin/version")
    assert (pointing.told, guard.told) == ([BASIC], [None])


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {},
            "asks for credentials, and none are set (401). "
            "Set PREFECT_API_AUTH_STRING or PREFECT_API_KEY to what that server expects.",
        ),
        (
            {"PREFECT_API_AUTH_STRING": PERSON},
            "does not take what PREFECT_API_AUTH_STRING says (401). "
            "Set PREFECT_API_AUTH_STRING to what that server expects.",
        ),
    ],
)
def test_a_server_that_does_not_know_who_asks_is_said(
    environment: dict[str, str], said: str
) -> None:
    with Guard(401) as guard, pytest.raises(SettingsError) as refused:
        PrefectApi(guard.url, environment).check_version()
    assert str(refused.value) == f"Prefect server '{guard.url}': {said}"


def test_a_server_that_does_not_allow_it_is_said_with_its_words() -> None:
    with Guard(403) as guard, pytest.raises(SettingsError) as refused:
        PrefectApi(guard.url, {"PREFECT_API_KEY": "pnu_canary"}).check_version()
    assert str(refused.value) == (
        f"Prefect server '{guard.url}': does not allow GET /admin/version (403: \"3.9.1\"). "
        "Set PREFECT_API_KEY to what that server expects."
    )


@pytest.mark.parametrize("key", ["pnu_canary\n", "pnu_cänary"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(guard: Guard, key: str) -> None:
    with pytest.raises(SettingsError, match=r"^PREFECT_API_KEY: has characters") as refused:
        PrefectApi(guard.url, {"PREFECT_API_KEY": key})
    assert "nary" not in str(refused.value)


def test_a_server_is_silent_until_it_answers_again(guard: Guard) -> None:
    api = PrefectApi(guard.url, {})
    api.url = "http://127.0.0.1:9/api"  # "discard"; nothing listens there
    assert (api.answers(), api.silent) == (False, True)
    api.url = guard.url
    api.get("/admin/version")
    assert not api.silent


def test_a_server_of_another_version_is_refused() -> None:
    said = r"is version 3\.4\.1, expected 3\.9\.1"
    with Guard(version="3.4.1") as older, pytest.raises(SettingsError, match=said):
        PrefectApi(older.url, {}).check_version()


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SettingsError, match="does not answer"):
        PrefectApi("http://127.0.0.1:9/api", {}).check_version()
