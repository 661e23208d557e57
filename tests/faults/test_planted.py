"""Planting: the fault is in the module that is imported, and nowhere on the disk."""

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from pilotline.registry import form
from pilotline.registry.form import names
from tests.faults.planted import Fault, NotPlantedError, load_faults, plant
from tests.support.places import ROOT

FAULT = Fault(
    name="everybody is one person",
    file="registry/form/names.py",
    old="return person(one) == person(other)",
    new="return True",
    tests=("tests/registry/form/test_names.py",),
)


@pytest.fixture
def unimported(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Forget the module until the end of the test."""
    monkeypatch.setattr(form, "names", names)
    monkeypatch.delitem(sys.modules, FAULT.module)
    return monkeypatch


def same_person(module: ModuleType) -> bool:
    said: bool = module.same_person("ada@example.org", "bob@example.org")
    return said


def test_whoever_imports_the_module_or_reads_its_file_gets_the_fault(
    unimported: pytest.MonkeyPatch,
) -> None:
    planted = plant(FAULT, unimported)
    assert not planted.executed
    assert same_person(importlib.import_module(FAULT.module))
    assert planted.executed
    assert b"return True" in FAULT.path.read_bytes()
    assert FAULT.path.with_name("errors.py").read_bytes()
    unimported.undo()
    assert not same_person(importlib.import_module(FAULT.module))
    assert FAULT.old in FAULT.path.read_text("utf-8")


def test_a_module_that_is_imported_already_is_not_planted_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NotPlantedError, match=r"form\.names is imported already"):
        plant(FAULT, monkeypatch)


@pytest.mark.parametrize(("old", "found"), [("return person(one) == person(two)", 0), ("def ", 4)])
def test_a_text_that_is_not_there_exactly_once_is_refused(
    unimported: pytest.MonkeyPatch, old: str, found: int
) -> None:
    with pytest.raises(NotPlantedError) as refused:
        plant(replace(FAULT, old=old), unimported)
    assert str(refused.value) == (
        "Fault 'everybody is one person': expected its old text once in registry/form/names.py, "
        f"found {found}. Bring it up to date with the code."
    )


def test_a_name_that_is_on_the_list_twice_is_refused(tmp_path: Path) -> None:
    listed = '[[fault]]\nname = "a"\nfile = "b"\nold = "c"\nnew = "d"\ntests = ["e"]\n'
    (tmp_path / "one.toml").write_text(listed)
    assert load_faults(tmp_path) == {"a": Fault("a", "b", "c", "d", ("e",))}
    (tmp_path / "two.toml").write_text(listed)
    with pytest.raises(NotPlantedError, match="'a' is on the list twice"):
        load_faults(tmp_path)


@pytest.mark.parametrize(
    ("name", "node", "code", "said"),
    [
        (
            "people are told apart by letters' case",
            "tests/registry/form/test_names.py::test_one_person_typed_in_two_ways_is_the_same",
            pytest.ExitCode.TESTS_FAILED,
            "failed",
        ),
        (
            "a distance equal to its threshold is no drift",
            "tests/registry/form/test_names.py::test_two_persons_are_two",
            pytest.ExitCode.USAGE_ERROR,
            "No test imported pilotline.tasks.stats.drift",
        ),
        (
            "a fault that nobody planted",
            "tests/registry/form/test_names.py",
            pytest.ExitCode.USAGE_ERROR,
            "No fault 'a fault that nobody planted'",
        ),
    ],
)
def test_only_tests_that_met_the_fault_count(
    name: str, node: str, code: pytest.ExitCode, said: str
) -> None:
    plugin = ["-p", "tests.faults.planted", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, "--planted", name, node]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
