"""Archives: exactly what an export holds, or refused by name with nothing written."""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from pilotline.registry import Registry
from pilotline.registry.form.errors import ImportRefusedError
from pilotline.registry.moving.archive import Caps, stage
from pilotline.registry.moving.importing import import_model
from pilotline.registry.store.tables import Base

BLOB = b"weights"
DIGEST = hashlib.sha256(BLOB).hexdigest()
NAME = f"blobs/{DIGEST[:2]}/{DIGEST}"
INDEX = ("export.json", b"{}")

Member = tuple[str, bytes] | tarfile.TarInfo


def _tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def _special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


SOUND = _tar(INDEX, (NAME, BLOB))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "an absolute path": (_tar(INDEX, ("/etc/passwd", b"x")), "'/etc/passwd'"),
    "a path upwards": (_tar(INDEX, ("../../x", b"x")), "'../../x'"),
    "a path upwards inside": (_tar(INDEX, (f"blobs/../{NAME}", BLOB)), "'blobs/../blobs"),
    "a dot before": (_tar(("./export.json", b"{}")), "'./export.json'"),
    "an extra member": (_tar(INDEX, ("readme.txt", b"x")), "'readme.txt'"),
    "a blob in the wrong folder": (_tar(INDEX, (f"blobs/00/{DIGEST}", BLOB)), "'blobs/00/"),
    "a name in capitals": (_tar(INDEX, (NAME.upper(), BLOB)), "'BLOBS/"),
    "a name with an escape": (_tar(INDEX, ("\x1b[2J", b"x")), r"'\x1b[2J'"),
    "a symbolic link": (_tar(_special(NAME, tarfile.SYMTYPE, "/etc")), "no regular file"),
    "a hard link": (_tar(INDEX, _special(NAME, tarfile.LNKTYPE, "export.json")), "no regular file"),
    "a character device": (_tar(_special(NAME, tarfile.CHRTYPE)), "no regular file"),
    "a block device": (_tar(_special(NAME, tarfile.BLKTYPE)), "no regular file"),
    "a pipe": (_tar(_special("export.json", tarfile.FIFOTYPE)), "no regular file"),
    "a folder": (_tar(_special("blobs", tarfile.DIRTYPE)), "no regular file"),
    "a sparse file": (_tar(_special(NAME, tarfile.GNUTYPE_SPARSE)), "no regular file"),
    "a name in an extension": (_tar(INDEX, ("x" * 300, b"x")), "no regular file"),
    "a member twice": (_tar(INDEX, (NAME, BLOB), (NAME, BLOB)), "there twice"),
    "two indexes": (_tar(INDEX, INDEX), "there twice"),
    "no index": (_tar((NAME, BLOB)), "'export.json' is missing"),
    "a flipped byte": (_tar(INDEX, (NAME, b"Weights")), "it is damaged"),
    "a cut": (SOUND[:700], "cut short"),
    "no end": (SOUND[: 4 * 512], "cut short"),
    "more after the end": (SOUND + b"x" * 512, "more after its end"),
    "no tar at all": (b"x" * 1024, "no tar file"),
    "nothing": (b"", "cut short"),
}


def test_an_index_over_64_mebibytes_is_refused_before_it_is_read(
    target: Registry, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "export.json").open("wb") as file:
        file.truncate(2**26 + 1)
    _refused(target, tmp_path / "in", "has more than 67108864 bytes")


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "gz"])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_whole(
    target: Registry, tmp_path: Path, what: str, packed: bool
) -> None:
    data, told = HOSTILE[what]
    path = tmp_path / ("in.tar.gz" if packed else "in.tar")
    path.write_bytes(gzip.compress(data) if packed else data)
    _refused(target, path, told)


GZIPPED = gzip.compress(SOUND)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (gzip.compress(SOUND + b"\0" * (8 << 20)), "200 times its size"),
        (GZIPPED[:-9], "cut short"),
        (GZIPPED + GZIPPED, "more after its end"),
        (GZIPPED[:-8] + b"\0" * 8, "no gzip file, or a damaged one"),
        (SOUND, "no gzip file, or a damaged one"),
    ],
    ids=["bomb", "cut", "two in one", "checksum", "no gzip"],
)
def test_a_hostile_gzip_file_is_refused_whole(
    target: Registry, tmp_path: Path, data: bytes, told: str
) -> None:
    (tmp_path / "in.tar.gz").write_bytes(data)
    _refused(target, tmp_path / "in.tar.gz", told)


def _link_index(folder: Path) -> None:
    (folder / "export.json").unlink()
    (folder / "export.json").symlink_to("x")


PREPARED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (lambda folder: (folder / "blobs").symlink_to("/etc"), "'blobs' is no regular file"),
    "a linked index": (_link_index, "'export.json' is no regular file"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "'pipe' is no regular file"),
    "an extra file": (lambda folder: (folder / "x").write_text("x"), "'x' is neither"),
    "an extra folder": (lambda folder: (folder / "x").mkdir(), "'x' is no regular file"),
    "no index": (lambda folder: (folder / "export.json").unlink(), "'export.json' is missing"),
}


@pytest.mark.parametrize("what", PREPARED)
def test_a_hostile_folder_is_refused_whole(target: Registry, tmp_path: Path, what: str) -> None:
    prepare, told = PREPARED[what]
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "export.json").write_bytes(b"{}")
    prepare(folder)
    _refused(target, folder, told)


def test_another_kind_of_file_is_refused(target: Registry, tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(b"PK")
    _refused(target, tmp_path / "in.zip", "expected a folder")


@pytest.mark.parametrize(
    ("caps", "told"),
    [
        (Caps(members=1), "one more than 1"),
        (Caps(member_bytes=6), "over the limit"),
        (Caps(total_bytes=8), "over the limit"),
        (Caps(json_bytes=1), "more than 1 bytes"),
    ],
)
def test_what_is_over_a_cap_is_refused_whole(
    target: Registry, tmp_path: Path, caps: Caps, told: str
) -> None:
    (tmp_path / "in.tar").write_bytes(SOUND)
    _refused(target, tmp_path / "in.tar", told, caps)


def test_a_size_that_is_only_claimed_is_refused_before_it_is_read(
    target: Registry, tmp_path: Path
) -> None:
    claimed = tarfile.TarInfo(NAME)
    claimed.size = 5 << 30
    (tmp_path / "in.tar").write_bytes(claimed.tobuf(tarfile.USTAR_FORMAT))
    _refused(target, tmp_path / "in.tar", "over the limit")


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "gz"])
def test_a_sound_archive_is_staged_under_its_digests(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("in.tar.gz" if packed else "in.tar")
    path.write_bytes(GZIPPED if packed else SOUND)
    (tmp_path / "staging").mkdir()
    staged = stage(path, tmp_path / "staging", Caps())
    assert staged.blobs == {DIGEST: 7}
    assert {file.name for file in (tmp_path / "staging").iterdir()} == {"export.json", DIGEST}
    assert (tmp_path / "staging" / DIGEST).read_bytes() == BLOB


def _refused(target: Registry, path: Path, told: str, caps: Caps | None = None) -> None:
    """Import ``path``, which must fail with ``told`` in the message and leave nothing."""
    around = set(path.parent.iterdir())
    with pytest.raises(ImportRefusedError) as refused:
        import_model(target, path, caps or Caps())
    assert told in str(refused.value)
    assert list(target.blobs.list()) == []
    assert set(path.parent.iterdir()) == around
    with target.read() as session:
        for table in Base.metadata.sorted_tables:
            if table.name != "registry_info":
                assert session.scalar(select(func.count()).select_from(table)) == 0
