"""Names of our modules that stand in strings and settings, which no type checker follows."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from pilotline.flows.commands.main import COMMANDS
from tests.support.places import ROOT

CODE = ("flows", "tasks", "registry", "benchmarks", "tests")
PLACES = (*CODE, "deployments", "lab", "docs", ".ci", ".github")
FILES = ("Makefile", "pyproject.toml", "CONTRIBUTING.md", "README.md", "SECURITY.md")
NAME = re.compile(r"\bpilotline\.(?:flows|tasks|registry)(?:\.(?!__)\w+)*(?::\w+)?")
# What stands directly in a folder, so that registry.db is none of them.
MODULES = "|".join(
    rf"{folder}\.{path.stem}"
    for folder in ("flows", "tasks", "registry")
    for path in sorted((ROOT / folder).iterdir())
    if path.suffix == ".py" or path.is_dir()
)
OLD = re.compile(
    r"-m (?:flows|tasks|registry)\b"
    rf"|[\"'](?:{MODULES})(?:\.\w+)*[\"':]"
    r"|\b(?:flows|tasks|registry)/[\w/]+\.py:[a-z]"
    r"|^\s*(?:from|import) (?:flows|tasks|registry)\b",
    re.MULTILINE,
)
OF_NOWHERE = {
    "tests/flows/factory/test_deployments.py",  # what servers of older versions hold
    "tests/test_names.py",  # and what is nowhere
}


def texts() -> Iterator[tuple[str, str]]:
    """Give each file that may name a module, with its text."""
    paths = [path for place in PLACES for path in sorted((ROOT / place).rglob("*"))]
    for path in (*paths, *(ROOT / name for name in FILES)):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and "__pycache__" not in name and not name.startswith("docs/decisions/"):
            try:
                yield name, path.read_text("utf-8")
            except UnicodeDecodeError:
                continue  # a picture


def in_strings(source: str) -> str:
    """Return the string literals of a Python file, docstrings among them, a line each."""
    nodes = ast.walk(ast.parse(source))
    return "\n".join(
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@cache
def can_be_resolved(name: str) -> bool:
    """Tell whether a dotted name is a module, or stands at the top of one; nothing is run."""
    module, _, last = name.replace(":", ".").rpartition(".")
    if found(name):
        return True
    source = found(module)
    return source is not None and last in top_names(source)


@cache
def found(module: str) -> Path | None:
    """Return the file of a module; those above it are looked at alone."""
    folder = ROOT.joinpath(*module.split(".")[1:])
    return next(
        (p for p in (folder.with_suffix(".py"), folder / "__init__.py") if p.exists()), None
    )


@cache
def top_names(source: Path) -> frozenset[str]:
    """Return what a module defines at its top; a door what its stub offers."""
    stub = source.with_suffix(".pyi")
    nodes = ast.parse((stub if stub.exists() else source).read_text("utf-8")).body
    names = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
    return frozenset(names)


def test_every_string_that_names_a_module_names_one_that_is_there() -> None:
    named = {
        (place, name)
        for place, text in texts()
        for name in NAME.findall(in_strings(text) if place.endswith(".py") else text)
    }
    assert {"pilotline.flows.score.score", "pilotline.flows.server.worker"} <= {n for _, n in named}
    lost = {
        (place, name)
        for place, name in named
        if place not in OF_NOWHERE and not can_be_resolved(name)
    }
    assert lost == set()


def test_what_is_resolved_here_is_what_python_finds() -> None:
    for name in ("pilotline.tasks.lab.policy", "pilotline.flows.commands.main"):
        spec, file = find_spec(name), found(name)
        assert spec is not None
        assert spec.origin is not None
        assert file is not None
        assert file.samefile(spec.origin)
    assert not can_be_resolved("pilotline.tasks.lab.policies")
    assert not can_be_resolved("pilotline.tasks.lab.policy.load_polices")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_module_that_the_table_names(command: str) -> None:
    source = found(f"pilotline.flows.commands.{COMMANDS[command].module}")
    assert source is not None
    assert {command, f"{command}_"} & top_names(source)


def test_nothing_goes_by_a_name_of_before() -> None:
    old = {
        (place, name)
        for place, text in texts()
        if place not in OF_NOWHERE
        for name in OLD.findall(text)
    }
    assert old == set()
