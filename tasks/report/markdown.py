"""A report in Markdown and as rows, for pages that show no HTML of ours."""

from pilotline.tasks.report.drift import share_of
from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.plots.markup import plain
from pilotline.tasks.report.science import COVERAGE

SIGNS = "\\`*_{}[]()<>#+!|~$&"  # what Markdown, or HTML in it, reads as more than itself
LONGEST = 300  # characters of one cell: a reason may quote a whole log


def describe_report(report: Report, page: str) -> str:
    """Return the report in Markdown: what is open, the last performance, the last window.

    Args:
        report: the facts.
        page: address of the HTML page.
    """
    lines = [
        f"# {quote(report.model)}, {report.start} to {report.end}",
        "",
        f"Champion {report.champion or 'none'}, owner {quote(report.owner)}.",
        f"[The whole report]({page})",
        "",
        "## Open questions",
        "",
    ]
    for question in report.questions:
        lines.append(f"- **{question.level}: {quote(question.title)}** {quote(question.said)}")
        lines.append(f"  Owner: {quote(question.owner)}.{_show_command(question.command)}")
    if not report.questions:
        lines.append("Nothing is open.")
    return "\n".join([*lines, "", *_show_performance(report), *_show_drift(report)])


def tabulate_questions(report: Report) -> list[dict[str, str]]:
    """Return what is open as rows; one that says so where nothing is."""
    if not report.questions:
        return [{"level": "none", "what": "Nothing is open.", "owner": report.owner}]
    return [
        {
            "level": question.level,
            "what": _cut(question.title),
            "said": _cut(question.said),
            "owner": _cut(question.owner),
            "type": question.command,
        }
        for question in report.questions
    ]


def quote(text: str) -> str:
    """Return ``text`` so that Markdown shows it as it is, on one line."""
    return "".join(f"\\{c}" if c in SIGNS else c for c in _cut(text))


def _cut(text: str) -> str:
    line = " ".join(plain(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def _show_command(command: str) -> str:
    line = " ".join(plain(command).split()).replace("`", "'")
    return f" `{line}`" if line else ""


def _show_performance(report: Report) -> list[str]:
    rows = [
        f"| {quote(s.metric)} | {quote(s.name)} | {s.days[-1].date} | {s.days[-1].value:.4f} "
        f"| {_show_interval(s.days[-1].low, s.days[-1].high)} | {s.days[-1].rows:,} |"
        for s in report.series
        if s.days and s.metric != COVERAGE
    ]
    if not rows:
        return []
    head = ["| metric | version | last day | value | 95 % | outcomes |"]
    head.append("| --- | --- | --- | ---: | --- | ---: |")
    verdicts = [f"- {quote(found.sentence)}" for found in report.versus]
    return ["## Performance", "", *head, *rows, "", *verdicts, ""]


def _show_interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _show_drift(report: Report) -> list[str]:
    if not report.drift.windows:
        return []
    window = report.drift.windows[-1]
    rows = [
        f"| {quote(j.column)} | {j.distance} | {j.value:.4f} | {share_of(j):.2f} | {j.verdict} |"
        for j in window.judgements
        if j.watched or j.verdict == "drift"
    ]
    head = ["| column | distance | value | of its threshold | verdict |"]
    head.append("| --- | --- | ---: | ---: | --- |")
    return [f"## Drift, {window.start} to {window.end}", "", *head, *rows, ""]
