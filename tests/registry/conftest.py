"""A registry in a fresh home, on either database, and the world around it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from tests.support.registry.world import World
from tests.support.servers.once import made_once


@pytest.fixture(scope="session")
def empty_database(shared: Path) -> Path:
    """Return a migrated database file; copying it is faster than migrating for every test."""

    def migrate(folder: Path) -> None:
        Registry(f"sqlite:///{folder / 'registry.db'}", folder / "blobs").close()

    return made_once(shared, "empty", migrate) / "registry.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> str:
    """Return the URL of an empty registry: a file in ``tmp_path``, then one on a server."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("new_registry_database")
        return url
    shutil.copy(empty_database, tmp_path / "registry.db")
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def registry(tmp_path: Path, database: str) -> Iterator[Registry]:
    """Return an open, empty registry."""
    with Registry(database, tmp_path / "blobs") as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path, empty_database: Path) -> Iterator[Registry]:
    """Return another, empty registry, of one kind only."""
    shutil.copy(empty_database, tmp_path / "target.db")
    with Registry(f"sqlite:///{tmp_path / 'target.db'}", tmp_path / "target-blobs") as opened:
        yield opened


@pytest.fixture
def session(registry: Registry) -> Iterator[Session]:
    """Return a writing session."""
    with registry.write() as writing:
        yield writing


@pytest.fixture
def world() -> World:
    """Return what most tests begin with."""
    return World()
