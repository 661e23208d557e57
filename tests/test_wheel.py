"""What is installed: the wheel, whole and alone, and the checkout as it lies."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.places import ROOT

FOLDERS = ("flows", "tasks", "registry", "lab", "deployments")
FILES = ("pyproject.toml", "README.md", "LICENSE", "requirements.lock")
# What a build runs, as pip does; with what is installed here, so that nothing is fetched.
BUILD = "import setuptools.build_meta as s, sys; s.build_{}(sys.argv[1])"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a build reads of this checkout, with what Python compiled there."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (*FOLDERS, "pilotline"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    compiled = folder / "lab" / "models" / "flight-delay" / "__pycache__"
    compiled.mkdir(exist_ok=True)
    (compiled / "model.cpython-311.pyc").write_bytes(b"compiled")
    return folder


def build(what: str, folder: Path, into: Path) -> Path:
    """Build from ``folder``; return the one file that came of it."""
    into.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(what), into],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = into.iterdir()
    return built


def tracked() -> set[str]:
    """Return what belongs in the wheel: what git tracks, or would."""
    words = ("--cached", "--others", "--exclude-standard")
    done = subprocess.run(
        ["git", "ls-files", *words, *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {name for name in done.stdout.splitlines() if (ROOT / name).exists()}
    own = {"pilotline/__init__.py", "pilotline/requirements.lock"}
    return own | {f"pilotline/{name}" for name in names}


def contents(wheel: Path) -> set[str]:
    """Return the files of a wheel but for those that say what it is."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    facts = f"pilotline-{version}.dist-info"
    assert {name.split("/")[0] for name in names} == {"pilotline", facts}
    return {name for name in names if name.startswith("pilotline/")}


def test_the_wheel_has_what_git_tracks_from_the_checkout_and_from_the_source_distribution(
    checkout: Path, tmp_path: Path
) -> None:
    wheel = contents(build("wheel", checkout, tmp_path / "wheel"))
    assert wheel == tracked()
    archive = build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("pilotline-*")
    assert contents(build("wheel", unpacked, tmp_path / "again")) == wheel


@pytest.mark.parametrize("name", ["flows", "tasks", "registry", "lab", "deployments"])
def test_the_checkout_that_is_installed_puts_nothing_but_pilotline_on_the_path(
    name: str, tmp_path: Path
) -> None:
    assert said_by(f"import {name}", tmp_path) == f"ModuleNotFoundError: No module named '{name}'"


@pytest.mark.parametrize("name", ["flows", "tasks", "registry"])
def test_a_second_name_is_refused_where_python_would_find_it(name: str) -> None:
    assert said_by(f"import {name}", ROOT) == (
        f"ImportError: '{name}' is pilotline.{name}; a second name would load it twice."
    )


def test_one_name_is_found_from_everywhere(tmp_path: Path) -> None:
    assert said_by("import pilotline.tasks, pilotline.flows, pilotline.registry", tmp_path) == ""


def said_by(code: str, folder: Path) -> str:
    """Return the last line of what Python complains of when it runs ``code`` in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stderr.strip().splitlines()[-1] if done.stderr else ""
