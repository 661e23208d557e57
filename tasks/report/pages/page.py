"""A report as one HTML file that loads nothing and runs nothing, in light and dark."""

import os
from importlib.resources import files as package_files
from pathlib import Path
from statistics import median

from pilotline.tasks.home import Home
from pilotline.tasks.report.facts import Report
from pilotline.tasks.report.pages.operations import show_operations
from pilotline.tasks.report.pages.pieces import badge, codes, nothing
from pilotline.tasks.report.pages.science import show_science
from pilotline.tasks.report.plots.markup import Markup, join, tag
from pilotline.tasks.report.questions import ALERT, Question
from pilotline.tasks.report.science import COVERAGE

# Whatever a name holds, a browser runs no script of it and fetches nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def lay_out_report(report: Report) -> str:
    """Return the page; well-formed, also as XML."""
    title = f"{report.model}: {report.start} to {report.end}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **{"http-equiv": "Content-Security-Policy"}, content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(package_files(__package__).joinpath("report.css").read_text("utf-8"))),
    )
    body = tag(
        "main",
        _show_header(report),
        _show_tiles(report),
        _show_questions(report.questions),
        show_operations(report),
        show_science(report),
        _show_footer(report),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def write_report(report: Report, path: Path) -> Path:
    """Write the page to ``path``, whole or not at all; return its absolute path."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(lay_out_report(report), "utf-8")
    unfinished.replace(path)
    return path


def report_path(home: Home, model: str) -> Path:
    """Return where a model's page is kept in the home."""
    return home.root / "reports" / f"{model}.html"


def _show_header(report: Report) -> Markup:
    champion = f"champion {report.champion}" if report.champion else "no champion"
    links = [
        tag("a", name, href=f"#{name.lower().replace(' ', '-')}")
        for name in ("Open questions", "Operations", "Science")
    ]
    return tag(
        "header",
        tag("h1", report.model, badge(champion, "good" if report.champion else "bad")),
        tag("p", report.description),
        tag(
            "p",
            f"{report.start} to {report.end} \N{MIDDLE DOT} owner {report.owner}",
            class_="note",
        ),
        tag("nav", *links, aria_label="Parts"),
    )


def _show_tiles(report: Report) -> Markup:
    facts = report.operations
    shown = [day for day in facts.volume if day.predicted]
    tiles = [
        ("Days predicted", f"{len(shown):,}", f"{sum(d.predicted for d in shown):,} predictions"),
        _runs_tile(report),
        _quality_tile(report),
        _known_tile(report),
    ]
    came = sum(day.accepted + day.quarantined for day in facts.volume)
    broken = sum(day.quarantined for day in facts.volume)
    if came:
        tiles.append(("In quarantine", f"{broken / came:.2%}", f"{broken:,} of {came:,} rows"))
    if facts.currency:
        by_million = facts.total.cost_per_million_rows
        per = "" if by_million is None else f"{by_million:,.4f} per million rows"
        tiles.append(("Cost", f"{facts.total.cost:,.4f} {facts.currency}", per))
    return tag("dl", *(_tile(*tile) for tile in tiles if tile[1]), class_="tiles")


def _tile(name: str, value: str, more: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value, tag("small", more)))


def _runs_tile(report: Report) -> tuple[str, str, str]:
    runs = report.operations.runs
    bad = sum(run.state != "succeeded" for run in runs)
    took = [sum(run.seconds.values()) for run in runs if any(run.seconds.values())]
    middle = f", median {median(took):.1f} s" if took else ""
    return "Runs", f"{len(runs):,}", f"{bad:,} did not succeed{middle}"


def _quality_tile(report: Report) -> tuple[str, str, str]:
    for series in report.series:
        if series.number == report.champion and series.metric != COVERAGE and series.days:
            last = series.days[-1]
            sure = f" ({last.low:.3f} to {last.high:.3f})" if last.low and last.high else ""
            return f"Last {series.metric}", f"{last.value:.3f}", f"{last.date}{sure}"
    return "", "", ""


def _known_tile(report: Report) -> tuple[str, str, str]:
    for series in report.series:
        if series.number == report.champion and series.metric == COVERAGE and series.days:
            last = series.days[-1]
            return "Outcomes known", f"{last.value:.1%}", f"{last.date}"
    return "", "", ""


def _show_questions(questions: list[Question]) -> Markup:
    items = [_show_question(question) for question in questions]
    shown = tag("ul", *items, class_="questions") if items else nothing("Nothing is open.")
    return tag("section", tag("h2", "Open questions"), shown, id="open-questions")


def _show_question(question: Question) -> Markup:
    return tag(
        "li",
        tag("div", badge(question.level, question.level), tag("strong", question.title)),
        tag("p", question.said),
        tag("p", codes(question.command), class_="command") if question.command else None,
        tag("p", f"Owner: {question.owner}", class_="owner"),
        class_=ALERT if question.level == ALERT else None,
    )


def _show_footer(report: Report) -> Markup:
    made = f"Made {report.made_at:%Y-%m-%d %H:%M} UTC"
    said = f"{made} from the registry alone; nothing was scored or judged again for it."
    return tag("footer", tag("p", join(said)))
