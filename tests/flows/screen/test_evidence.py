"""The evidence as it is printed: what only answered takes one line, what did not is told."""

import pytest

from pilotline.flows.screen.evidence import print_verification

CASES = [("one row", "answered"), ("missing note", "answered"), ("extremes of note", "refused")]
FOUND = {
    "summary": "4 checks passed; 40,000 rows/s",
    "checks": [
        {"name": "determinism", "passed": True, "detail": "the same bits"},
        {"name": "throughput", "passed": False, "detail": "10 rows/s, at least 20"},
        {"name": "robustness: one row", "passed": True, "detail": "1 answered"},
        {"name": "robustness: missing note", "passed": True, "detail": "1 answered"},
        {"name": "robustness: extremes of note", "passed": True, "detail": "a NUL refused"},
    ],
    "cases": [
        {"group": group, "case": "x", "rows": 1, "outcome": outcome, "detail": ""}
        for group, outcome in CASES
    ],
}


def test_every_check_is_shown_and_plain_answers_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_verification("Verified here", FOUND)
    lines = [
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.strip()
    ]
    shown = {first: rest[0].strip() if rest else "" for first, *rest in lines}
    assert shown["determinism"] == "passed   the same bits"
    assert shown["throughput"] == "FAILED   10 rows/s, at least 20"
    robust = [rest[0].split() for first, *rest in lines if first == "robustness:"]
    assert [" ".join(words) for words in robust] == [
        "extremes of note passed a NUL refused",
        "all else passed 2 cases answered",
    ]
    assert shown["4"] == "checks passed; 40,000 rows/s"


def test_a_report_without_cases_shows_its_checks_alone(capsys: pytest.CaptureFixture[str]) -> None:
    print_verification("Verified here", FOUND | {"cases": []})
    said = capsys.readouterr().out
    assert "robustness: one row" in said
    assert "all else" not in said
