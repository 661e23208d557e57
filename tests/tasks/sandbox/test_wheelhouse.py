"""Wheels of a lock: kept with their hashes checked, laid out again without cache and index."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import DigestMismatchError
from pilotline.registry.record.wheels import list_wheels
from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.wheelhouse import Wheelhouse, locked_packages
from tests.support.places import ROOT

ELSEWHERE = "http://127.0.0.1:9/simple"  # the discard port: nothing answers


def six_of(lock: Path) -> str:
    """Return what the example's lock says of six, a small wheel for any machine."""
    found = re.search(r"^six==.*?(?=^[a-z]|^ +# via)", lock.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0].rstrip(" \\\n") + "\n"


@pytest.fixture
def lock() -> bytes:
    """Return a lock of one package, and one that only Windows needs."""
    example = ROOT / "lab/models/flight-delay/requirements.lock"
    other = f"colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:{'0' * 64}\n"
    return (six_of(example) + other).encode()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Return an empty registry."""
    with Registry(f"sqlite:///{tmp_path}/registry.db", tmp_path / "blobs") as opened:
        yield opened


@pytest.fixture
def house(registry: Registry, tmp_path: Path) -> Wheelhouse:
    """Return its wheelhouse."""
    return Wheelhouse(registry, tmp_path / "scratch")


@pytest.fixture
def cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give uv an empty cache and no index that answers."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", ELSEWHERE)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def test_what_this_machine_needs_is_kept_once(
    house: Wheelhouse, registry: Registry, lock: bytes, tmp_path: Path
) -> None:
    said: list[str] = []
    assert [package.requirement for package in house.missing(lock)] == ["six==1.17.0"]
    assert house.keep(lock, "churn", said.append) == 1
    assert house.keep(lock, "churn", said.append) == 0
    assert house.missing(lock) == []
    with registry.read() as session:
        (wheel,) = list_wheels(session)
    assert wheel.filename == "six-1.17.0-py2.py3-none-any.whl"
    assert wheel.sha256.encode() in lock
    assert len(said) == 1
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_environment_is_built_from_kept_wheels_without_cache_and_index(
    house: Wheelhouse, lock: bytes, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    house.keep(lock, "churn", print)
    request.getfixturevalue("cut_off")
    with (
        pytest.raises(EnvironmentBuildError, match="No index answers"),
        built_environment(tmp_path / "scratch", "churn", lock),
    ):
        raise AssertionError("it was built without the kept wheels")
    with built_environment(tmp_path / "scratch", "churn", lock, wheelhouse=house) as environment:
        assert environment.origin == "kept wheels"
        command = [str(environment.python), "-I", "-c", "import six; print(six.__version__)"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == "1.17.0\n"


def test_a_damaged_wheel_is_found_before_it_is_installed(
    house: Wheelhouse,
    registry: Registry,
    lock: bytes,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    house.keep(lock, "churn", print)
    with registry.read() as session:
        digest = list_wheels(session)[0].sha256
    blob = tmp_path / "blobs" / digest[:2] / digest
    blob.chmod(0o600)
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.write_bytes(data)
    request.getfixturevalue("cut_off")
    with (
        pytest.raises(DigestMismatchError, match=digest[:12]),
        built_environment(tmp_path / "scratch", "churn", lock, wheelhouse=house),
    ):
        raise AssertionError("it was built")
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.usefixtures("cut_off")
def test_without_an_index_nothing_is_kept_and_the_reason_is_said(
    house: Wheelhouse, registry: Registry, lock: bytes, tmp_path: Path
) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"'churn': .*Its wheels are not kept; check"):
        house.keep(lock, "churn", print)
    assert list(registry.blobs.list()) == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_file_with_another_hash_is_not_kept(
    house: Wheelhouse, registry: Registry, lock: bytes
) -> None:
    wrong = re.sub(rb"sha256:[0-9a-f]{8}", b"sha256:00000000", lock)
    with pytest.raises(EnvironmentBuildError, match=r"(?i)hash"):
        house.keep(wrong, "churn", print)
    assert list(registry.blobs.list()) == []


def test_a_wheel_for_another_machine_does_not_count_as_kept(
    house: Wheelhouse, registry: Registry, lock: bytes
) -> None:
    from pilotline.registry.record.wheels import Wheel, put_wheel

    digest = sorted(locked_packages(lock)[0].hashes)[0]
    with registry.write() as session:
        name = "six-1.17.0-cp311-cp311-win_amd64.whl"
        put_wheel(session, Wheel(sha256=digest, filename=name, size=1))
    assert [package.requirement for package in house.missing(lock)] == ["six==1.17.0"]


def test_a_wheel_kept_under_another_package_s_name_is_kept_again_under_its_own(
    house: Wheelhouse, registry: Registry, lock: bytes, tmp_path: Path
) -> None:
    house.keep(lock, "churn", print)
    with registry.write() as session:
        (wheel,) = list_wheels(session)
        wheel.filename = "zzz-9-py3-none-any.whl"
    (tmp_path / "laid").mkdir()
    assert house.lay_out(lock, tmp_path / "laid") == 0
    assert house.keep(lock, "churn", print) == 1
    assert house.lay_out(lock, tmp_path / "laid") == 1
    assert [path.name for path in (tmp_path / "laid").iterdir()] == [
        "six-1.17.0-py2.py3-none-any.whl"
    ]
