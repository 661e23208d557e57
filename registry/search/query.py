"""Search over all models: by words, by what they are and use, by how much they are used."""

import json
import operator
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any, Literal

from sqlalchemy import CTE, ColumnElement, Connection, column, func, select, text

from pilotline.registry.search.docs import (
    CHUNK,
    SearchDoc,
    SearchMetric,
    SearchTerm,
    index_models,
    plain_term,
    plain_words,
    stale_models,
    storable,
)
from pilotline.registry.store import Store, now

# Columns of tables, not of mapped classes: a query of them costs a third of the time.
DOC = SearchDoc.__table__.c
TERM = SearchTerm.__table__.c
METRIC = SearchMetric.__table__.c
Sort = Literal["name", "usage", "rank", "scored"]
MAX_WORDS = 32  # of a text that count
PAUSE_S = 0.05  # between two steps of describing; those who wait for SQLite's lock look as often
BOUND = re.compile(r"\s*(.*?[^\s<>=])\s*(>=|<=|>|<|=)\s*([^<>=]+?)\s*", re.DOTALL)
COMPARE: dict[str, Callable[[Any, float], ColumnElement[bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}


@dataclass(frozen=True)
class Bound:
    """What a metric must be, such as ``roc_auc >= 0.6``."""

    metric: str
    sign: str  # one of COMPARE
    value: float


@dataclass(frozen=True)
class Query:
    """What to look for. Everything given must hold; nothing given finds every model."""

    text: str = ""  # beginnings of words, each of which must occur
    owner: str | None = None
    tags: tuple[str, ...] = ()  # each of them
    status: str | None = None  # of any version
    features: tuple[str, ...] = ()  # each of them, of any version
    dataset: str | None = None  # of any version
    metrics: tuple[Bound, ...] = ()  # of the champion, else of the newest version
    min_runs: int = 0  # that succeeded in the last 30 days
    consumer: str | None = None
    archived: bool = False  # also those of which every version is archived
    sort: Sort = "name"
    page: int = 1
    limit: int = 20


@dataclass(frozen=True)
class Hit:
    """A model that was found."""

    name: str
    owner: str
    champion: str | None  # its number
    status: str | None  # the champion's, else the newest version's
    tags: list[str]
    runs_30d: int  # that succeeded
    rows_30d: int
    last_scored: date | None  # the last day of which readers see predictions
    consumers: list[str]


@dataclass(frozen=True)
class Page:
    """Some of what was found."""

    total: int  # on all pages
    hits: list[Hit]


def search_models(registry: Store, query: Query) -> Page:
    """Return one page of the models that ``query`` describes.

    Writes only where a model was never described for search, or a run became older than 30 days.
    """
    with registry.look() as connection:
        if not stale_models(connection, now()):
            return _search(connection, query)
    _describe_all(registry)
    with registry.look() as connection:
        return _search(connection, query)


def known_metrics(registry: Store) -> list[str]:
    """Return the name of every metric that some model has; reads only."""
    with registry.look() as connection:
        return list(connection.scalars(select(METRIC.name).distinct().order_by(METRIC.name)))


def parse_bound(written: str) -> Bound:
    """Return what ``written`` asks of a metric.

    Raises:
        ValueError: it is not a metric, one of >= <= > < =, and a number.
    """
    found = BOUND.fullmatch(written)
    if found is not None:
        try:
            value = float(found[3])
        except ValueError:
            value = float("nan")
        if isfinite(value):
            return Bound(found[1], found[2], value)
    raise ValueError(
        f"{written!r} is no bound of a metric; expected a name, one of >= <= > < = and a number. "
        "Write such as 'roc_auc>=0.6'."
    )


def _describe_all(registry: Store) -> None:
    """Describe every model that needs it, some at a time, so that other writers get their turn."""
    while True:
        with registry.write() as session:
            at = now()
            stale = stale_models(session, at)
            index_models(session, stale, at)
        if len(stale) < CHUNK:
            return
        time.sleep(PAUSE_S)


def _search(connection: Connection, query: Query) -> Page:
    conditions = _conditions(query)
    words = list(dict.fromkeys(plain_words(query.text)))[:MAX_WORDS]
    if query.text.strip():
        if not words:
            return Page(0, [])  # nothing in it is a letter or a digit
        matching = _matching(connection.dialect.name == "sqlite", words, query.sort == "rank")
        return _matches(connection, query, conditions, matching)
    total = connection.scalar(select(func.count(DOC.model_id)).where(*conditions)) or 0
    start = (query.page - 1) * query.limit
    if start >= total:
        return Page(total, [])
    page = select(*DOC).where(*conditions).order_by(*_order(query.sort, DOC))
    rows = connection.execute(page.limit(query.limit).offset(start))
    return Page(total, [_hit(row) for row in rows])


def _matches(
    connection: Connection, query: Query, conditions: list[ColumnElement[bool]], matching: CTE
) -> Page:
    """Return the page of a search by words, which finds and ranks them once for count and page.

    Not the first 20 in order that match: where words stand in names, those may come last of all.
    """
    fits = (
        select(*DOC, matching.c.rank)
        .where(DOC.model_id == matching.c.model_id, *conditions)
        .cte("fits")
        .prefix_with("MATERIALIZED")
    )
    count = select(func.count()).select_from(fits)
    first = [fits.c.rank] if query.sort == "rank" else []
    page = (
        select(fits, count.scalar_subquery().label("total"))
        .order_by(*first, *_order(query.sort, fits.c))
        .limit(query.limit)
        .offset((query.page - 1) * query.limit)
    )
    rows = connection.execute(page).all()
    total = rows[0].total if rows else connection.scalar(count) or 0
    return Page(total, [_hit(row) for row in rows])


def _conditions(query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if not query.archived:
        conditions.append(DOC.archived.is_(False))
    if query.min_runs > 0:
        conditions.append(DOC.runs_30d >= query.min_runs)
    terms = [("tag", tag) for tag in query.tags] + [("feature", name) for name in query.features]
    single = ("owner", "status", "dataset", "consumer")
    terms += [(kind, getattr(query, kind)) for kind in single if getattr(query, kind) is not None]
    for kind, value in terms:
        fits = select(TERM.model_id).where(TERM.kind == kind, TERM.value == plain_term(value))
        conditions.append(DOC.model_id.in_(fits))
    for bound in query.metrics:
        # Asked of one model after the other: a bound rarely leaves few, and a page needs few.
        within = select(METRIC.model_id).where(
            METRIC.model_id == DOC.model_id,
            METRIC.name == storable(bound.metric),
            COMPARE[bound.sign](METRIC.value, bound.value),
        )
        conditions.append(within.correlate(SearchDoc.__table__).exists())
    return conditions


def _order(sort: Sort, of: Any) -> list[ColumnElement[Any]]:
    """Return what to sort by, ``of`` the columns of search_doc or of a query of them."""
    if sort == "usage":
        most = [of.runs_30d.desc(), of.rows_30d.desc()]
        return [*most, of.name.asc()]
    if sort == "scored":
        return [of.last_scored.desc().nulls_last(), of.name.asc()]
    return [of.name.asc()]


def _matching(sqlite: bool, words: list[str], ranked: bool) -> CTE:
    """Return the models in which each of ``words`` begins a word; the lower the rank, the better.

    Words are letters and digits only and stand in quotes: no operator gets through.
    """
    if sqlite:
        wanted = " ".join(f'"{word}"*' for word in words)
        rank = "bm25(search_text, 10.0, 4.0, 2.0, 1.0)" if ranked else "0"
        query = f"select rowid as model_id, {rank} as rank from search_text"
        where = "search_text match :wanted"
    else:
        wanted = " & ".join(f"'{word}':*" for word in words)
        rank = "-ts_rank(words, cast(:wanted as tsquery))" if ranked else "0"
        query = f"select model_id, {rank} as rank from search_text"
        where = "words @@ cast(:wanted as tsquery)"
    found = text(f"{query} where {where}").bindparams(wanted=wanted)
    matching = found.columns(column("model_id"), column("rank")).cte("matching")
    # Or SQLite may search the text once for each model (3.40).
    return matching.prefix_with("MATERIALIZED")


def _hit(row: Any) -> Hit:
    return Hit(
        name=row.name,
        owner=row.owner,
        champion=row.champion,
        status=row.status,
        tags=json.loads(row.tags),
        runs_30d=row.runs_30d,
        rows_30d=row.rows_30d,
        last_scored=row.last_scored,
        consumers=json.loads(row.consumers),
    )
