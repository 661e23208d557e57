"""The factory's policy file, and what it may not say."""

from dataclasses import replace
from pathlib import Path

import pytest

from registry.errors import PolicyError
from registry.policy import Policy, load_policy

SMALLEST = """
[approvals]
review = ["reviewer@example.org"]
go-live = ["operations@example.org"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_a_short_policy_gets_the_strict_defaults(tmp_path: Path) -> None:
    assert load_policy(written(tmp_path, SMALLEST)) == Policy(
        approvers={"review": ("reviewer@example.org",), "go-live": ("operations@example.org",)},
        identity="claimed",
        distinct_approvers=True,
        expires_days=14,
        minimum_isolation="A",
    )


def test_everything_written_is_read(tmp_path: Path) -> None:
    text = SMALLEST + "distinct_approvers = false\nexpires_days = 3\n[isolation]\nminimum = 'C'\n"
    policy = load_policy(written(tmp_path, text))
    assert not policy.distinct_approvers
    assert policy.expires_days == 3
    assert policy.minimum_isolation == "C"


def test_any_other_rule_gives_another_digest(policy: Policy) -> None:
    others = [
        replace(policy, expires_days=15),
        replace(policy, distinct_approvers=False),
        replace(policy, approvers={**policy.approvers, "review": ("reviewer@example.org",)}),
    ]
    assert replace(policy).digest() == policy.digest()
    assert len({policy.digest(), *(other.digest() for other in others)}) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[approvals", "not TOML: "),
        (
            SMALLEST + "reviews = []",
            "unknown key of [approvals] 'reviews'. Known: distinct_approvers, ",
        ),
        (
            SMALLEST + "[isolation]\ntier = 'A'",
            "unknown key of [isolation] 'tier'. Known: minimum.",
        ),
        (SMALLEST + "[approval]", "unknown table 'approval'. Known: approvals, isolation."),
        ("", "gate 'review' names no approver. List at least one."),
        (SMALLEST.replace("operations@example.org", " "), "gate 'go-live' names no approver"),
        (SMALLEST + "identity = 'totp'", "identity 'totp'; this release records 'claimed' only"),
        (SMALLEST + "[isolation]\nminimum = 'B'", "isolation 'B'. Expected one of ('A', 'C')."),
        (SMALLEST + "expires_days = 0", "expires_days 0. Expected a whole number of days."),
        (SMALLEST + "expires_days = 1.5", "expires_days 1.5. Expected a whole number of days."),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert str(refused.value).startswith(f"Policy {str(path)!r}: {problem}")


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
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError):
        load_policy(written(tmp_path, text))


def test_a_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as refused:
        load_policy(tmp_path / "policy.toml")
    assert str(refused.value) == (
        f"Policy {str(tmp_path / 'policy.toml')!r}: the file is missing. "
        "Restore deployments/policy.toml."
    )
