"""Reading a TOML table strictly: each key is known, present where needed and of its type."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pilotline.tasks.errors import LabError

Kind = TypeVar("Kind")


def read_toml(path: Path, where: str) -> "Table":
    """Return the file's top table.

    Raises:
        LabError: the file is missing, unreadable or not TOML.
    """
    try:
        return Table(where, tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError as err:
        raise LabError(
            where, "the file is missing", "Add it; compare it with the example in lab."
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise LabError(where, f"not TOML: {err}", "Mend the line.") from err


@dataclass(frozen=True)
class Table:
    """One table of a file, and where it stands for messages."""

    where: str
    values: Mapping[str, Any]

    def only(self, *known: str) -> "Table":
        """Return itself if it holds no other keys than ``known``.

        Raises:
            LabError: it does.
        """
        for key in self.values:
            if key not in known:
                raise LabError(self.where, f"unknown key {key!r}", f"Known: {', '.join(known)}.")
        return self

    def table(self, key: str, needed: bool = True) -> "Table":
        """Return the table under ``key``, empty where it is absent and not needed."""
        default: dict[str, Any] | None = None if needed else {}
        return Table(f"{self.where} [{key}]", self.get(key, dict, default))

    def get(self, key: str, kind: type[Kind], default: Kind | None = None) -> Kind:
        """Return the value of ``key``; without a default it must be there.

        Raises:
            LabError: it is missing, or of another type.
        """
        value = self.values.get(key, default)
        if value is None:
            raise LabError(self.where, f"key {key!r} is missing", "Add it.")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise LabError(
                self.where,
                f"{key!r} is {value!r}, expected {kind.__name__}",
                "Write the value without quotes, or with them.",
            )
        return value

    def names(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """Return the list of texts under ``key``."""
        values = self.get(key, list, default)
        if not all(isinstance(value, str) for value in values):
            raise LabError(self.where, f"{key!r} is {values!r}", "Expected a list of texts.")
        return tuple(values)
