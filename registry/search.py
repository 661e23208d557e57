"""Search over all models: by words, by what they are and use, by how much they are used."""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from math import isfinite
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Subquery, column, func, select, text

from registry.base import now
from registry.search_docs import (
    SearchDoc,
    SearchMetric,
    SearchTerm,
    index_models,
    plain_term,
    plain_words,
    stale_models,
    storable,
)
from registry.store import Registry

# Columns of tables, not of mapped classes: a query of them costs a third of the time.
DOC = SearchDoc.__table__.c
TERM = SearchTerm.__table__.c
METRIC = SearchMetric.__table__.c
Sort = Literal["name", "usage", "rank", "scored"]
MAX_WORDS = 32  # of a text that count
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


def search_models(registry: Registry, query: Query) -> Page:
    """Return one page of the models that ``query`` describes.

    Writes only where a model was never described for search, or a run became older than 30 days.
    """
    with registry.look() as connection:
        if not stale_models(connection, now()):
            return _search(connection, query)
    with registry.write() as session:
        at = now()
        index_models(session, stale_models(session, at), at)
    with registry.look() as connection:
        return _search(connection, query)


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


def _search(connection: Connection, query: Query) -> Page:
    conditions = _conditions(query)
    words = list(dict.fromkeys(plain_words(query.text)))[:MAX_WORDS]
    matching = None
    if query.text.strip():
        if not words:
            return Page(0, [])  # nothing in it is a letter or a digit
        ranked = query.sort == "rank"
        matching = _matching(connection.dialect.name == "sqlite", words, ranked)
        conditions.append(DOC.model_id.in_(select(matching.c.model_id)))
    total = connection.scalar(select(func.count(DOC.model_id)).where(*conditions)) or 0
    page = select(*DOC).where(*conditions)
    order = _order(query.sort)
    if query.sort == "rank" and matching is not None:
        page = page.where(matching.c.model_id == DOC.model_id)
        order = [matching.c.rank, *order]
    start = (query.page - 1) * query.limit
    if start >= total:
        return Page(total, [])
    rows = connection.execute(page.order_by(*order).limit(query.limit).offset(start))
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


def _order(sort: Sort) -> list[ColumnElement[Any]]:
    if sort == "usage":
        most = [DOC.runs_30d.desc(), DOC.rows_30d.desc()]
        return [*most, DOC.name.asc()]
    if sort == "scored":
        return [DOC.last_scored.desc().nulls_last(), DOC.name.asc()]
    return [DOC.name.asc()]


def _matching(sqlite: bool, words: list[str], ranked: bool) -> Subquery:
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
    return found.columns(column("model_id"), column("rank")).subquery("matching")


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
