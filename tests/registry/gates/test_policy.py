"""The factory's policy file, and what it may not say."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from pilotline.registry.form.errors import PolicyError
from pilotline.registry.gates.policy import Policy, read_policy, tighten
from tests.support.registry.world import World

SMALLEST = """
[approvals]
review = ["reviewer@example.org"]
go-live = ["operations@example.org"]
"""


def read(text: str) -> Policy:
    return read_policy("policy.toml", tomllib.loads(text))


def test_a_short_policy_gets_the_strict_defaults() -> None:
    assert read(SMALLEST) == Policy(
        approvers={"review": ("reviewer@example.org",), "go-live": ("operations@example.org",)},
        identity="claimed",
        distinct_approvers=True,
        expires_days=14,
        minimum_isolation="A",
    )


def test_everything_written_is_read() -> None:
    text = (
        SMALLEST
        + "distinct_approvers = false\nexpires_days = 3\nidentity = 'totp'\n"
        + "backdating = true\n[isolation]\nminimum = 'C'\n"
    )
    policy = read(text)
    assert not policy.distinct_approvers
    assert policy.expires_days == 3
    assert (policy.identity, policy.backdating) == ("totp", True)
    assert policy.minimum_isolation == "C"


def test_any_other_rule_gives_another_digest(world: World) -> None:
    others = [
        replace(world.policy, expires_days=15),
        replace(world.policy, distinct_approvers=False),
        replace(world.policy, identity="totp"),
        replace(world.policy, backdating=True),
        replace(world.policy, minimum_isolation="C"),
        replace(
            world.policy, approvers={**world.policy.approvers, "review": ("reviewer@example.org",)}
        ),
    ]
    assert replace(world.policy).digest() == world.policy.digest()
    assert len({world.policy.digest(), *(other.digest() for other in others)}) == 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            SMALLEST + "reviews = []",
            "unknown key of [approvals] 'reviews'. Known: backdating, distinct_approvers, ",
        ),
        (
            SMALLEST + "[isolation]\ntier = 'A'",
            "unknown key of [isolation] 'tier'. Known: minimum.",
        ),
        (SMALLEST + "[approval]", "unknown table 'approval'. Known: approvals, isolation."),
        ("", "gate 'review' names no approver. List at least one."),
        (SMALLEST.replace("operations@example.org", " "), "gate 'go-live' names no approver"),
        (
            SMALLEST + "identity = 'passport'",
            "identity 'passport'. Expected one of ('claimed', 'totp').",
        ),
        (SMALLEST + "[isolation]\nminimum = 'B'", "isolation 'B'. Expected one of ('A', 'C')."),
        (
            SMALLEST + "expires_days = 0",
            "expires_days 0. Expected a whole number of days, 1 to 36500.",
        ),
        (SMALLEST + "expires_days = 1.5", "expires_days 1.5. Expected a whole number of days, "),
        (SMALLEST + "expires_days = 10000000000", "expires_days 10000000000. Expected a whole "),
        (
            SMALLEST.replace('"reviewer@', '"Reviewer@example.org ", "reviewer@'),
            "gate 'review' names 'Reviewer@example.org ' more than once. ",
        ),
        (
            SMALLEST.replace('"reviewer@', '"rene\u0301@example.org", "ren\u00e9@'),
            "gate 'review' names 'rene\u0301@example.org' more than once. ",
        ),
        (
            SMALLEST.replace("reviewer@", "\u200breviewer@"),
            "gate 'review' names '\\u200breviewer@example.org', nobody's name. Expected 1 to 200 ",
        ),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(PolicyError) as refused:
        read(text)
    assert str(refused.value).startswith(f"Policy 'policy.toml': {problem}")


def test_names_are_read_without_stray_spaces_and_in_one_spelling() -> None:
    text = SMALLEST.replace("reviewer@", " rene\u0301@").replace('.org"', '.org "')
    assert read(text).approvers == {
        "review": ("ren\u00e9@example.org",),
        "go-live": ("operations@example.org",),
    }


def test_a_name_is_known_however_it_is_typed(world: World) -> None:
    assert world.policy.approver("go-live", " Operations@Example.org") == "operations@example.org"
    assert world.policy.approver("go-live", "author@example.org") is None


@pytest.mark.parametrize(
    ("minimum", "taken"),
    [("A", {"A": True, "C": False, "B": False}), ("C", {"A": True, "C": True})],
)
def test_only_the_isolation_asked_for_or_a_stronger_one_counts(
    world: World, minimum: str, taken: dict[str, bool]
) -> None:
    asking = replace(world.policy, minimum_isolation=minimum)
    assert {tier: asking.takes_isolation(tier) for tier in taken} == taken


def test_a_model_may_name_the_factory_s_people_in_its_own_spelling() -> None:
    tightened = tighten(LOOSE, "model.toml", {"approvals": {"review": ["A@Example.org "]}})
    assert tightened == replace(LOOSE, approvers=STRICT.approvers)


@pytest.mark.parametrize(
    "text",
    [
        SMALLEST.replace('["reviewer@example.org"]', '"reviewer@example.org"'),
        SMALLEST + "expires_days = true",
        SMALLEST + "distinct_approvers = 'false'",
        "approvals = 3",
    ],
    ids=["one name, no list", "days as yes", "text for no", "no table"],
)
def test_a_value_of_the_wrong_type_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        read(text)


LOOSE = Policy(
    approvers={"review": ("a@example.org", "b@example.org"), "go-live": ("b@example.org",)},
    identity="claimed",
    distinct_approvers=False,
    expires_days=14,
    minimum_isolation="C",
    backdating=True,
)
STRICT = Policy(
    approvers={"review": ("a@example.org",), "go-live": ("b@example.org",)},
    identity="totp",
    distinct_approvers=True,
    expires_days=3,
    minimum_isolation="A",
    backdating=False,
)
WISHES: dict[str, dict[str, Any]] = {  # what turns LOOSE into STRICT, one by one
    "review": {"approvals": {"review": ["a@example.org"]}},
    "identity": {"approvals": {"identity": "totp"}},
    "distinct_approvers": {"approvals": {"distinct_approvers": True}},
    "expires_days": {"approvals": {"expires_days": 3}},
    "minimum_isolation": {"isolation": {"minimum": "A"}},
    "backdating": {"approvals": {"backdating": False}},
}
LOOSER: dict[str, dict[str, Any]] = {
    "review": {"approvals": {"review": ["a@example.org", "b@example.org"]}},
    "go-live": {"approvals": {"go-live": ["a@example.org"]}},
    "identity": {"approvals": {"identity": "claimed"}},
    "distinct_approvers": {"approvals": {"distinct_approvers": False}},
    "expires_days": {"approvals": {"expires_days": 4}},
    "minimum_isolation": {"isolation": {"minimum": "C"}},
    "backdating": {"approvals": {"backdating": True}},
}


@pytest.mark.parametrize("key", WISHES)
def test_a_model_may_ask_for_more(key: str) -> None:
    tightened = tighten(LOOSE, "model.toml", WISHES[key])
    if key == "review":
        assert tightened == replace(LOOSE, approvers=STRICT.approvers)
    else:
        assert tightened == replace(LOOSE, **{key: getattr(STRICT, key)})
    assert tightened.digest() != LOOSE.digest()


def test_all_wishes_together_are_the_strict_policy() -> None:
    tightened = LOOSE
    for wishes in WISHES.values():
        tightened = tighten(tightened, "model.toml", wishes)
    assert tightened == STRICT
    assert tightened.digest() == STRICT.digest()


@pytest.mark.parametrize("key", LOOSER)
def test_a_model_may_not_ask_for_less(key: str) -> None:
    with pytest.raises(PolicyError) as refused:
        tighten(STRICT, "model.toml", LOOSER[key])
    assert str(refused.value).startswith(f"Policy 'model.toml': {key} ")
    assert str(refused.value).endswith(
        " A model may only tighten the factory's policy; remove it from model.toml."
    )


@pytest.mark.parametrize("key", WISHES)
def test_asking_for_what_is_the_rule_changes_nothing(key: str) -> None:
    assert tighten(STRICT, "model.toml", WISHES[key]).digest() == STRICT.digest()


def test_no_wishes_change_nothing() -> None:
    assert tighten(LOOSE, "model.toml", {}).digest() == LOOSE.digest()


@pytest.mark.parametrize(
    "wishes",
    [
        {"approval": {}},
        {"approvals": {"reviews": []}},
        {"approvals": {"review": []}},
        {"approvals": {"review": "a@example.org"}},
        {"approvals": {"identity": "passport"}},
        {"approvals": {"expires_days": 0}},
        {"approvals": {"expires_days": True}},
        {"isolation": {"minimum": "B"}},
    ],
    ids=str,
)
def test_a_wish_that_cannot_be_meant_is_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"Policy 'model\.toml': "):
        tighten(LOOSE, "model.toml", wishes)
