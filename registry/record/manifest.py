"""The manifest: canonical JSON that lists everything in a version; its SHA-256 is the digest."""

import json
from dataclasses import dataclass
from typing import Any

from pilotline.registry.form import canonical_json, digest_bytes

FORMAT = "pilotline-manifest/1"
# What a file is for; the folder in front of a path is the file's place in the version.
ROLES = (
    "script",
    "config",
    "lock",
    "card",
    "notebook",
    "notebook-html",
    "model",
    "contract",
    "data",
    "evaluation",
    "golden",
    "profile",
    "notes",
)


@dataclass(frozen=True)
class ManifestFile:
    """One file of a version."""

    role: str
    path: str  # relative, with '/'
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything in a version, by role, size and SHA-256, and what it was made with."""

    model: str
    files: tuple[ManifestFile, ...]
    interpreter: str  # such as "cpython 3.11"
    platform: str  # such as "linux x86_64"
    parent: str | None  # digest of the version it descends from

    def encode(self) -> bytes:
        """Return the manifest as canonical JSON, files sorted by path."""
        files = [vars(file) for file in sorted(self.files, key=lambda file: file.path)]
        return canonical_json(
            {
                "format": FORMAT,
                "model": self.model,
                "files": files,
                "interpreter": self.interpreter,
                "platform": self.platform,
                "parent": self.parent,
            }
        )

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON: the version's digest."""
        return digest_bytes(self.encode())

    def file(self, path: str) -> ManifestFile:
        """Return the file at ``path``.

        Raises:
            LookupError: the version holds no such file.
        """
        for file in self.files:
            if file.path == path:
                return file
        raise LookupError(f"Version of {self.model!r} holds no file {path!r}.")

    def digests(self, *roles: str) -> dict[str, str]:
        """Return path -> SHA-256 of the files with one of ``roles``."""
        return {file.path: file.sha256 for file in self.files if file.role in roles}


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest that ``data`` holds.

    Raises:
        ValueError: ``data`` is not canonical JSON of the known format.
    """
    facts: Any = json.loads(data)
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != FORMAT:
        raise ValueError(f"Expected a manifest of format {FORMAT!r}, got {found!r}.")
    try:
        manifest = Manifest(
            model=facts["model"],
            files=tuple(ManifestFile(**file) for file in facts["files"]),
            interpreter=facts["interpreter"],
            platform=facts["platform"],
            parent=facts["parent"],
        )
    except (KeyError, TypeError) as err:
        raise ValueError(f"Expected all keys of {FORMAT!r}; the manifest was edited.") from err
    if manifest.encode() != data:
        raise ValueError("Expected canonical JSON (RFC 8785); the manifest was edited.")
    return manifest
