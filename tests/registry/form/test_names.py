"""The form of names."""

import pytest

from pilotline.registry.form.errors import NameRefusedError
from pilotline.registry.form.names import check_name, is_person, same_person


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@x.org", "ANN@x.org "),
        ("ren\u00e9@x.org", "rene\u0301@x.org"),
        ("ann@x.org", "\uff41nn\uff20x.org"),  # fullwidth letters
        ("Stra\u00dfe", "STRASSE"),
        ("ann  smith", "ann smith"),
    ],
)
def test_one_person_typed_in_two_ways_is_the_same(one: str, other: str) -> None:
    assert same_person(one, other)


def test_two_persons_are_two() -> None:
    assert not same_person("ann@x.org", "anna@x.org")
    assert not same_person("rene@x.org", "ren\u00e9@x.org")


@pytest.mark.parametrize(
    "text", ["", " ", "a\0b", "a\nb", "a\x9bb", "a\u200bb", "a\u202eb", "\ud800", "x" * 201]
)
def test_what_cannot_be_seen_names_nobody(text: str) -> None:
    assert not is_person(text)


def test_a_name_may_have_any_letters() -> None:
    assert is_person("Ren\u00e9 O'Neil <ren\u00e9@x.org>")
