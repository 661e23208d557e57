"""Locks that cannot or must not be built: the run fails in words; runs do not meet."""

import os
import subprocess
import tarfile
import threading
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from pilotline.registry.form.canonical import digest_bytes
from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.environments import built_environment
from tests.support.tasks.stage import Stage
from tests.tasks.sandbox.test_wheelhouse import six_of

ONLY_PINS = (
    r"^Environment of 'flight-delay': its lock says .*, expected name==version and hashes\. "
)
ZEROS = "0" * 64
METADATA = "Metadata-Version: 2.1\nName: spoilt\nVersion: 1.0\n"


@pytest.fixture
def six(stage: Stage) -> str:
    """Return what the example's lock says of one small package."""
    return six_of(stage.home.lab / "models" / "flight-delay" / "requirements.lock")


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of packages that is the only place uv may look, with an empty cache."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "sources"
    folder.mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def source_distribution(mark: Path) -> bytes:
    """Return a package that writes ``mark`` when it is built."""
    contents = {
        "spoilt-1.0/PKG-INFO": METADATA,
        "spoilt-1.0/setup.py": f"open({str(mark)!r}, 'w')\n",
    }
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, BytesIO(text.encode()))
    return packed.getvalue()


@pytest.mark.parametrize(
    "line",
    [
        "six @ git+https://127.0.0.1/six.git@" + "0" * 40 + f" --hash=sha256:{ZEROS}",
        f"six @ https://127.0.0.1/six-1.17.0-py2.py3-none-any.whl --hash=sha256:{ZEROS}",
        f"six @ file:///tmp/six-1.17.0-py2.py3-none-any.whl --hash=sha256:{ZEROS}",
        f"./six-1.17.0-py2.py3-none-any.whl --hash=sha256:{ZEROS}",
        "-e .",
        "--editable=.",
        "-r /etc/passwd",
        "-c /etc/passwd",
        "--index-url http://127.0.0.1:9/simple",
        "--extra-index-url=http://127.0.0.1:9/simple",
        "--find-links /tmp",
        "--no-binary :all:",
        "six",
        "six==1.17.0",
        f"six>=1.17.0 --hash=sha256:{ZEROS}",
        f"six==1.* --hash=sha256:{ZEROS}",
    ],
)
def test_a_lock_that_is_no_list_of_pins_is_refused(stage: Stage, six: str, line: str) -> None:
    stage.require_unbuilt(ONLY_PINS, stage.with_lock(f"{six}{line}\n".encode()))


def test_a_lock_whose_package_is_gone_says_so(stage: Stage, sources: Path) -> None:
    job = stage.with_lock(f"no-such-package==1.0 --hash=sha256:{ZEROS}\n".encode())
    stage.require_unbuilt(r"no-such-package.*A locked package is gone", job)


def test_a_lock_whose_package_has_another_hash_says_so(stage: Stage, sources: Path) -> None:
    with zipfile.ZipFile(sources / "spoilt-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("spoilt.py", "another = 'package'\n")
        wheel.writestr("spoilt-1.0.dist-info/METADATA", METADATA)
        wheel.writestr("spoilt-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("spoilt-1.0.dist-info/RECORD", "")
    lock = f"spoilt==1.0 --hash=sha256:{ZEROS}\n"
    stage.require_unbuilt(
        r"(?i)spoilt==1\.0.*hash mismatch.*A package was changed at its source",
        stage.with_lock(lock.encode()),
    )


def test_a_package_that_needs_a_build_is_never_built(
    stage: Stage, sources: Path, tmp_path: Path
) -> None:
    package = source_distribution(tmp_path / "built")
    (sources / "spoilt-1.0.tar.gz").write_bytes(package)
    lock = f"spoilt==1.0 --hash=sha256:{digest_bytes(package)}\n"
    stage.require_unbuilt(r"spoilt.*has no wheel for this Python", stage.with_lock(lock.encode()))
    assert not (tmp_path / "built").exists()


def test_runs_that_build_one_environment_at_once_do_not_meet(
    workshop: Home, tmp_path: Path, six: str
) -> None:
    versions: list[str] = []
    problems: list[EnvironmentBuildError] = []
    gate = threading.Barrier(4)

    def build() -> None:
        gate.wait()
        try:
            with built_environment(tmp_path / "scratch", "churn", six.encode()) as environment:
                code = "import six; print(six.__version__)"
                command = [str(environment.python), "-I", "-c", code]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                versions.append(done.stdout)
        except EnvironmentBuildError as err:
            problems.append(err)

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert versions == ["1.17.0\n"] * 4
    assert list((tmp_path / "scratch").iterdir()) == []
