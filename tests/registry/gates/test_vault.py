"""Secrets at rest: opened by their key and for their owner only."""

import base64

import pytest

from pilotline.registry.form.errors import ApproverError
from pilotline.registry.gates.vault import Vault, make_key

REVIEWER = "reviewer@example.org"
SECRET = "JBSWY3DPEHPK3PXP"


def test_a_sealed_secret_is_opened_again() -> None:
    vault = Vault(make_key())
    assert vault.open(REVIEWER, vault.seal(REVIEWER, SECRET)) == SECRET


def test_a_sealed_secret_shows_neither_secret_nor_owner() -> None:
    sealed = Vault(make_key()).seal(REVIEWER, SECRET)
    for shown in (sealed.encode(), base64.urlsafe_b64decode(sealed)):
        assert SECRET.encode() not in shown
        assert REVIEWER.encode() not in shown


def test_another_key_does_not_open_it() -> None:
    sealed = Vault(make_key()).seal(REVIEWER, SECRET)
    with pytest.raises(ApproverError) as refused:
        Vault(make_key()).open(REVIEWER, sealed)
    assert str(refused.value) == (
        f"Approver {REVIEWER!r}: the key in PILOTLINE_APPROVAL_KEY does not open the secret. "
        "Use the key that it was enrolled with."
    )


def test_a_secret_moved_to_another_name_is_refused() -> None:
    vault = Vault(make_key())
    sealed = vault.seal(REVIEWER, SECRET)
    with pytest.raises(ApproverError) as refused:
        vault.open("operations@example.org", sealed)
    assert str(refused.value) == (
        "Approver 'operations@example.org': the secret was sealed for 'reviewer@example.org'. "
        "Compare the registry with a backup."
    )


@pytest.mark.parametrize("place", [0, 40, -2])
def test_an_edited_secret_is_refused(place: int) -> None:
    vault = Vault(make_key())
    sealed = bytearray(base64.urlsafe_b64decode(vault.seal(REVIEWER, SECRET)))
    sealed[place] ^= 1
    with pytest.raises(ApproverError, match="does not open the secret"):
        vault.open(REVIEWER, base64.urlsafe_b64encode(bytes(sealed)).decode())


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nothing_is_sealed(key: str | None) -> None:
    with pytest.raises(ApproverError) as refused:
        Vault(key).seal(REVIEWER, SECRET)
    assert str(refused.value) == (
        f"Approver {REVIEWER!r}: PILOTLINE_APPROVAL_KEY is not set, so no one-time code can be "
        "checked here. Set it; 'pilotline approvers key' makes a new one for a new registry."
    )


@pytest.mark.parametrize("key", ["hunter2", "a" * 44, "ä" * 44])
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ApproverError, match="is no key") as refused:
        Vault(key).seal(REVIEWER, SECRET)
    assert key not in str(refused.value)


def test_each_key_is_new_and_has_32_bytes() -> None:
    keys = {make_key() for _ in range(3)}
    assert [len(base64.urlsafe_b64decode(key)) for key in keys] == [32, 32, 32]
