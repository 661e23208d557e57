"""Data Docs: Great Expectations' own page about a day, made to need no network."""

import json
import os
from collections.abc import Callable, Mapping
from datetime import date, datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa

from pilotline.registry.runs import Ingest, get_partition
from pilotline.registry.store import now
from pilotline.tasks import lake
from pilotline.tasks.errors import PartitionRefusedError, StepError
from pilotline.tasks.home import Home
from pilotline.tasks.ingest.quarantine import read_quarantined
from pilotline.tasks.ingest.validation import Validator, Verdict
from pilotline.tasks.lab import Dataset, load_dataset
from pilotline.tasks.sources import nullable, open_source

# The library's page (1.24) loads styles, scripts and pictures from half a dozen addresses, and has
# a form that sends a mail address. Its tables are plain HTML and need none of it.
DROPPED = frozenset(
    {"script", "link", "img", "form", "iframe", "noscript", "button", "input", "footer"}
)
EMPTY = frozenset({"link", "img", "input", "meta", "br", "hr"})  # elements without an end
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1b1f24; background: #fff }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { border-bottom: 1px solid #d8dee4; padding: .35rem .6rem; text-align: left;
         vertical-align: top; overflow-wrap: anywhere }
ul { padding-left: 1.2rem } nav { display: none }
"""


def build_data_docs(home: Home, dataset: Dataset, day: date) -> Path:
    """Return the page of a day as its last ingest left it, written anew.

    It shows what the suite says of all the day's rows, the quarantined ones among them.

    Raises:
        UnknownPartitionError: the day was never ingested.
        LabError: an expectation cannot be evaluated at all.
        LakeError: a table cannot be read.
    """
    with home.open_registry() as registry, registry.read() as session:
        partition = get_partition(session, dataset.name, day)
    result = Validator(dataset).explain(_all_rows(home, dataset, partition))
    page = render_page(result, f"{dataset.name} {day}")
    return _write_page(home, dataset.name, f"{day}.html", page)


def build_refusal_docs(home: Home, dataset: Dataset, refused: PartitionRefusedError) -> Path | None:
    """Return the page of a day that was refused whole, None where its rows cannot be judged at all.

    The day was not kept, so its source is read again: the page shows what it gives now, beside the
    reason of the refusal. What the lake holds of the day, and its page, stay as they are.

    Raises:
        OSError: the page cannot be written.
    """
    day = date.fromisoformat(refused.date)
    validator = Validator(dataset)
    try:
        rows = open_source(dataset, home.root).read(day)
        verdict = validator.check(rows, day)
        result = validator.explain(rows)
    except StepError:  # no rows, or other columns: the refusal itself says all there is to say
        return None
    title = f"{dataset.name} {day}: refused"
    page = render_page(result, title, _explain_refusal(refused, rows.num_rows, verdict))
    return _write_page(home, dataset.name, f"{day}-refused.html", page)


def describe_refusal(home: Home, name: str, refused: PartitionRefusedError) -> Path | None:
    """Return the page of a refused day of the lab's dataset ``name``, if there can be one."""
    return build_refusal_docs(home, load_dataset(home.lab, name), refused)


def describe_day(home: Home, name: str, day: date) -> Path:
    """Return the page of a day of the lab's dataset ``name``; raises what building it does."""
    return build_data_docs(home, load_dataset(home.lab, name), day)


def render_page(result: Any, title: str, above: str = "") -> str:
    """Return Great Expectations' page for ``result`` as one file that loads nothing.

    Args:
        result: of the whole suite.
        title: as text.
        above: HTML that comes before the library's.
    """
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    for each in result.results:
        # The library puts values into its page as they are: one may be a piece of HTML.
        each.result = _escaped(each.result)
    renderer: Any = ValidationResultsPageRenderer()
    view: Any = DefaultJinjaPageView()
    page = _Page()
    page.feed(view.render(renderer.render(result)))
    page.close()
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{above}{page.body()}\n</body>\n</html>\n"
    )


def _explain_refusal(refused: PartitionRefusedError, rows: int, verdict: Verdict) -> str:
    """Return why a day was refused as HTML, with every check that rows broke, the most first.

    Some of them are no expectations of the suite, and so in no page of the library.
    """
    found = sorted(verdict.marks.items(), key=lambda mark: -mark[1].size)
    lines = [f"<tr><td>{escape(text)}</td><td>whole day</td></tr>" for text in verdict.failures]
    lines += [f"<tr><td>{escape(text)}</td><td>{at.size:,}</td></tr>" for text, at in found]
    why = escape(f"{refused.problem.rstrip('.')}. {refused.remedy}")
    return (
        f"<p>Nothing of this day was kept: {why}</p>\n"
        f"<p>Read again from the source on {now():%Y-%m-%d at %H:%M} UTC: {rows:,} rows, "
        f"{verdict.broken.size:,} of them broken.</p>\n"
        f"<table>\n<tr><th>broken</th><th>rows</th></tr>\n{''.join(lines)}\n</table>\n"
    )


def _write_page(home: Home, dataset: str, name: str, page: str) -> Path:
    path = home.root / "data-docs" / dataset / name
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(page, "utf-8")
    unfinished.replace(path)
    return path


class _Page(HTMLParser):
    """Keeps the body's elements and texts, and of attributes only what lays out a table."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._inside = False
        self._dropped: list[str] = []  # elements that are being left out, the outermost first

    def body(self) -> str:
        """Return what was kept."""
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element, or leave it out with all that is in it."""
        if tag == "body":
            self._inside = True
        elif self._dropped or tag in DROPPED or tag == "style":
            if tag not in EMPTY:
                self._dropped.append(tag)
        elif self._inside and tag != "a":
            kept = [(name, value or "") for name, value in attrs if name in ("colspan", "rowspan")]
            shown = "".join(f' {name}="{escape(value)}"' for name, value in kept)
            self._parts.append(f"<{tag}{shown}>")

    def handle_endtag(self, tag: str) -> None:
        """End the element."""
        if self._dropped:
            if tag in self._dropped:
                del self._dropped[self._dropped.index(tag) :]
        elif tag == "body":
            self._inside = False
        elif self._inside and tag != "a" and tag not in EMPTY:
            self._parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keep a text, which may come from the data, as a text."""
        if self._inside and not self._dropped:
            self._parts.append(escape(data))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(each) for each in value]
    return value


def _all_rows(home: Home, dataset: Dataset, partition: Ingest) -> pa.Table:
    table = lake.open_table(lake.accepted_path(home.lake, dataset.name), partition.table_version)
    on_day = lake.on_day(dataset.date, partition.date)
    accepted = lake.read(table, dataset.schema, on_day).cast(nullable(dataset))
    broken = [
        _restore(dataset, json.loads(row["row"]))
        for row in read_quarantined(home, partition).values()
    ]
    return pa.concat_tables([accepted, pa.Table.from_pylist(broken, nullable(dataset))])


def _restore(dataset: Dataset, row: Mapping[str, Any]) -> dict[str, Any]:
    parsers: dict[str, Callable[[Any], Any]] = {
        "date": date.fromisoformat,
        "timestamp": datetime.fromisoformat,
        "float64": float,
    }
    return {
        name: parsers[column.type](row[name])
        if row[name] is not None and column.type in parsers
        else row[name]
        for name, column in dataset.columns.items()
    }
