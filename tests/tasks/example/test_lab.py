"""The example's lab where somebody begins with nothing."""

from pathlib import Path

import pytest

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.example.lab import copy_lab
from tests.support.places import ROOT


def files(lab: Path) -> dict[str, bytes]:
    """Return the contents of all files in a lab but for what Python compiled there."""
    return {
        path.relative_to(lab).as_posix(): path.read_bytes()
        for path in lab.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_copy_is_the_project_s_own_lab_and_nothing_that_was_compiled(tmp_path: Path) -> None:
    lab = copy_lab(tmp_path)
    assert list(tmp_path.iterdir()) == [lab] == [tmp_path / "lab"]
    assert files(lab) == files(ROOT / "lab")
    assert not list(lab.rglob("__pycache__"))


@pytest.mark.parametrize("name", ["lab", "gone"])
def test_a_place_that_cannot_take_it_is_named_and_left_as_it_was(name: str, tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("in the way")
    folder = tmp_path if name == "lab" else tmp_path / "lab"
    with pytest.raises(SettingsError, match=r"^Folder '.*': cannot take the example's lab \(Not a"):
        copy_lab(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]
