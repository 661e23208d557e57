"""The form of names."""

import pytest

from registry.errors import NameRefusedError
from registry.names import check_name


@pytest.mark.parametrize("name", ["a", "flight-delay", "2013", "a-", "a" * 63])
def test_names_in_the_allowed_form_come_back(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "A", "a_b", "a b", "a.b", "a/b", "..", "a\n", "\u00e9", "a" * 64, "nul", "champion"],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(NameRefusedError):
        check_name(name)


def test_the_refusal_says_what_is_allowed() -> None:
    with pytest.raises(NameRefusedError) as refused:
        check_name("Flight Delay")
    assert str(refused.value) == (
        "Name 'Flight Delay': expected 1 to 63 of a-z, 0-9 and '-', not starting with '-'. "
        "Rename the folder; folder name and model name are the same."
    )
