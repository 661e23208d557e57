"""The lightweight model registry: versions, approvals, aliases, runs, blobs, events."""

from registry.store import Registry

__all__ = ["Registry"]
