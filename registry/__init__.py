"""The lightweight model registry: versions, approvals, aliases, runs, blobs, events."""

from pilotline.registry.opening import Registry

__all__ = ["Registry"]

if __name__ != "pilotline.registry":
    raise ImportError(f"{__name__!r} is pilotline.registry; a second name would load it twice.")
