"""What changed between two versions, as plain values."""

import re
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.gates import look_up
from pilotline.registry.record import Release, compare_releases
from pilotline.tasks.lab import Bundle, load_bundle

PACKAGE = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)


def compare_versions(registry: Registry, name: str, before: str, after: str) -> dict[str, Any]:
    """Return contract, files, packages, parameters, metrics and data that differ.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        MissingBlobError, DigestMismatchError: one of them is damaged.
    """
    with registry.read() as session:
        versions = [look_up(session, name, reference) for reference in (before, after)]
    old, new = (load_bundle(registry, version) for version in versions)
    step = compare_releases(
        Release(old.manifest, old.json("contract.json")),
        Release(new.manifest, new.json("contract.json")),
    )
    return {
        "model": name,
        "before": old.version.number,
        "after": new.version.number,
        "step": step.part,
        "reasons": list(step.reasons),
        "files": _compare_files(old, new),
        "packages": _differences(_packages(old), _packages(new)),
        "params": _differences(dict(old.spec.params), dict(new.spec.params)),
        "metrics": _differences(_metrics(old), _metrics(new)),
        "data": _differences(_data(old), _data(new)),
    }


def _compare_files(old: Bundle, new: Bundle) -> list[list[str]]:
    before = {file.path: file for file in old.manifest.files}
    after = {file.path: file for file in new.manifest.files}
    rows = []
    for path in sorted({*before, *after}):
        if path not in after:
            rows.append([path, before[path].role, "removed"])
        elif path not in before:
            rows.append([path, after[path].role, "added"])
        elif before[path].sha256 != after[path].sha256:
            sizes = f"{before[path].size:,} -> {after[path].size:,} bytes"
            rows.append([path, after[path].role, f"changed, {sizes}"])
    return rows


def _packages(bundle: Bundle) -> dict[str, Any]:
    return dict(PACKAGE.findall(bundle.lock.decode()))


def _metrics(bundle: Bundle) -> dict[str, Any]:
    metrics: dict[str, Any] = bundle.json("evaluation.json")["metrics"]
    return metrics


def _data(bundle: Bundle) -> dict[str, Any]:
    data = bundle.json("data.json")
    return {
        f"{use} {what}": value
        for use in ("train", "holdout")
        for what, value in (
            ("days", f"{data[use]['days'][0]} to {data[use]['days'][-1]}"),
            ("rows", data[use]["rows"]),
        )
    }


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[list[Any]]:
    return [
        [key, before.get(key), after.get(key)]
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
