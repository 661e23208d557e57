"""A version's material: its files out of the blob store, each hashed again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.audit import check_model
from pilotline.registry.gates import champion
from pilotline.registry.record import Manifest, ModelVersion, decode_manifest
from pilotline.tasks.lab.models import (
    FILES,
    OPTIONAL_FILES,
    ModelFolder,
    ModelSpec,
    read_model_folder,
)
from pilotline.tasks.lab.programs import FOLDER

ARTIFACT = "artifact/"  # where a version keeps the trained bytes


@dataclass(frozen=True)
class Bundle:
    """One version, ready to run: what it is and every byte of it."""

    version: ModelVersion
    manifest: Manifest
    folder: ModelFolder
    files: Mapping[str, bytes]

    @property
    def spec(self) -> ModelSpec:
        """What the version's own ``model.toml`` says."""
        return self.folder.spec

    @property
    def lock(self) -> bytes:
        """The version's ``requirements.lock``."""
        return self.files["requirements.lock"]

    @property
    def artifact(self) -> dict[str, bytes]:
        """The trained bytes, path -> content."""
        return {
            path.removeprefix(ARTIFACT): data
            for path, data in self.files.items()
            if path.startswith(ARTIFACT)
        }

    def json(self, path: str) -> Any:
        """Return a JSON file of the version."""
        return json.loads(self.files[path])


def load_bundle(registry: Registry, version: ModelVersion) -> Bundle:
    """Return everything in ``version``; no byte is run or unpickled here.

    Raises:
        MissingBlobError, DigestMismatchError: the blob store is damaged.
    """
    manifest = load_manifest(registry, version)
    files = {file.path: registry.blobs.get(file.sha256) for file in manifest.files}
    with TemporaryDirectory() as folder:
        program = [path for path in files if path.startswith(FOLDER)]
        for path in (*FILES, *(path for path in OPTIONAL_FILES if path in files), *program):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(files[path])
        checked = read_model_folder(
            Path(folder), manifest.model, f"{manifest.model} {version.number}"
        )
    return Bundle(version, manifest, checked, files)


def load_manifest(registry: Registry, version: ModelVersion) -> Manifest:
    """Return the manifest of ``version``, checked against its digest."""
    return decode_manifest(registry.blobs.get(version.digest))


def load_json(registry: Registry, version: ModelVersion, path: str) -> Any:
    """Return one JSON file of ``version`` without loading the rest."""
    return json.loads(registry.blobs.get(load_manifest(registry, version).file(path).sha256))


def load_champion(registry: Registry, name: str) -> Bundle:
    """Return the champion of ``name``, with the checks production needs.

    Raises:
        UnknownModelError, NoChampionError, VersionUnfitError: none may run.
        AuditError: the model's record contradicts itself, so nothing of it can be trusted.
    """
    with registry.read() as session:
        version = champion(session, name)
        check_model(session, version.model_id, name)
    return load_bundle(registry, version)
