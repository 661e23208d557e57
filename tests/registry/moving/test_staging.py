"""Staging folders go with their process, or with the next import."""

import os
import subprocess
from pathlib import Path

import pytest

from pilotline.registry.moving.staging import staging_folder, sweep_staging


@pytest.fixture
def dead() -> int:
    """Return the number of a process that has ended."""
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_the_folder_is_gone_at_the_end() -> None:
    with staging_folder() as folder:
        assert list(folder.iterdir()) == []
        assert str(os.getpid()) in folder.name
    assert not folder.exists()


def test_what_a_killed_import_left_is_removed_and_nothing_else(tmp_path: Path, dead: int) -> None:
    left = tmp_path / f"pilotline-import-{dead}-abc"
    (left / "members").mkdir(parents=True)
    stay = [f"pilotline-import-{os.getpid()}-abc", "pilotline-import-abc", f"other-{dead}-abc"]
    for name in stay:
        (tmp_path / name).mkdir()
    link = tmp_path / f"pilotline-import-{dead}-link"
    link.symlink_to(tmp_path / stay[2])
    assert sweep_staging(tmp_path) == 1
    assert {path.name for path in tmp_path.iterdir()} == {*stay, link.name}
