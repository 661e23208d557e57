"""A version is registered wholly or not at all, once, with notes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import MissingBlobError
from pilotline.registry.form.failpoints import NAMES, VARIABLE
from pilotline.registry.record.events import list_events
from pilotline.registry.record.manifest import decode_manifest
from pilotline.registry.record.metrics import list_metrics
from pilotline.registry.record.models import get_model
from pilotline.registry.record.registration import register
from pilotline.registry.record.versions import ModelVersion, list_versions
from tests.support.places import ROOT
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

REGISTER = """
import hashlib, sys
from datetime import date
from pilotline.registry import Registry
from pilotline.registry.record.models import ModelFacts
from pilotline.registry.record.models import get_model
from pilotline.registry.record.registration import Judged, Registration, register
column = {"type": "float64", "nullable": False}
with Registry(sys.argv[1], sys.argv[2]) as registry:
    version, new = register(registry, Registration(
        ModelFacts("flight-delay", "operations", "Late?"), "author@example.org",
        {"model.py": ("script", b"pass"), "artifact/model": ("model", b"trained")},
        {"inputs": {"hour": column}, "outputs": {"late": column}},
        "cpython 3.11", "linux x86_64", "a" * 64, (),
        Judged({"roc_auc": 0.75}, date(2013, 1, 2), date(2013, 1, 3), 842), "First version.", None))
    print(version.number, version.digest, new)
"""


def run_register(registry: Registry, failpoint: str | None) -> subprocess.CompletedProcess[str]:
    """Register in a process of its own, which dies at ``failpoint``."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    if failpoint:
        settings[VARIABLE] = failpoint
    url = registry.engine.url.render_as_string(hide_password=False)
    root = getattr(registry.blobs, "root", "")
    command = [sys.executable, "-c", REGISTER, url, str(root)]
    return subprocess.run(command, env=settings, capture_output=True, text=True, check=False)


@on_sqlite
def test_everything_handed_in_is_in_the_manifest(registry: Registry, world: World) -> None:
    version, new = register(registry, world.registration())
    assert (version.number, new) == ("1.0.0", True)
    manifest = decode_manifest(registry.blobs.get(version.digest))
    handed_in = {path: data for path, (_, data) in world.registration().contents.items()}
    assert handed_in["artifact/model"] == b"trained on first"
    assert {file.path: registry.blobs.get(file.sha256) for file in manifest.files} == handed_in
    with registry.read() as session:
        assert [(m.name, m.value, m.rows) for m in list_metrics(session, version)] == [
            ("roc_auc", 0.75, 842)
        ]
    assert (version.features, version.dataset) == ('["hour"]', "flights")
    audit(registry)


@on_sqlite
@pytest.mark.parametrize(
    ("path", "data", "what"),
    [
        ("notes.md", b"All is well.", "notes"),
        ("contract.json", b'{"dataset": "arrivals"}', "dataset"),
        ("contract.json", b'{"inputs": {"minute": {}}}', "features"),
        ("evaluation.json", b'{"metrics": {"roc_auc": 0.99}}', "metrics"),
        ("data.json", b'{"holdout": {"days": ["2013-01-02"]}}', "held-out days"),
    ],
)
def test_files_that_say_something_else_than_the_registration_are_refused(
    registry: Registry, world: World, path: str, data: bytes, what: str
) -> None:
    new = world.registration()
    contents = {**new.contents, path: (new.contents[path][0], data)}
    with pytest.raises(ValueError, match=f"'{path}' says other {what} than its registration"):
        register(registry, replace(new, contents=contents))
    assert list(registry.blobs.list()) == []


def test_the_same_bytes_twice_are_one_version(registry: Registry, world: World) -> None:
    first, _ = register(registry, world.registration())
    again, new = register(registry, world.registration())
    assert (again.number, new) == (first.number, False)
    with registry.read() as session:
        assert len(list_events(session, first.model_id)) == 1


@on_sqlite
def test_release_notes_are_required(registry: Registry, world: World) -> None:
    with pytest.raises(ValueError, match="without release notes"):
        register(registry, world.registration(notes="  \n"))
    with registry.read() as session:
        assert session.scalar(select(func.count(ModelVersion.id))) == 0


class Forgetful(FolderBlobs):
    """A store in which another process's garbage collection takes a blob right after it was put."""

    def put_all(self, blobs: Iterable[bytes]) -> list[str]:
        """Store ``blobs``, and lose the model if it is among them."""
        digests = super().put_all(blobs)
        for digest in digests:
            if self.get(digest).startswith(b"trained"):
                self.delete(digest)
        return digests


def test_a_blob_taken_meanwhile_stops_it(registry: Registry, world: World, tmp_path: Path) -> None:
    with (
        Registry(registry.url, Forgetful(tmp_path / "forgetful")) as beside,
        pytest.raises(MissingBlobError),
    ):
        register(beside, world.registration())
    with registry.read() as session:
        assert session.scalar(select(func.count(ModelVersion.id))) == 0


@pytest.mark.parametrize("failpoint", [name for name in NAMES if name.startswith("register")])
def test_a_kill_on_the_way_and_a_rerun_equal_no_kill(registry: Registry, failpoint: str) -> None:
    killed = run_register(registry, failpoint)
    assert killed.returncode == -signal.SIGKILL
    committed = failpoint == "register: committed"
    with registry.read() as session:
        count = session.scalar(select(func.count(ModelVersion.id)))
    assert count == (1 if committed else 0)
    rerun = run_register(registry, None)
    assert rerun.returncode == 0, rerun.stderr
    number, digest, new = rerun.stdout.split()
    assert (number, new) == ("1.0.0", str(not committed))
    with registry.read() as session:
        model_id = get_model(session, "flight-delay").id
        [version] = list_versions(session, model_id)
        assert version.digest == digest
        assert [event.kind for event in list_events(session, model_id)] == ["registered"]
    audit(registry)
