"""The check that every blob store makes before it hands bytes out."""

import pytest

from registry.blobs import checked
from registry.errors import DigestMismatchError

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4


def test_bytes_that_fit_their_digest_come_back() -> None:
    assert checked(ABC, b"abc") == b"abc"


def test_bytes_that_do_not_fit_are_refused_with_both_digests() -> None:
    with pytest.raises(DigestMismatchError) as refused:
        checked(ABC, b"")
    assert str(refused.value) == (
        "Digest mismatch for blob ba7816bf8f01: expected ba7816bf8f01..., read e3b0c44298fc.... "
        "The bytes are damaged; restore them from a copy, or register a new version."
    )
