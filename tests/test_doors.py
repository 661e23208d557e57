"""Rooms of tasks and registry have doors: what is behind one is imported through it, and wanted."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.places import ROOT

HOUSES = ("flows", "tasks", "registry")
# Who goes through doors: the product, the benchmarks, and the programs in docs.
GUESTS = (*HOUSES, "benchmarks", "docs")
# A folder whose __init__ has a stub beside it is a room with a door.
DOORS = sorted(path for house in HOUSES for path in (ROOT / house).rglob("__init__.pyi"))
ROOMS = [".".join(("pilotline", *door.parent.relative_to(ROOT).parts)) for door in DOORS]
# A migration makes whole tables, whoever may ask for their rows.
MIGRATIONS = ROOT / "registry/migrations"
MOST_FILES = 15  # of Python in a folder: a dozen is the aim, more than this is no table of contents


class Import(NamedTuple):
    """That a file imports ``name`` from a module; empty where it imports the module itself."""

    path: Path
    line: int
    module: str
    name: str

    def __str__(self) -> str:
        what = f"{self.module}.{self.name}".rstrip(".")
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {what}"


@cache
def read(path: Path) -> ast.Module:
    """Return a file of Python as its syntax tree."""
    return ast.parse(path.read_text("utf-8"))


@cache
def all_imports() -> tuple[Import, ...]:
    """Return every import in the guests' files."""
    found = []
    for path in (path for guest in GUESTS for path in sorted((ROOT / guest).rglob("*.py"))):
        for node in ast.walk(read(path)):
            if isinstance(node, ast.Import):
                found += [Import(path, node.lineno, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = (alias.name for alias in node.names)
                found += [Import(path, node.lineno, node.module, name) for name in names]
    return tuple(found)


def imports_from_outside(room: str) -> Iterator[Import]:
    """Yield what files outside a room import of it, through its door or around it."""
    folder = ROOT.joinpath(*room.split(".")[1:])
    for found in all_imports():
        if f"{found.module}.".startswith(f"{room}.") and folder not in found.path.parents:
            yield found


def attributes_from_outside(room: str) -> set[str]:
    """Return what files outside a room take of the room as a whole, such as ``lake.open_table``."""
    parent, _, own = room.rpartition(".")
    whole = {each.path for each in all_imports() if (each.module, each.name) == (parent, own)}
    return {
        node.attr
        for path in whole
        for node in ast.walk(read(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == own
    }


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_outside_a_room_imports_through_its_door_but_for_steps(room: str) -> None:
    offered = importlib.import_module(room).__all__
    around = [
        str(found)
        for found in imports_from_outside(room)
        if found.path.relative_to(ROOT).parts[0] in HOUSES  # benchmarks measure what is behind
        and MIGRATIONS not in found.path.parents
        and (found.module != room or found.name not in offered)
        and not found.module.endswith(".steps")
    ]
    assert around == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_door_offers_is_there_when_it_is_asked_for(room: str) -> None:
    door = importlib.import_module(room)
    assert [name for name in door.__all__ if not hasattr(door, name)] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_door_offers_is_wanted_outside(room: str) -> None:
    wanted = {found.name for found in imports_from_outside(room)} | attributes_from_outside(room)
    assert sorted(set(importlib.import_module(room).__all__) - wanted) == []


def test_every_room_of_tasks_and_the_registry_has_a_door() -> None:
    rooms = {p.parent for h in ("tasks", "registry") for p in (ROOT / h).glob("*/__init__.py")}
    assert rooms - {door.parent for door in DOORS} == {MIGRATIONS}


def test_the_picture_of_the_rooms_shows_the_floors_that_are_checked() -> None:
    drawn: dict[str, list[str]] = {}
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    for line in re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0].splitlines():
        name = re.split(r"  +", line.strip())[0]  # what it is in words comes after two spaces
        if name.startswith("pilotline."):
            floors = drawn[name] = []
        elif name:
            floors.append(name)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    order, *floors_of = [contract for contract in contracts if contract["type"] == "layers"]
    assert list(drawn) == order["layers"]
    assert drawn == {each["containers"][0]: each["layers"] for each in floors_of}


def test_every_folder_of_the_product_says_in_one_sentence_what_it_is() -> None:
    for path in (path for house in HOUSES for path in (ROOT / house).rglob("__init__.py")):
        said = ast.get_docstring(read(path)) or ""
        assert said.endswith("."), path
        assert "\n\n" not in said, path
        assert ". " not in said, path


def test_no_folder_holds_more_files_than_a_table_of_contents_may_have_lines() -> None:
    files = [path for top in (*HOUSES, "tests") for path in (ROOT / top).rglob("*.py")]
    counts: dict[str, int] = {}
    for path in files:
        folder = path.parent.relative_to(ROOT).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}
