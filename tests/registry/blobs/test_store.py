"""What every blob store promises, whatever it is made of; and which address opens which."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.blobs.opening import open_blobs
from pilotline.registry.blobs.s3 import S3Blobs
from pilotline.registry.blobs.store import BlobStore, checked
from pilotline.registry.form.errors import DigestMismatchError, MissingBlobError, StoreError
from tests.support.places import ROOT

# FIPS 180-4: the SHA-256 of "abc" and of nothing.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
WRITER = """
import sys
from pilotline.registry.blobs.opening import open_blobs
blobs = open_blobs(sys.argv[1])
for n in range(20):
    blobs.put(b"shared %d" % n)
"""

KILLED_AMONG_MANY = """
import os, signal, sys
from itertools import count
from pilotline.registry.blobs.opening import open_blobs
steps = count()
def step(event, _):  # what the interpreter tells of itself: a file renamed, bytes sent
    if event in ("os.rename", "http.client.send") and next(steps) == 10:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(step)
open_blobs(sys.argv[1]).put_all(b"%d" % n for n in range(40))
"""


@dataclass(frozen=True)
class Place:
    """A store, where it is, and a way to write into it behind its back."""

    blobs: BlobStore
    address: str

    def overwrite(self, name: str, data: bytes) -> None:
        """Write ``data`` under ``name``, as an accident or another program would."""
        if isinstance(self.blobs, S3Blobs):
            key = f"{self.blobs.prefix}/{name}"
            self.blobs._client.put_object(Bucket=self.blobs.bucket, Key=key, Body=data)
            return
        path = Path(self.address) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty store of each kind."""
    if request.param == "folder":
        address = str(tmp_path / "blobs")
    else:
        s3 = request.getfixturevalue("s3_environment")
        address = f"s3://{s3.bucket}/{uuid4().hex}/blobs"
    return Place(open_blobs(address), address)


def digests(blobs: BlobStore) -> list[str]:
    return sorted(found.digest for found in blobs.list())


def test_what_was_put_comes_back_under_its_sha_256(place: Place) -> None:
    assert place.blobs.put(b"abc") == ABC
    assert place.blobs.get(ABC) == b"abc"
    assert place.blobs.has(ABC)


def test_nothing_at_all_can_be_put(place: Place) -> None:
    assert place.blobs.put(b"") == EMPTY
    assert place.blobs.get(EMPTY) == b""


def test_many_are_put_at_once_and_answered_in_order(place: Place) -> None:
    assert place.blobs.put_all([b"abc", b"", b"abc"]) == [ABC, EMPTY, ABC]
    assert digests(place.blobs) == [ABC, EMPTY]


def test_more_than_there_are_threads_are_all_stored(place: Place) -> None:
    blobs = [os.urandom(2000) for _ in range(50)]
    stored = place.blobs.put_all(iter(blobs))
    assert [place.blobs.get(digest) for digest in stored] == blobs


def test_none_at_all_can_be_put(place: Place) -> None:
    assert place.blobs.put_all([]) == []
    assert digests(place.blobs) == []


def test_putting_many_mends_what_is_damaged_among_them(place: Place) -> None:
    place.blobs.put_all([b"abc", b""])
    place.overwrite(f"ba/{ABC}", b"abd")
    place.blobs.put_all([b"abc", b""])
    assert [place.blobs.get(digest) for digest in (ABC, EMPTY)] == [b"abc", b""]


def test_a_process_killed_in_the_middle_of_many_leaves_only_whole_ones(place: Place) -> None:
    died = subprocess.run(
        [sys.executable, "-c", KILLED_AMONG_MANY, place.address], check=False, cwd=ROOT
    )
    assert died.returncode == -9
    left = digests(place.blobs)
    assert all(place.blobs.get(digest) for digest in left)
    stored = place.blobs.put_all(b"%d" % n for n in range(40))
    assert [place.blobs.get(digest) for digest in stored] == [b"%d" % n for n in range(40)]


def test_what_is_missing_is_told_in_the_order_asked_for(place: Place) -> None:
    place.blobs.put(b"abc")
    assert place.blobs.missing([ABC]) == []
    assert place.blobs.missing(["f" * 64, ABC, EMPTY]) == ["f" * 64, EMPTY]


def test_a_large_blob_comes_back(place: Place) -> None:
    data = os.urandom(20_000_000)
    assert place.blobs.get(place.blobs.put(data)) == data


def test_another_opening_of_the_same_address_sees_it(place: Place) -> None:
    place.blobs.put(b"abc")
    assert open_blobs(place.address).get(ABC) == b"abc"


def test_the_same_bytes_twice_are_kept_once(place: Place) -> None:
    assert place.blobs.put(b"abc") == place.blobs.put(b"abc")
    assert digests(place.blobs) == [ABC]


def test_a_listing_tells_digest_size_and_time(place: Place) -> None:
    place.blobs.put(b"abc")
    (found,) = place.blobs.list()
    assert (found.digest, found.size_bytes) == (ABC, 3)
    assert found.stored_at.utcoffset() == timedelta(0)
    assert abs(found.stored_at - datetime.now(UTC)) < timedelta(minutes=10)


def test_the_listing_of_an_empty_store_is_empty(place: Place) -> None:
    assert list(place.blobs.list()) == []


def test_a_listing_passes_over_what_is_no_blob(place: Place) -> None:
    place.blobs.put(b"abc")
    place.overwrite("readme.txt", b"hello")
    place.overwrite("ba/.put-x1y2", b"half a bl")
    place.overwrite(f"ff/{ABC}", b"in the wrong folder")
    place.overwrite(f"ba/{ABC}.bak", b"a copy")
    assert digests(place.blobs) == [ABC]


def test_a_listing_of_many_is_whole(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(place.blobs.put, (b"%d" % n for n in range(60))))
    assert digests(place.blobs) == sorted(put)


def test_a_missing_blob_is_named(place: Place) -> None:
    assert not place.blobs.has(ABC)
    with pytest.raises(MissingBlobError) as missing:
        place.blobs.get(ABC)
    assert str(missing.value) == (
        "Blob ba7816bf8f01... is not in the blob store. "
        "Restore the store from a copy, or check PILOTLINE_BLOBS."
    )


def test_what_was_deleted_is_gone_and_can_be_put_again(place: Place) -> None:
    place.blobs.put(b"abc")
    place.blobs.delete(ABC)
    assert not place.blobs.has(ABC)
    place.blobs.put(b"abc")
    assert place.blobs.get(ABC) == b"abc"


def test_deleting_what_is_not_there_is_no_error(place: Place) -> None:
    place.blobs.delete(ABC)
    place.blobs.delete(ABC)


def test_what_was_put_since_a_moment_is_not_deleted(place: Place) -> None:
    place.blobs.put(b"abc")
    (stored,) = place.blobs.list()
    assert not place.blobs.delete(ABC, before=stored.stored_at)
    assert place.blobs.get(ABC) == b"abc"
    assert place.blobs.delete(ABC, before=stored.stored_at + timedelta(seconds=1))
    assert not place.blobs.has(ABC)
    assert not place.blobs.delete(ABC)


@pytest.mark.parametrize("damaged", [b"abd", b"", b"abcabc"])
def test_damaged_bytes_are_found_on_reading(place: Place, damaged: bytes) -> None:
    place.blobs.put(b"abc")
    place.overwrite(f"ba/{ABC}", damaged)
    with pytest.raises(DigestMismatchError):
        place.blobs.get(ABC)


def test_putting_again_mends_damaged_bytes(place: Place) -> None:
    place.blobs.put(b"abc")
    place.overwrite(f"ba/{ABC}", b"abd")
    place.blobs.put(b"abc")
    assert place.blobs.get(ABC) == b"abc"


@pytest.mark.parametrize("digest", ["", "abc", "../" + ABC, ABC.upper(), ABC + "\n", ABC + "/x"])
def test_what_is_no_digest_never_becomes_a_path(place: Place, digest: str) -> None:
    with pytest.raises(MissingBlobError):
        place.blobs.get(digest)
    with pytest.raises(MissingBlobError):
        place.blobs.has(digest)
    with pytest.raises(MissingBlobError):
        place.blobs.delete(digest)
    with pytest.raises(MissingBlobError):
        place.blobs.missing([ABC, digest])


def test_the_self_test_passes_and_leaves_nothing(place: Place) -> None:
    place.blobs.check()
    assert list(place.blobs.list()) == []


def test_threads_that_put_the_same_at_once_all_succeed(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: place.blobs.put(b"abc"), range(24))) == {ABC}
    assert place.blobs.get(ABC) == b"abc"


def test_processes_that_put_the_same_at_once_all_succeed(place: Place) -> None:
    command = [sys.executable, "-c", WRITER, place.address]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    stored = digests(place.blobs)
    assert len(stored) == 20
    assert all(place.blobs.get(digest) for digest in stored)


def test_bytes_that_fit_their_digest_come_back() -> None:
    assert checked(ABC, b"abc") == b"abc"


def test_bytes_that_do_not_fit_are_refused_with_both_digests() -> None:
    with pytest.raises(DigestMismatchError) as refused:
        checked(ABC, b"")
    assert str(refused.value) == (
        "Digest mismatch for blob ba7816bf8f01: expected ba7816bf8f01..., read e3b0c44298fc.... "
        "The bytes are damaged; restore them from a copy, or register a new version."
    )


def test_a_path_opens_a_folder(tmp_path: Path) -> None:
    for address in (tmp_path / "blobs", str(tmp_path / "blobs")):
        opened = open_blobs(address)
        assert isinstance(opened, FolderBlobs)
        assert opened.root == tmp_path / "blobs"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "bucket", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://models/team-1/blobs", "models", "team-1/blobs"),
        ("s3://models/team-1/blobs/", "models", "team-1/blobs"),
    ],
)
def test_an_s3_address_names_bucket_and_prefix(address: str, bucket: str, prefix: str) -> None:
    opened = open_blobs(address)
    assert isinstance(opened, S3Blobs)
    assert (opened.bucket, opened.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    "address",
    [
        "s3://",
        "s3:///blobs",
        "s3://Models/blobs",
        "s3://models//blobs",
        "s3://models/../other",
        "s3://models/a b",
        "s3://models/blobs?x=1",
        "s3://key:secret@models/blobs",
        "gs://models/blobs",
        "https://models.example.org/blobs",
        Path("s3://models/blobs"),  # a Path loses a slash, and would become a folder
    ],
)
def test_another_address_is_refused_and_not_repeated(address: str | Path) -> None:
    with pytest.raises(StoreError) as refused:
        open_blobs(address)
    assert str(refused.value) == (
        "Registry at 'PILOTLINE_BLOBS': expected a folder or s3://BUCKET/PREFIX, got another "
        "address. Write the bucket in a-z, 0-9, '.' and '-', the prefix in letters, digits, "
        "'_', '=', '.' and '-'; keys and endpoint belong into the AWS_* variables."
    )
