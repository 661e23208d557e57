"""A home that an earlier pilotline made, and what the commands printed of it then."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.places import TESTS

HOMES = TESTS / "support" / "homes"
MODEL = "late-parcels"
NIGHT = "2024-03-15"  # is in the source, neither ingested nor scored


@dataclass(frozen=True)
class OldHome:
    """An unpacked home, and the settings with which a command finds its lab."""

    home: Path
    settings: dict[str, str]


def unpack(folder: Path) -> OldHome:
    """Unpack the home of before the rooms into ``folder``."""
    with tarfile.open(HOMES / "before-rooms.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return OldHome(folder / "home", {"PILOTLINE_LAB": str(folder / "lab")})


def read_printed() -> dict[str, Any]:
    """Return what the code that made the home printed of it, by the words of the command."""
    printed: dict[str, Any] = json.loads((HOMES / "before-rooms.json").read_text("utf-8"))
    return printed
