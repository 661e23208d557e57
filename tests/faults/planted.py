"""One planted fault: a module is imported, and read, with a few words of its source replaced.

A pytest plugin: ``-p tests.faults.planted --planted NAME`` runs tests against that fault.
The checkout is never changed, so that several can be tried at once.
"""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.support.places import ROOT

FOLDER = ROOT / "tests" / "faults"


class NotPlantedError(Exception):
    """A fault does not fit the code any more, or no test would see it."""


@dataclass(frozen=True)
class Fault:
    """What a careless developer might have written instead."""

    name: str
    file: str  # of a module, seen from the project's folder
    old: str
    new: str
    tests: tuple[str, ...]  # which should find it

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Where the module lies."""
        return ROOT / "pilotline" / self.file

    @property
    def module(self) -> str:
        """The module's name."""
        return "pilotline." + self.file.removesuffix(".py").replace("/", ".")

    @cached_property
    def source(self) -> str:
        """The module's source with the fault in it.

        Raises:
            NotPlantedError: the words to replace are not there exactly once.
        """
        sound = self.path.read_text("utf-8")
        found = sound.count(self.old)
        if found != 1:
            raise NotPlantedError(
                f"Fault {self.name!r}: expected its old text once in {self.file}, found {found}. "
                "Bring it up to date with the code."
            )
        return sound.replace(self.old, self.new)


def load_faults(folder: Path = FOLDER) -> dict[str, Fault]:
    """Return every fault on the list, by name.

    Raises:
        NotPlantedError: two have one name.
    """
    faults: dict[str, Fault] = {}
    for path in sorted(folder.glob("*.toml")):
        for facts in tomllib.loads(path.read_text("utf-8"))["fault"]:
            fault = Fault(**{**facts, "tests": tuple(facts["tests"])})
            if fault.name in faults:
                raise NotPlantedError(f"Fault {fault.name!r} is on the list twice.")
            faults[fault.name] = fault
    return faults


class Planted(SourceFileLoader):
    """Finds and loads the one module that has the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.module, str(fault.path))
        self._fault = fault
        self.executed = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec, to be loaded by this loader; None for any other module."""
        if fullname != self._fault.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin != str(self._fault.path):
            raise NotPlantedError(f"Fault {self._fault.name!r}: {fullname} is another file.")
        spec.loader = self
        return spec

    def get_code(self, fullname: str) -> CodeType:
        """Return the code with the fault; nothing compiled before is used, or left behind."""
        return compile(self._fault.source, self._fault.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module with the fault."""
        super().exec_module(module)
        self.executed = True


def plant(fault: Fault, patch: pytest.MonkeyPatch) -> Planted:
    """Let the module of ``fault`` have it, for whoever imports it from now on or reads its file.

    Raises:
        NotPlantedError: it does not fit, or the module was imported before.
    """
    if fault.module in sys.modules:
        raise NotPlantedError(f"Fault {fault.name!r}: {fault.module} is imported already.")
    planted, data, read = Planted(fault), fault.source.encode(), Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        # A child gets its program as a file, which the parent reads and writes beside the model.
        return data if path == fault.path else read(path)

    patch.setattr(sys, "meta_path", [planted, *sys.meta_path])
    patch.setattr(Path, "read_bytes", read_bytes)
    return planted


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the name of a fault."""
    parser.addoption("--planted", metavar="FAULT", help="run against a planted fault")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Plant the fault, before a conftest imports anything of ours."""
    name = early_config.known_args_namespace.planted
    if name is None:
        return
    faults = load_faults()
    if name not in faults:
        raise pytest.UsageError(f"No fault {name!r}; known: {', '.join(faults)}")
    patch = pytest.MonkeyPatch()
    early_config.add_cleanup(patch.undo)
    early_config.pluginmanager.register(Witness(plant(faults[name], patch)))


class Witness:
    """Sees to it that tests which never met the fault do not count."""

    def __init__(self, planted: Planted) -> None:
        self._planted = planted

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail where the module was never executed with the fault."""
        if not self._planted.executed:
            raise pytest.UsageError(f"No test imported {self._planted.name}.")
