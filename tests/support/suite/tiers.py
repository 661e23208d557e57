"""Which make target runs which file of tests: the table in tiers.toml, and the order of files."""

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from tests.support.places import TESTS

TABLE = TESTS / "tiers.toml"


class Tier(StrEnum):
    """The targets, each of which runs what those before it run too."""

    QUICK = "quick"  # make test-quick: no process, SQLite
    TEST = "test"  # make test: what a newcomer waits for
    CI = "ci"  # .ci/run: everything but the long
    ALL = "all"  # make test-all

    def runs(self, other: "Tier") -> bool:
        """Tell whether this target runs what stands under ``other``."""
        order = list(Tier)
        return order.index(other) <= order.index(self)


@dataclass(frozen=True)
class Place:
    """What the table says of one file."""

    tier: Tier
    postgresql: Tier  # from which on its tests run on PostgreSQL too
    waits: bool  # spends its time waiting, so that six at once share two cores


@cache
def read_table() -> dict[str, Place]:
    """Return the place of each file, by its path below tests/."""
    return {
        name: Place(
            tier=Tier(line["tier"]),
            postgresql=Tier(line.get("postgresql", Tier.CI)),
            waits=line.get("waits", False),
        )
        for name, line in tomllib.loads(TABLE.read_text("utf-8")).items()
    }


def place_of(path: Path) -> Place:
    """Return the place of a file; one that the table does not name runs in every target.

    That a file is missing there is found by tests/support/suite/test_tiers.py.
    """
    name = path.resolve().relative_to(TESTS).as_posix()
    return read_table().get(name, Place(Tier.QUICK, Tier.QUICK, False))
