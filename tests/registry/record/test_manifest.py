"""The manifest: bytes that say everything about a version, and no other bytes."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotline.registry.record.manifest import ROLES, Manifest, ManifestFile, decode_manifest

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4
FILES = (
    ManifestFile("script", "model.py", 3, ABC),
    ManifestFile("config", "model.toml", 3, ABC),
    ManifestFile("model", "model/model.joblib", 3, ABC),
)
MANIFEST = Manifest("flight-delay", FILES, "cpython 3.11", "linux x86_64", None)


def by_hand(**changes: Any) -> bytes:
    facts = {
        "format": "pilotline-manifest/1",
        "model": "flight-delay",
        "files": [
            {"role": file.role, "path": file.path, "size": file.size, "sha256": file.sha256}
            for file in FILES
        ],
        "interpreter": "cpython 3.11",
        "platform": "linux x86_64",
        "parent": None,
    }
    return json.dumps(facts | changes, sort_keys=True, separators=(",", ":")).encode()


def test_a_manifest_is_compact_sorted_json() -> None:
    assert MANIFEST.encode() == by_hand()


def test_the_digest_is_the_sha_256_of_the_bytes() -> None:
    assert MANIFEST.digest() == hashlib.sha256(by_hand()).hexdigest()


def test_the_order_in_which_files_were_found_does_not_matter() -> None:
    turned = Manifest("flight-delay", FILES[::-1], "cpython 3.11", "linux x86_64", None)
    assert turned.digest() == MANIFEST.digest()


@given(
    st.lists(
        st.builds(
            ManifestFile,
            st.sampled_from(ROLES),
            st.text(min_size=1),
            st.integers(0, 2**40),
            st.just(ABC),
        ),
        max_size=5,
        unique_by=lambda file: file.path,
    ),
    st.none() | st.just(ABC),
)
def test_a_manifest_reads_back(files: list[ManifestFile], parent: str | None) -> None:
    ordered = tuple(sorted(files, key=lambda file: file.path))
    manifest = Manifest("flight-delay", ordered, "cpython 3.11", "linux x86_64", parent)
    assert decode_manifest(manifest.encode()) == manifest


@pytest.mark.parametrize(
    "edited",
    [
        by_hand() + b"\n",
        by_hand().replace(b",", b", "),
        by_hand(extra=1),
        by_hand(files=list(reversed(json.loads(by_hand())["files"]))),
        by_hand().replace(b'"parent":null', b'"parent":"x","parent":null'),
    ],
    ids=["newline", "spaces", "extra key", "other order", "key twice"],
)
def test_an_edited_manifest_is_refused(edited: bytes) -> None:
    with pytest.raises(ValueError, match="the manifest was edited"):
        decode_manifest(edited)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"format 'pilotline-manifest/1', got 'other/2'\."):
        decode_manifest(by_hand(format="other/2"))


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="not text"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"format":"pilotline-manifest/1"}', id="keys missing"),
        pytest.param(by_hand(files=[{"role": "script"}]), id="file keys missing"),
    ],
)
def test_bytes_that_are_no_manifest_are_a_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match=r"Expect|decode"):
        decode_manifest(damaged)


def test_a_file_is_found_by_its_path() -> None:
    assert MANIFEST.file("model.toml").role == "config"
    with pytest.raises(LookupError, match=r"Version of 'flight-delay' holds no file 'nothing\.py'"):
        MANIFEST.file("nothing.py")


def test_digests_are_listed_by_role() -> None:
    assert MANIFEST.digests("script", "config") == {"model.py": ABC, "model.toml": ABC}
    assert MANIFEST.digests("lock") == {}
