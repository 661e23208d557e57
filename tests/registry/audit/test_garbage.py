"""Garbage collection removes what nothing names, and nothing else."""

import os
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from pilotline.registry import Registry
from pilotline.registry.audit.garbage import collect_garbage
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.blobs.store import StoredBlob
from pilotline.registry.form.errors import AuditError
from pilotline.registry.record.registration import register
from pilotline.registry.record.wheels import Wheel, put_wheel
from pilotline.registry.runs.ingests import Ingest, record_ingest
from tests.support.registry.databases import on_sqlite
from tests.support.registry.world import World

DAY = timedelta(days=1)


def age_blobs(registry: Registry, hours: float) -> None:
    """Let every blob look as if it was stored ``hours`` ago."""
    assert isinstance(registry.blobs, FolderBlobs)
    moment = time.time() - hours * 3600
    for path in registry.blobs.root.glob("*/*"):
        os.utime(path, (moment, moment))


def test_what_nothing_names_goes_after_the_grace_time(registry: Registry, world: World) -> None:
    new = world.registration()
    version, _ = register(registry, new)
    stray = registry.blobs.put(b"nobody names this")
    age_blobs(registry, 25)
    done = collect_garbage(registry, DAY, only_plan=False)
    assert [blob.digest for blob in done.removed] == [stray]
    assert done.size_bytes == 17
    assert done.kept == 1 + len(new.contents)  # the manifest and its files
    assert not registry.blobs.has(stray)
    assert registry.blobs.has(version.digest)


@on_sqlite
def test_what_is_younger_than_the_grace_time_stays(registry: Registry) -> None:
    stray = registry.blobs.put(b"perhaps of a training under way")
    done = collect_garbage(registry, DAY, only_plan=False)
    assert (done.removed, done.young) == ([], 1)
    assert registry.blobs.has(stray)


@on_sqlite
def test_putting_the_same_bytes_again_makes_them_young(registry: Registry) -> None:
    stray = registry.blobs.put(b"again")
    age_blobs(registry, 25)
    registry.blobs.put(b"again")
    assert collect_garbage(registry, DAY, only_plan=False).removed == []
    assert registry.blobs.has(stray)


def test_a_plan_removes_nothing(registry: Registry) -> None:
    stray = registry.blobs.put(b"nobody names this")
    age_blobs(registry, 25)
    planned = collect_garbage(registry, DAY, only_plan=True)
    assert [blob.digest for blob in planned.removed] == [stray]
    assert registry.blobs.has(stray)


def test_kept_wheels_stay(registry: Registry) -> None:
    digest = registry.blobs.put(b"a wheel")
    with registry.write() as session:
        put_wheel(session, Wheel(sha256=digest, filename="a-1-py3-none-any.whl", size=7))
    age_blobs(registry, 25)
    assert collect_garbage(registry, DAY, only_plan=False).removed == []


def test_the_profiles_of_ingested_days_stay_those_of_before_too(registry: Registry) -> None:
    digests = [registry.blobs.put(data) for data in (b"before", b"since the correction")]
    with registry.write() as session:
        for digest in digests:
            record_ingest(
                session,
                Ingest(
                    dataset="flights",
                    date=date(2013, 1, 1),
                    token=digest,
                    partition_digest=digest,
                    profile_digest=digest,
                    table_version=1,
                    accepted=90,
                    quarantined=0,
                ),
            )
    age_blobs(registry, 25)
    done = collect_garbage(registry, DAY, only_plan=False)
    assert (done.removed, done.kept) == ([], 2)


@on_sqlite
def test_a_damaged_manifest_stops_it(registry: Registry, world: World) -> None:
    version, _ = register(registry, world.registration())
    stray = registry.blobs.put(b"nobody names this")
    age_blobs(registry, 25)
    registry.blobs.delete(version.digest)
    with pytest.raises(AuditError, match=r"Manifest of 1\.0\.0"):
        collect_garbage(registry, DAY, only_plan=False)
    assert registry.blobs.has(stray)


@on_sqlite
def test_a_short_grace_time_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="at least 2:00:00"):
        collect_garbage(registry, timedelta(minutes=5), only_plan=False)


@on_sqlite
def test_a_grace_time_beyond_the_calendar_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="at most 36500 days"):
        collect_garbage(registry, timedelta.max, only_plan=True)


class PutMeanwhile(FolderBlobs):
    """A folder in which somebody puts a blob again just after it was listed."""

    def list(self) -> Iterator[StoredBlob]:
        """Give every stored blob, then put one."""
        yield from [*super().list()]
        self.put(b"a profile")


@on_sqlite
def test_what_is_put_again_after_the_listing_stays(registry: Registry, tmp_path: Path) -> None:
    profile, stray = registry.blobs.put(b"a profile"), registry.blobs.put(b"nobody names this")
    age_blobs(registry, 25)
    registry.blobs = PutMeanwhile(tmp_path / "blobs")
    done = collect_garbage(registry, DAY, only_plan=False)
    assert [blob.digest for blob in done.removed] == [stray]
    assert registry.blobs.get(profile) == b"a profile"


@on_sqlite
def test_a_folder_in_place_of_a_blob_is_left_alone(registry: Registry) -> None:
    assert isinstance(registry.blobs, FolderBlobs)
    stray = registry.blobs.put(b"nobody names this")
    path = registry.blobs.root / stray[:2] / stray
    path.unlink()
    path.mkdir()
    age_blobs(registry, 25)
    assert collect_garbage(registry, DAY, only_plan=False).removed == []
    assert path.is_dir()


@on_sqlite
def test_nothing_outside_the_store_is_touched(registry: Registry, tmp_path: Path) -> None:
    assert isinstance(registry.blobs, FolderBlobs)
    foreign = registry.blobs.root / "aa" / "notes.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    age_blobs(registry, 1000)
    collect_garbage(registry, DAY, only_plan=False)
    assert foreign.exists()


def test_a_plan_lists_nothing_that_is_too_young(registry: Registry) -> None:
    old = registry.blobs.put(b"nobody names this")
    age_blobs(registry, 25)
    registry.blobs.put(b"perhaps of a training under way")
    planned = collect_garbage(registry, DAY, only_plan=True)
    assert [blob.digest for blob in planned.removed] == [old]
    assert (planned.kept, planned.young) == (0, 1)
