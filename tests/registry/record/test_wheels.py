"""Wheels kept as blobs, found by the digests that locks name, moved with a model on request."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.audit.auditing import audit
from pilotline.registry.form.errors import AuditError, ImportRefusedError
from pilotline.registry.moving.exporting import export_model
from pilotline.registry.moving.importing import import_model
from pilotline.registry.record.registration import register
from pilotline.registry.record.wheels import (
    Wheel,
    find_wheels,
    is_locked,
    list_wheels,
    put_wheel,
    read_lock,
)
from tests.support.registry.databases import on_sqlite
from tests.support.registry.lived import relive
from tests.support.registry.world import World

NAME = "flight-delay"
# As in the simple index of each project.
NUMPY = "numpy-2.2.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
SIX = "six-1.17.0-py2.py3-none-any.whl"
CONTENT = b"the wheel of six"


def lock(*digests: str) -> bytes:
    """Return a lock whose one package may come from files of these digests."""
    return "\n    ".join(
        ["six==1.17.0 \\", *(f"--hash=sha256:{digest} \\" for digest in digests)]
    ).encode()


def test_wheels_are_found_by_digest_and_listed_by_name(session: Session) -> None:
    put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))
    put_wheel(session, Wheel(sha256="b" * 64, filename=NUMPY, size=2**31))  # over 2 GiB fit too
    put_wheel(session, Wheel(sha256="c" * 64, filename="other-1-py3-none-any.whl", size=1))
    session.expire_all()
    both = (
        lock("a" * 64, "f" * 64).rstrip(b" \\")
        + b"\nnumpy==2.2.0 --hash=sha256:"
        + b"b" * 64
        + b"\n"
    )
    found = find_wheels(session, both)
    assert [(wheel.filename, wheel.size) for wheel in found] == [(NUMPY, 2**31), (SIX, 11050)]


@on_sqlite
@pytest.mark.parametrize(
    "filename",
    ["numpy-2.2.0-py3-none-any.whl", "six-1.16.0-py3-none-any.whl", "six.whl", SIX + "x"],
)
def test_a_wheel_under_the_name_of_another_package_is_passed_over(
    session: Session, filename: str
) -> None:
    put_wheel(session, Wheel(sha256="a" * 64, filename=filename, size=1))
    assert find_wheels(session, lock("a" * 64)) == []
    put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))  # as its index names it
    assert [wheel.filename for wheel in find_wheels(session, lock("a" * 64))] == [SIX]


@on_sqlite
def test_of_two_wheels_with_one_name_one_is_found(session: Session) -> None:
    for digest in ("b" * 64, "a" * 64):
        put_wheel(session, Wheel(sha256=digest, filename=SIX, size=11050))
    assert [wheel.sha256 for wheel in find_wheels(session, lock("a" * 64, "b" * 64))] == ["a" * 64]


@pytest.mark.parametrize(
    ("line", "filename"),
    [
        (
            "Ruamel.YAML_clib==0.2.8 ; python_version >= '3'",
            "ruamel_yaml_clib-0.2.8-py3-none-any.whl",
        ),
        ("torch==2.5.0", "torch-2.5.0+cpu-cp311-cp311-linux_x86_64.whl"),  # PEP 440: local version
        ("numpy[extra]==2.2.0rc1", "numpy-2.2.0rc1-1build-py3-none-any.whl"),
    ],
)
def test_names_and_versions_are_compared_as_installers_do(line: str, filename: str) -> None:
    packages = read_lock(f"{line} \\\n    --hash=sha256:{'a' * 64}\n".encode())
    assert is_locked(filename, "a" * 64, packages)
    assert not is_locked(filename, "b" * 64, packages)


def test_a_wheel_put_twice_is_there_once(session: Session) -> None:
    for _ in range(2):
        put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))
    assert len(find_wheels(session, lock("a" * 64))) == 1


@on_sqlite
def test_a_lock_without_hashes_names_no_wheels(session: Session) -> None:
    put_wheel(session, Wheel(sha256="a" * 64, filename=SIX, size=11050))
    assert find_wheels(session, b"six==1.17.0\n") == []


def keep_wheels(registry: Registry) -> None:
    """Register a version whose lock names one kept wheel, and keep a wheel of another."""
    new = World().registration()
    with registry.write() as session:
        for content, filename in ((CONTENT, SIX), (b"another", NUMPY)):
            digest = registry.blobs.put(content)
            put_wheel(session, Wheel(sha256=digest, filename=filename, size=len(content)))
    requirements = lock(registry.blobs.put(CONTENT))
    contents = {**new.contents, "requirements.lock": ("lock", requirements)}
    register(registry, replace(new, contents=contents))


@pytest.fixture
def kept(registry: Registry, shared: Path) -> Registry:
    """Return a registry with a version whose lock names one kept wheel, and a wheel of another."""
    return relive(registry, shared, keep_wheels)


def test_wheels_stay_behind_unless_asked_for(
    kept: Registry, target: Registry, tmp_path: Path
) -> None:
    assert export_model(kept, NAME, tmp_path / "out.tar").wheels == 0
    import_model(target, tmp_path / "out.tar")
    with target.read() as session:
        assert list_wheels(session) == []


@pytest.mark.parametrize("name", ["out", "out.tar.gz"])
def test_only_the_wheels_of_its_own_locks_go_along(
    kept: Registry, target: Registry, tmp_path: Path, name: str
) -> None:
    assert export_model(kept, NAME, tmp_path / name, with_wheels=True).wheels == 1
    assert import_model(target, tmp_path / name).wheels == 1
    with target.read() as session:
        (wheel,) = list_wheels(session)
    assert (wheel.filename, wheel.size) == (SIX, len(CONTENT))
    assert target.blobs.get(wheel.sha256) == CONTENT


def test_wheels_can_follow_a_model_that_is_here_already(
    kept: Registry, target: Registry, tmp_path: Path
) -> None:
    export_model(kept, NAME, tmp_path / "bare")
    export_model(kept, NAME, tmp_path / "whole", with_wheels=True)
    import_model(target, tmp_path / "bare")
    later = import_model(target, tmp_path / "whole")
    assert (later.new, later.wheels) == (False, 1)
    assert import_model(target, tmp_path / "whole").wheels == 0


@on_sqlite
@pytest.mark.parametrize(
    "forged",
    [
        {"filename": "../../six-1.17.0-py3-none-any.whl"},
        {"filename": "/six-1.17.0-py3-none-any.whl"},
        {"filename": "six.whl"},
        {"filename": "zzz-9-py3-none-any.whl"},
        {"filename": "six-1.16.0-py2.py3-none-any.whl"},
        {"filename": "six-1.17.0.tar.gz"},
        {"filename": "six\n-1.17.0-py3-none-any.whl"},
        {"size": 1},
        {"sha256": "a" * 64},
        {"extra": 1},
    ],
)
def test_a_forged_wheel_refuses_the_whole_import(
    kept: Registry, target: Registry, tmp_path: Path, forged: dict[str, object]
) -> None:
    export_model(kept, NAME, tmp_path / "out", with_wheels=True)
    index = json.loads((tmp_path / "out" / "export.json").read_bytes())
    index["wheels"][0] |= forged
    (tmp_path / "out" / "export.json").write_text(json.dumps(index))
    with pytest.raises(ImportRefusedError, match="Nothing was imported"):
        import_model(target, tmp_path / "out")
    assert list(target.blobs.list()) == []


def test_a_damaged_wheel_is_named_by_the_audit(kept: Registry) -> None:
    digest = kept.blobs.put(CONTENT)
    kept.blobs.delete(digest)
    with pytest.raises(AuditError, match=SIX):
        audit(kept)
