"""The list of faults: each fits the code as it is, and names tests that are there."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.faults.__main__ import SURVIVORS, compare, read_survivors
from tests.faults.planted import FOLDER, Fault, load_faults
from tests.support.places import ROOT

FAULTS = load_faults()
MOST_SURVIVORS = 0  # lowered as the list shrinks, never raised


@cache
def names_in(file: str) -> set[str]:
    """Return the names of a file's tests, without importing it."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    names = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)}
    return {name for name in names if name.startswith("test_")}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=str)
def test_a_fault_fits_the_code_and_compiles(fault: Fault) -> None:
    assert fault.source != fault.path.read_text("utf-8")
    compile(fault.source, fault.file, "exec")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=str)
def test_a_fault_names_tests_that_are_there(fault: Fault) -> None:
    assert fault.tests
    for node in fault.tests:
        file, _, function = node.partition("[")[0].partition("::")
        assert names_in(file) >= {function} - {""}


def test_survivors_are_faults_and_say_why() -> None:
    survivors = read_survivors(SURVIVORS)
    assert survivors.keys() <= FAULTS.keys()
    assert all(survivors.values())
    assert len(survivors) <= MOST_SURVIVORS


def test_both_layers_have_their_faults() -> None:
    assert {path.name for path in FOLDER.glob("*.toml")} == {"registry.toml", "tasks.toml"}
    assert len(FAULTS) >= 70


def test_the_list_of_survivors_may_only_shrink() -> None:
    assert compare(survived={"a"}, found={"b"}, known={"a"}) == []
    assert compare(survived={"a", "c"}, found={"b"}, known={"a"}) == [
        "SURVIVED: c. Write the test that finds it."
    ]
    assert compare(survived=set(), found={"a", "b"}, known={"a"}) == [
        "FOUND: a. It is on the list of survivors: remove its line, the list only shrinks."
    ]
    assert compare(survived=set(), found=set(), known={"a"}) == []  # it was not tried


def test_a_survivor_stands_on_the_list_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "survivors.txt").write_text("# A comment.\n\na: it is: rare\nb: no test yet\n")
    survivors = read_survivors(tmp_path / "survivors.txt")
    assert survivors == {"a": "it is: rare", "b": "no test yet"}
