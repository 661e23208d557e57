"""The lightweight model registry: versions, approvals, aliases, runs, blobs, events."""

from registry.opening import Registry

__all__ = ["Registry"]
