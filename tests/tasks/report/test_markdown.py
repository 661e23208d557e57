"""A report in brief: Markdown that names from outside cannot break."""

import re
from dataclasses import replace

from pilotline.tasks.report.markdown import LONGEST, describe_report, quote, tabulate_questions
from tests.support.tasks.reported import empty_report, report_of

PAGE = "file:///reports/churn.html"


def test_what_is_open_comes_first_with_owner_and_command() -> None:
    lines = describe_report(report_of(name="churn"), PAGE).splitlines()
    assert lines[0] == "\\# churn, 2014-01-01 to 2014-01-30".removeprefix("\\")
    assert f"[The whole report]({PAGE})" in lines
    at = lines.index("- **alert: Runs failed** no disk")
    assert lines[at + 1] == "  Owner: owner of churn. `pilotline show churn`"
    assert lines.index("## Performance") > at


def test_the_last_performance_and_the_last_window_are_tables() -> None:
    lines = describe_report(report_of(9), PAGE).splitlines()
    assert "| roc\\_auc | 1.0.0 | 2014-01-09 | 0.6500 | 0.6000 to 0.7000 | 85 |" in lines
    assert "| dest | psi | 0.1500 | 1.50 | drift |" in lines


def test_names_are_shown_as_they_are() -> None:
    hostile = "<img src=x> [a](http://x) | `b`\n# c"
    page = describe_report(report_of(2, hostile, hostile, hostile), PAGE)
    said = re.sub(r"(?<!\\)`[^`]*`", "", page)  # in code it is a text
    assert not re.search(r"(?<!\\)<img", said)
    assert "](http" not in said
    assert not any(line.startswith("# c") for line in said.splitlines())
    assert quote(hostile) == "\\<img src=x\\> \\[a\\]\\(http://x\\) \\| \\`b\\` \\# c"


def test_a_long_reason_is_cut() -> None:
    report = report_of(1, reason="x" * 10_000)
    (row,) = tabulate_questions(report)
    assert len(row["said"]) == LONGEST
    assert (row["level"], row["owner"]) == ("alert", "owner of model")
    assert row["type"] == "pilotline show model"


def test_nothing_open_is_said() -> None:
    report = replace(empty_report(), owner="ops")
    assert "Nothing is open." in describe_report(report, PAGE)
    assert tabulate_questions(report) == [
        {"level": "none", "what": "Nothing is open.", "owner": "ops"}
    ]
