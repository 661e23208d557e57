"""Exports: what is in them, and that the same registry gives the same bytes."""

import json
import tarfile
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import MissingBlobError, StoreError, UnknownModelError
from pilotline.registry.moving.exporting import export_model
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import ModelVersion
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

NAME = "flight-delay"


@pytest.fixture
def version(registry: Registry, world: World) -> ModelVersion:
    """Return a stored version of six files."""
    return register(registry, world.registration())[0]


def test_a_folder_holds_the_rows_and_every_blob_under_its_digest(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    written = export_model(registry, NAME, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "export.json").read_bytes())
    # printf "trained on first" | sha256sum
    trained = "2a9663ecd7c805c19bb927727e73efaf297aee5883fd66ca20d3ef7a9ce0f302"
    names = {path.name for path in (tmp_path / "out" / "blobs").glob("??/*")}
    assert index["format"] == "pilotline-export/1"
    assert index["head"] == {"seq": 1, "hash": written.head}
    assert {version.digest, trained} <= names == set(index["blobs"])
    assert written.blobs == len(names) == 7


@pytest.mark.parametrize("suffix", ["", ".tar", ".tar.gz"])
def test_the_same_registry_gives_the_same_bytes(
    registry: Registry, version: ModelVersion, tmp_path: Path, suffix: str
) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    export_model(registry, NAME, first)
    export_model(registry, NAME, second)
    assert _bytes(first) == _bytes(second)


def test_no_database_id_is_in_the_rows(
    registry: Registry, version: ModelVersion, world: World, tmp_path: Path
) -> None:
    with registry.write() as session:
        world.release(session, version)
    export_model(registry, NAME, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "export.json").read_bytes())
    keys = {key for rows in index.values() if isinstance(rows, list) for r in rows for key in r}
    assert not {key for key in keys if key.endswith("_id")} - {"run_id"}
    assert index["aliases"] == [
        {"name": "champion", "version": "1.0.0", "event": index["head"]["seq"]}
    ]


@on_sqlite
def test_a_tar_file_is_read_by_any_tar(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    export_model(registry, NAME, tmp_path / "out.tar.gz")
    with tarfile.open(tmp_path / "out.tar.gz") as tar:
        names = tar.getnames()
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in tar} == {(0, 0, "", 0o644)}
    assert names[0] == "export.json"
    assert names[1:] == sorted(names[1:])


@on_sqlite
def test_an_existing_path_is_refused(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(StoreError, match="exists already"):
        export_model(registry, NAME, tmp_path / "out")


@on_sqlite
def test_a_missing_blob_leaves_nothing_behind(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    gone = next(b.digest for b in registry.blobs.list() if b.digest != version.digest)
    registry.blobs.delete(gone)
    before = set(tmp_path.iterdir())
    with pytest.raises(MissingBlobError):
        export_model(registry, NAME, tmp_path / "out.tar")
    assert set(tmp_path.iterdir()) == before


def test_an_unknown_model_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError):
        export_model(registry, "fare-price", tmp_path / "out")


def _bytes(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    files = (file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
