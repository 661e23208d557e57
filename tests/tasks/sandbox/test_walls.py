"""Isolation: what a machine gives, and how a child is started under it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotline.tasks.errors import IsolationError
from pilotline.tasks.lab.programs import FOLDER
from pilotline.tasks.sandbox.walls import (
    Places,
    Tier,
    compile_bytecode,
    launch_program,
    launch_python,
    probe_isolation,
    require_isolation,
)


@pytest.fixture
def without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide every program, and forget what was found out before and during the test."""
    monkeypatch.setenv("PATH", "")
    probe_isolation.cache_clear()
    yield
    probe_isolation.cache_clear()


def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "env", tmp_path / "model", tmp_path / "work", tmp_path / "out", None)


def test_bubblewrap_is_tier_a(bubblewrap: Tier) -> None:
    assert bubblewrap.walled
    assert require_isolation("A") == bubblewrap
    assert require_isolation("C") == bubblewrap


@pytest.mark.usefixtures("without_bubblewrap")
def test_less_than_the_policy_asks_for_is_refused() -> None:
    assert require_isolation("C") == Tier("C", "bubblewrap is not installed")
    with pytest.raises(
        IsolationError,
        match=r"^Isolation tier 'C': the policy asks for 'A' \(bubblewrap is not installed\)\. "
        r"Install bubblewrap, or lower \[isolation\] minimum in the policy\.$",
    ):
        require_isolation("A")


def test_behind_the_wall_the_folders_stand_at_fixed_places(tmp_path: Path) -> None:
    launch = launch_python(Tier("A", ""), places(tmp_path))
    assert (launch.model, launch.work, launch.out) == ("/model", "/work", "/out")
    assert launch.variables == {}  # bubblewrap sets the child's own
    words = " ".join(launch.command)
    assert f"--ro-bind {tmp_path}/model /model" in words
    assert f"--bind {tmp_path}/out /out" in words
    assert "--unshare-all --die-with-parent --new-session --clearenv --cap-drop ALL" in words


def test_without_a_wall_the_folders_stay_where_they_are(tmp_path: Path) -> None:
    launch = launch_python(Tier("C", ""), places(tmp_path))
    assert (launch.model, launch.out) == (str(tmp_path / "model"), str(tmp_path / "out"))
    assert launch.command[0] == str(tmp_path / "env" / "bin" / "python")
    assert "PILOTLINE_HOME" not in launch.variables
    assert launch.variables["HOME"] == str(tmp_path / "work")


def test_nothing_is_compiled_without_fixed_places(tmp_path: Path) -> None:
    compile_bytecode(Tier("C", ""), tmp_path / "env", tmp_path / "bytecode", ["/env/a.py"])
    assert not (tmp_path / "bytecode").exists()


def test_a_model_s_own_program_has_its_limits_and_leaves_no_core(tmp_path: Path) -> None:
    (tmp_path / "model" / FOLDER).mkdir(parents=True)
    limits = "ulimit -Sc; ulimit -Hc; ulimit -Hd; ulimit -Hf"
    told = ["/bin/sh", "-c", limits]
    launch = launch_program(Tier("C", ""), places(tmp_path), told, 64 << 20, 1 << 20)
    done = subprocess.run(
        launch.command, env=launch.variables, capture_output=True, text=True, check=True
    )
    # POSIX counts data in KiB, files in blocks of 512 bytes.
    assert done.stdout.split() == ["0", "0", str(64 << 10), str((1 << 20) // 512)]
