"""What a command leaves behind in this process fails its test."""

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotline.tasks.sandbox.tiers import warn_once
from tests.support.suite.leaks import check_nothing_leaks


def set_a_variable(undo: pytest.MonkeyPatch, _folder: Path) -> None:
    """Leave a variable."""
    undo.setenv("PILOTLINE_LEFT", "1")


def change_the_folder(undo: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave another working folder."""
    undo.chdir(folder)


def lengthen_the_module_path(undo: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave a folder to import from."""
    undo.setattr(sys, "path", [*sys.path, str(folder)])


def silence_a_logger(undo: pytest.MonkeyPatch, _folder: Path) -> None:
    """Leave a logger that does not propagate."""
    undo.setattr(logging.getLogger("pilotline"), "propagate", False)


def fill_a_cache(_undo: pytest.MonkeyPatch, _folder: Path) -> None:
    """Leave a warning that will not be given again."""
    warn_once("told by a test")


@pytest.mark.parametrize(
    ("leave", "kind"),
    [
        (set_a_variable, "environment PILOTLINE_LEFT"),
        (change_the_folder, "working folder"),
        (lengthen_the_module_path, "module path"),
        (silence_a_logger, "logger pilotline"),
        (fill_a_cache, "cache pilotline.tasks.sandbox.tiers.warn_once"),
    ],
)
def test_a_change_is_named(
    leave: Callable[[pytest.MonkeyPatch, Path], None],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    warn_once.cache_clear()
    logging.getLogger("pilotline").propagate = True
    with (
        pytest.raises(pytest.fail.Exception, match=f"'pilotline models' left changed: {kind}"),
        check_nothing_leaks(["models"]),
    ):
        leave(monkeypatch, tmp_path)
    warn_once.cache_clear()


def test_an_open_file_and_a_thread_are_named(tmp_path: Path) -> None:
    rest = threading.Event()
    thread = threading.Thread(target=rest.wait, name="left behind")
    path = tmp_path / "open"
    path.touch()
    opened = []

    def leave() -> None:
        with check_nothing_leaks(["models"]):
            opened.append(os.open(path, os.O_RDONLY))
            thread.start()

    with pytest.raises(pytest.fail.Exception) as told:
        leave()
    rest.set()
    thread.join()
    os.close(opened[0])
    assert "thread left behind" in str(told.value)
    assert f"descriptor {opened[0]} (None, now '{path}')" in str(told.value)


def test_nothing_is_said_where_nothing_changed() -> None:
    with check_nothing_leaks(["models"]):
        os.environ["PILOTLINE_TOLD"] = "1"
        del os.environ["PILOTLINE_TOLD"]
