"""The policy that holds for one version: the factory's, with what its own model.toml tightens."""

from registry import Registry
from registry.policy import Policy, tighten
from registry.versions import ModelVersion
from tasks.bundle import load_manifest
from tasks.home import Home
from tasks.model_folder import read_wishes
from tasks.policy import load_policy


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
