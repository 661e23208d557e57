"""The list of faults: each fits the code as it is, and names tests that are there."""

import ast

import pytest

from tests.faults.__main__ import SURVIVORS, compare, read_survivors
from tests.support.planted import FOLDER, PROJECT, Fault, load_faults

FAULTS = load_faults()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=str)
def test_a_fault_fits_the_code_and_compiles(fault: Fault) -> None:
    assert fault.source != fault.path.read_text("utf-8")
    compile(fault.source, fault.file, "exec")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=str)
def test_a_fault_names_tests_that_are_there(fault: Fault) -> None:
    assert fault.tests
    for node in fault.tests:
        file, _, function = node.partition("[")[0].partition("::")
        tree = ast.parse((PROJECT / file).read_text("utf-8"))
        names = [part.name for part in tree.body if isinstance(part, ast.FunctionDef)]
        assert any(name.startswith("test_") for name in names)
        assert not function or function in names


def test_survivors_are_faults_and_say_why() -> None:
    survivors = read_survivors(SURVIVORS)
    assert survivors.keys() <= FAULTS.keys()
    assert all(survivors.values())


def test_a_list_of_faults_is_not_empty() -> None:
    assert {path.name for path in FOLDER.glob("*.toml")} == {"registry.toml", "tasks.toml"}
    assert len(FAULTS) >= 70


def test_the_list_of_survivors_may_only_shrink() -> None:
    assert compare(survived={"a"}, known={"a"}, found={"b"}) == []
    assert compare(survived={"a", "c"}, known={"a"}, found={"b"}) == [
        "SURVIVED: c. Write the test that finds it."
    ]
    assert compare(survived=set(), known={"a"}, found={"a", "b"}) == [
        "FOUND: a. It is on the list of survivors: remove its line, the list only shrinks."
    ]
    assert compare(survived=set(), known={"d"}, found={"a"}) == [
        "UNKNOWN: d. It is on the list of survivors and no fault: remove its line."
    ]
