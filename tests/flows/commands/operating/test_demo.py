"""Where the demo begins: in the project, or in a folder that has nothing yet."""

import importlib.util
from pathlib import Path

import pytest

from pilotline.flows.commands.operating.demo import find_or_begin, prepare_home
from pilotline.tasks.errors import SettingsError
from pilotline.tasks.home import find_home
from pilotline.tasks.lab import factory_policy, list_model_folders


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder above which there is no lab, named by no setting."""
    for name in ("PILOTLINE_HOME", "PILOTLINE_LAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_an_empty_folder_it_begins_a_project_that_later_commands_find(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = find_or_begin()
    assert home == find_home({}, folder)
    assert (home.root, home.lab) == (folder / ".pilotline", folder / "lab")
    assert list_model_folders(home.lab) == ["flight-delay"]
    assert capsys.readouterr().err == (
        f"No lab is above this folder: the example's was copied to {folder}/lab.\n"
    )
    assert factory_policy(home).minimum_isolation == "A"
    home.make()
    prepare_home(home)
    assert factory_policy(home).minimum_isolation == "C"


def test_a_lab_that_is_there_is_left_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "lab").mkdir()
    find_or_begin()
    assert list((folder / "lab").iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_home_that_is_named_gets_no_lab_beside_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTLINE_HOME", str(folder / "elsewhere" / "home"))
    assert find_or_begin().lab == folder / "elsewhere" / "lab"
    assert list(folder.iterdir()) == []


def test_without_the_flights_nothing_is_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r'pip install "pilotline\[example\]"$'):
        find_or_begin()
    assert list(folder.iterdir()) == []
