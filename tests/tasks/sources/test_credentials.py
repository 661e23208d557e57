"""Where addresses come from, and what of them is never shown."""

import pytest

from pilotline.tasks.errors import LabError, SourceError
from pilotline.tasks.lab.addresses import check_url, scrub
from pilotline.tasks.sources.credentials import resolve_url


@pytest.mark.parametrize(
    "url",
    [
        "env:FACTS_URL",
        "block:secret/facts-url",
        "sqlite:///{home}/online.db",
        "postgresql://reader@server/facts",
    ],
)
def test_an_address_without_a_password_may_stand_in_a_file(url: str) -> None:
    check_url("dataset.toml [source]", url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:canary@server/facts",
        "postgresql://reader:can%61ry@server/facts",
        "postgresql://server/facts?user=reader&password=canary",
        "postgresql://reader:can/ary@server/facts",
        "s3://key:canary@bucket/{date}/*.csv",
    ],
)
def test_a_password_in_a_file_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(LabError, match=r'the url holds a password\. Write "env:NAME" or') as caught:
        check_url("dataset.toml [source]", url)
    assert "can" not in str(caught.value)


@pytest.mark.parametrize("url", ["block:json/facts", "block:secret/", "block:secret/a b"])
def test_only_prefect_secrets_are_known_as_blocks(url: str) -> None:
    with pytest.raises(LabError, match=r"names no Prefect secret"):
        check_url("dataset.toml [source]", url)


def test_a_variable_gives_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTS_URL", "postgresql://reader:canary@server/facts")
    assert resolve_url("facts", "env:FACTS_URL") == "postgresql://reader:canary@server/facts"
    assert resolve_url("facts", "sqlite:///x.db") == "sqlite:///x.db"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_named(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACTS_URL", raising=False)
    if value is not None:
        monkeypatch.setenv("FACTS_URL", value)
    with pytest.raises(
        SourceError, match=r"^Source of dataset 'facts': the variable 'FACTS_URL' is not set\. Set"
    ):
        resolve_url("facts", "env:FACTS_URL")


def test_a_secret_needs_a_prefect_server_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(SourceError, match=r"no Prefect server is named .* 'facts-url'\. Set PREFE"):
        resolve_url("facts", "block:secret/facts-url")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:can%2Fary@s/d", "FATAL can/ary or can%2Fary"),
        ("postgresql://u:can/ary@s/d", "FATAL can/ary or can%2Fary"),
        ("postgresql://s/d?password=can%2Fary&x=1", "FATAL can/ary or can%2Fary"),
        ("postgresql://u:can@ry@s/d", "FATAL can@ry or can%40ry"),
    ],
)
def test_a_password_is_hidden_however_it_is_written(url: str, said: str) -> None:
    assert scrub(said, url) == "FATAL *** or ***"
