"""Where the factory's own Prefect server tells browsers to ask."""

from pathlib import Path

import pytest

from pilotline.flows.server.settings import server_settings
from pilotline.tasks.home import find_home

OWN = "http://127.0.0.1:4200/api"
PROXY = "https://factory.example.org/api"
NAMES = ("PREFECT_SERVER_UI_API_URL", "PREFECT_UI_API_URL")


@pytest.mark.parametrize("name", NAMES)
def test_where_browsers_ask_stays_as_the_user_set_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, PROXY)
    settings = server_settings(find_home({"PILOTLINE_HOME": str(tmp_path)}, tmp_path), OWN)
    assert not set(settings) & set(NAMES)


def test_browsers_ask_the_server_itself_where_nothing_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    settings = server_settings(find_home({"PILOTLINE_HOME": str(tmp_path)}, tmp_path), OWN)
    assert settings["PREFECT_SERVER_UI_API_URL"] == OWN
