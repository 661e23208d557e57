"""Environments are built from an index that only the system's own store vouches for."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.tasks.certificates import system_store, trusting
from tests.support.places import ROOT
from tests.support.servers.company import STORE, WITH_STORE, Company, company_index, make_wheel
from tests.support.servers.programs import own_mounts

TOOL = make_wheel("housetool", "1.0", {"housetool.py": "made = 'in house'\n"})
PEM = "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"
# pip fetches the wheels of a lock to keep them; uv builds an environment from the index.
KEEP = """
import sys
from pathlib import Path
from pilotline.registry import Registry
from pilotline.tasks.sandbox.wheelhouse import Wheelhouse
folder, lock = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
with Registry(f"sqlite:///{folder}/registry.db", folder / "blobs") as registry:
    print("kept", Wheelhouse(registry, folder / "scratch").keep(lock, "churn", lambda text: None))
"""
BUILD = """
import sys
from pathlib import Path
from pilotline.tasks.sandbox.environments import built_environment
folder, lock = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
with built_environment(folder / "scratch", "churn", lock) as environment:
    print("built from", environment.origin)
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    with company_index(tmp_path_factory.mktemp("company"), TOOL) as company:
        yield company


@pytest.fixture(scope="module")
def another_store() -> list[str]:
    """Return the command before a folder of certificates and a command that shall have it."""
    if not STORE.is_dir():
        pytest.skip(f"this system keeps no certificates in {STORE}")
    return [*own_mounts(), "sh", "-c", WITH_STORE, "sh"]


def run(script: str, command: list[str], company: Company, folder: Path, pem: bytes) -> str:
    """Return what a machine says that has nothing set but the index, and ``pem`` in its store."""
    store, lock = folder / "store", folder / "requirements.lock"
    store.mkdir()
    (store / "ca-certificates.crt").write_bytes(pem)
    lock.write_text(TOOL.locked)
    done = subprocess.run(
        [*command, str(store), sys.executable, "-c", script, str(folder), str(lock)],
        env={
            "PATH": os.defpath,
            "HOME": str(folder),
            "UV_DEFAULT_INDEX": company.index,
            "UV_HTTP_RETRIES": "0",
            "PIP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(("script", "said"), [(KEEP, "kept 1\n"), (BUILD, "built from index\n")])
def test_a_companys_certificate_in_the_systems_store_is_trusted(
    another_store: list[str], company: Company, tmp_path: Path, script: str, said: str
) -> None:
    assert run(script, another_store, company, tmp_path, company.certificate) == said


def test_wheels_from_an_index_that_the_store_does_not_vouch_for_are_not_kept(
    another_store: list[str], company: Company, tmp_path: Path
) -> None:
    assert "Its wheels are not kept" in run(KEEP, another_store, company, tmp_path, b"")


def test_without_a_store_uv_trusts_its_own_roots_and_says_what_to_do(
    another_store: list[str], company: Company, tmp_path: Path
) -> None:
    """Told to use the empty store, it would not even begin."""
    said = run(BUILD, another_store, company, tmp_path, b"")
    assert "invalid peer certificate: UnknownIssuer" in said
    assert "name its file in SSL_CERT_FILE." in said


@pytest.mark.parametrize(
    "bundle",
    [
        "etc/ssl/certs/ca-certificates.crt",
        "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "etc/ssl/ca-bundle.pem",
        "etc/ssl/cert.pem",
        "etc/ssl/certs/3513523f.0",  # what OpenSSL looks for in a folder
    ],
)
def test_a_systems_store_is_used(tmp_path: Path, bundle: str) -> None:
    path = tmp_path / bundle
    path.parent.mkdir(parents=True)
    path.write_text(PEM)
    known = path.parent if path.suffix == ".0" else path
    assert trusting({"HOME": "/h"}, tmp_path) == {
        "HOME": "/h",
        "UV_SYSTEM_CERTS": "1",
        "REQUESTS_CA_BUNDLE": str(known),
    }


@pytest.mark.parametrize("left", ["ca-certificates.crt", "3513523f.0", "README"])
def test_a_system_without_certificates_leaves_uv_and_pip_to_their_own(
    tmp_path: Path, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert trusting({"HOME": "/h"}, tmp_path) == {"HOME": "/h"}
    folder = tmp_path / "etc/ssl/certs"
    folder.mkdir(parents=True)
    assert system_store(tmp_path) is None
    (folder / left).write_text(PEM if left == "README" else "")
    assert trusting({"HOME": "/h"}, tmp_path) == {"HOME": "/h"}


def test_macos_has_a_store_that_is_not_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert trusting({}, tmp_path) == {"UV_SYSTEM_CERTS": "1"}


@pytest.mark.parametrize(
    ("chosen", "more"),
    [
        ({"UV_SYSTEM_CERTS": "0"}, {"REQUESTS_CA_BUNDLE": "BUNDLE"}),
        ({"UV_NATIVE_TLS": "0"}, {"REQUESTS_CA_BUNDLE": "BUNDLE"}),
        ({"SSL_CERT_DIR": "/own"}, {"REQUESTS_CA_BUNDLE": "BUNDLE"}),
        ({"SSL_CERT_FILE": "/own.pem"}, {"REQUESTS_CA_BUNDLE": "/own.pem"}),
        ({"REQUESTS_CA_BUNDLE": "/own.pem"}, {"UV_SYSTEM_CERTS": "1"}),
    ],
)
def test_what_the_user_chose_stays(
    tmp_path: Path, chosen: dict[str, str], more: dict[str, str]
) -> None:
    bundle = tmp_path / "etc/ssl/cert.pem"
    bundle.parent.mkdir(parents=True)
    bundle.write_text(PEM)
    expected = {name: value.replace("BUNDLE", str(bundle)) for name, value in more.items()}
    assert trusting(chosen, tmp_path) == chosen | expected
