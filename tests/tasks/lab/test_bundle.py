"""A version's material, hashed again before use."""

import hashlib

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import DigestMismatchError, MissingBlobError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle, load_json, load_manifest
from pilotline.tasks.score.job import Job


def test_every_file_is_what_the_manifest_says(registry: Registry, job: Job) -> None:
    bundle = load_bundle(registry, job.bundle.version)
    manifest = load_manifest(registry, job.bundle.version)
    assert hashlib.sha256(manifest.encode()).hexdigest() == bundle.version.digest
    for file in manifest.files:
        assert hashlib.sha256(bundle.files[file.path]).hexdigest() == file.sha256
        assert len(bundle.files[file.path]) == file.size
    assert list(bundle.artifact) == ["model.joblib"]
    assert bundle.lock == bundle.files["requirements.lock"]
    assert bundle.spec.name == "flight-delay"
    assert load_json(registry, bundle.version, "contract.json") == bundle.json("contract.json")


def test_a_flipped_bit_is_noticed(home: Home, registry: Registry, job: Job) -> None:
    digest = job.bundle.manifest.file("artifact/model.joblib").sha256
    path = home.root / "blobs" / digest[:2] / digest
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(DigestMismatchError):
        load_bundle(registry, job.bundle.version)


def test_a_lost_file_is_noticed(home: Home, registry: Registry, job: Job) -> None:
    digest = job.bundle.manifest.file("model.py").sha256
    (home.root / "blobs" / digest[:2] / digest).unlink()
    with pytest.raises(MissingBlobError):
        load_bundle(registry, job.bundle.version)
