"""Blobs in a folder: kept once, hashed again, never half there."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import MissingBlobError, StoreError
from tests.support.places import ROOT

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
KILLED = """
import os, signal, sys
from pathlib import Path
from pilotline.registry.blobs.folder import FolderBlobs
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
FolderBlobs(Path(sys.argv[1])).put(b"abc")
"""
NO_SPACE = """
import resource, sys
from pathlib import Path
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    FolderBlobs(Path(sys.argv[1])).put(bytes(100_000))
except StoreError as err:
    print(err)
"""
AMONG_MANY = """
import os, resource, sys
from pathlib import Path
from pilotline.registry.blobs.folder import FolderBlobs
from pilotline.registry.form.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
small = [os.urandom(100) for _ in range(30)]
try:
    FolderBlobs(Path(sys.argv[1])).put_all([*small, bytes(100_000), *small])
except StoreError as err:
    print(err)
"""
TRACED = """
import os, sys
from pathlib import Path
from pilotline.registry.blobs.folder import FolderBlobs
fsync = os.fsync
def told(opened):
    fsync(opened)
    print("synced", os.readlink(f"/proc/self/fd/{opened}"))
os.fsync = told
def renamed(event, names):
    if event == "os.rename":
        print("renamed", names[0], names[1])
sys.addaudithook(renamed)
FolderBlobs(Path(sys.argv[1])).put_all([b"abc"])
"""


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_bytes_are_stored_under_their_sha_256(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")
    assert blobs.put(b"abc") == ABC
    assert (tmp_path / "blobs" / "ba" / ABC).read_bytes() == b"abc"
    assert blobs.get(ABC) == b"abc"
    assert blobs.has(ABC)


def test_a_stored_file_is_read_only(tmp_path: Path) -> None:
    FolderBlobs(tmp_path).put(b"abc")
    assert (tmp_path / "ba" / ABC).stat().st_mode & 0o777 == 0o444


def test_a_process_killed_while_writing_leaves_no_half_blob(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=ROOT)
    assert died.returncode == -9
    blobs = FolderBlobs(tmp_path)
    assert not blobs.has(ABC)
    blobs.put(b"abc")
    assert blobs.get(ABC) == b"abc"


def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    # A limit on file sizes stands in for a full disk.
    said = subprocess.run(
        [sys.executable, "-c", NO_SPACE, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "cannot write a blob (File too large). Free space or fix rights." in said.stdout
    assert files_in(tmp_path) == []


def test_a_write_that_fails_among_many_leaves_no_half_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AMONG_MANY, str(tmp_path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert "cannot write a blob (File too large). Free space or fix rights." in said.stdout
    assert not [name for name in files_in(tmp_path) if name.startswith(".put-")]
    blobs = FolderBlobs(tmp_path)
    assert all(len(blobs.get(stored.digest)) == 100 for stored in blobs.list())


def test_bytes_are_durable_before_their_name_and_the_name_before_the_end(tmp_path: Path) -> None:
    root = tmp_path / "home" / "blobs"
    command = [sys.executable, "-c", TRACED, str(root)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    steps = [line.split() for line in said.stdout.splitlines()]
    temporary = next(names[0] for what, *names in steps if what == "renamed")
    assert steps == [
        ["synced", str(tmp_path)],
        ["synced", str(root.parent)],
        ["synced", temporary],
        ["renamed", temporary, str(root / "ba" / ABC)],
        ["synced", str(root / "ba")],
        ["synced", str(root)],
    ]


def test_a_store_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(StoreError) as refused:
        FolderBlobs(tmp_path / "blobs").put(b"abc")
    assert str(refused.value) == (
        f"Registry at {str(tmp_path / 'blobs')!r}: cannot write a blob (File exists). "
        "Free space or fix rights."
    )


def test_putting_again_makes_an_old_file_young(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    path = tmp_path / "ba" / blobs.put(b"abc")
    os.utime(path, (0, 0))
    (old,) = blobs.list()
    assert old.stored_at == datetime(1970, 1, 1, tzinfo=UTC)
    blobs.put(b"abc")
    (young,) = blobs.list()
    assert young.stored_at.year > 2000


def test_a_listing_passes_over_what_a_killed_process_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=ROOT)
    assert [name[:5] for name in files_in(tmp_path)] == [".put-"]
    assert list(FolderBlobs(tmp_path).list()) == []


def test_the_self_test_makes_the_folder_and_leaves_no_file(tmp_path: Path) -> None:
    FolderBlobs(tmp_path / "home" / "blobs").check()
    assert (tmp_path / "home" / "blobs").is_dir()
    assert files_in(tmp_path) == []


def test_the_self_test_refuses_what_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(StoreError) as refused:
        FolderBlobs(tmp_path / "blobs").check()
    assert str(refused.value) == (
        f"Registry at {str(tmp_path / 'blobs')!r}: cannot be written (File exists). "
        "Free space or fix rights."
    )


def lay_pipe(path: Path) -> None:
    os.mkfifo(path)


def lay_loop(path: Path) -> None:
    path.symlink_to(path)


def lay_link(path: Path) -> None:
    elsewhere = path.parents[1] / "elsewhere"
    elsewhere.write_bytes(b"abc")
    path.symlink_to(elsewhere)


def lay_socket(path: Path) -> None:
    with socket(AF_UNIX) as listening, chdir(path.parent):  # its address may have 107 characters
        listening.bind(path.name)


def lay_file_for_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file where the folder should be")


REPLACEABLE: list[Callable[[Path], None]] = [lay_pipe, lay_loop, lay_link, lay_socket]
IN_THE_WAY: list[Callable[[Path], None]] = [Path.mkdir, lay_file_for_folder]


@pytest.fixture(params=REPLACEABLE + IN_THE_WAY, ids=lambda lay: lay.__name__)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> FolderBlobs:
    """Return a store in which something odd lies in place of the blob of abc."""
    blobs = FolderBlobs(tmp_path)
    path = tmp_path / "ba" / blobs.put(b"abc")
    path.unlink()
    request.param(path)
    return blobs


def test_what_is_no_plain_file_is_neither_read_nor_waited_for(odd: FolderBlobs) -> None:
    with pytest.raises(MissingBlobError) as missing:
        odd.get(ABC)
    assert str(missing.value) == (
        "Blob ba7816bf8f01... is no plain file in the blob store. "
        "Restore the store from a copy, or check PILOTLINE_BLOBS."
    )
    assert not odd.has(ABC)
    assert odd.missing([ABC]) == [ABC]
    assert list(odd.list()) == []


@pytest.mark.parametrize("odd", REPLACEABLE, indirect=True)
def test_putting_again_takes_its_place(odd: FolderBlobs) -> None:
    assert odd.put(b"abc") == ABC
    assert odd.get(ABC) == b"abc"
    assert not (odd.root / "ba" / ABC).is_symlink()


@pytest.mark.parametrize("odd", IN_THE_WAY, indirect=True)
def test_what_cannot_be_replaced_is_told(odd: FolderBlobs) -> None:
    with pytest.raises(StoreError, match=r"cannot write a blob \((Is a directory|File exists)\)"):
        odd.put(b"abc")


def test_a_looping_store_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "blobs").symlink_to(tmp_path / "blobs")
    blobs = FolderBlobs(tmp_path / "blobs")
    with pytest.raises(MissingBlobError):
        blobs.get(ABC)
    with pytest.raises(StoreError, match="cannot write a blob"):
        blobs.put(b"abc")
    assert list(blobs.list()) == []


@pytest.fixture
def old(tmp_path: Path) -> FolderBlobs:
    """Return a store with a blob of long ago."""
    blobs = FolderBlobs(tmp_path)
    os.utime(tmp_path / "ba" / blobs.put(b"abc"), (0, 0))
    return blobs


NOW = datetime(2001, 1, 1, tzinfo=UTC)  # long after the one and long before the other


def test_a_blob_that_is_put_again_between_the_look_and_the_delete_stays(
    old: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def put_first(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        old.put(b"abc")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", put_first)
    assert not old.delete(ABC, before=NOW)
    assert old.get(ABC) == b"abc"
    assert files_in(old.root) == [ABC]


def test_a_blob_that_is_put_again_while_it_is_aside_is_written_anew(
    old: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def put_after(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        renamed = rename(path, target)
        old.put(b"abc")
        return renamed

    monkeypatch.setattr(Path, "rename", put_after)
    assert old.delete(ABC, before=NOW)
    assert old.get(ABC) == b"abc"
    assert files_in(old.root) == [ABC]


def test_a_put_whose_blob_is_deleted_while_it_makes_it_young_writes_it_anew(
    old: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def delete_first(file: int) -> None:
        monkeypatch.setattr(os, "utime", utime)
        assert old.delete(ABC, before=NOW)
        utime(file)

    monkeypatch.setattr(os, "utime", delete_first)
    assert old.put(b"abc") == ABC
    assert old.get(ABC) == b"abc"
