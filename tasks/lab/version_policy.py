"""The policy that holds for one version: the factory's, with what its own model.toml tightens."""

from pilotline.registry import Registry
from pilotline.registry.gates import Policy, tighten
from pilotline.registry.record import ModelVersion
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_manifest
from pilotline.tasks.lab.models import read_wishes
from pilotline.tasks.lab.policy import load_policy


def policy_of(home: Home, registry: Registry, version: ModelVersion) -> Policy:
    """Return the factory's policy with what the version's own ``model.toml`` tightens.

    Raises:
        PolicyError: the policy cannot be read, or the version asks for less than it.
        MissingBlobError, DigestMismatchError: the version is damaged.
    """
    manifest = load_manifest(registry, version)
    config = registry.blobs.get(manifest.file("model.toml").sha256)
    where = f"model.toml of {manifest.model} {version.number}"
    return tighten(load_policy(home), where, read_wishes(config))
