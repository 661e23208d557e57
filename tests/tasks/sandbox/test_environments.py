"""Transient environments: built from hashes, torn down in every case."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.environments import (
    built_environment,
    interpreter,
    machine,
    sweep_scratch,
)


def lock_of(home: Home) -> bytes:
    return (home.lab / "models" / "flight-delay" / "requirements.lock").read_bytes()


def test_an_environment_holds_what_the_lock_pins_and_goes_away(
    workshop: Home, tmp_path: Path
) -> None:
    with built_environment(tmp_path, "churn", lock_of(workshop)) as environment:
        assert environment.folder.name.startswith(f"run-{os.getpid()}-")
        code = "import importlib.metadata as m; print(m.version('numpy'))"
        said = subprocess.run(
            [environment.python, "-I", "-c", code], capture_output=True, text=True, check=True
        )
        assert f"numpy=={said.stdout.strip()} ".encode() in lock_of(workshop)
        assert environment.origin == "cache"  # it is warm by now
    assert list(tmp_path.iterdir()) == []
    assert environment.teardown_s[0] > 0


def test_an_environment_goes_away_after_an_error_too(workshop: Home, tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        built_environment(tmp_path, "churn", lock_of(workshop)),
    ):
        raise KeyError("any")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "lock", [b"numpy\n", b"numpy==2.0.0\n", b"no such thing\n", b"-r elsewhere.txt\n"]
)
def test_a_lock_that_cannot_be_built_is_an_error_and_leaves_nothing(
    tmp_path: Path, lock: bytes
) -> None:
    with (
        pytest.raises(EnvironmentBuildError, match=r"^Environment of 'churn': .+\. Make the lock"),
        built_environment(tmp_path, "churn", lock),
    ):
        raise AssertionError("it was built")
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(EnvironmentBuildError, match=r"no scratch folder \(.*Free space or fix"),
        built_environment(tmp_path / "file" / "scratch", "churn", b""),
    ):
        raise AssertionError("it was built")


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"run-{pid}-x" / "env").mkdir(parents=True)
    assert sweep_scratch(tmp_path) == 1
    assert [folder.name for folder in tmp_path.iterdir()] == [f"run-{os.getpid()}-x"]


def test_what_a_process_left_that_ended_and_nobody_asked_after_is_swept(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it ended, and stays listed
    assert Path(f"/proc/{child.pid}").exists()
    (tmp_path / f"run-{child.pid}-x").mkdir()
    assert sweep_scratch(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    child.wait()


def test_interpreter_and_machine_are_named_as_the_system_names_them() -> None:
    assert interpreter().split()[1] == ".".join(platform.python_version_tuple()[:2])
    assert machine() == f"{platform.system().lower()} {platform.machine()}"
