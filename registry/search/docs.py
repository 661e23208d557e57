"""What search looks into: a row, terms, metrics and words of each model, kept in step."""

import json
import re
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from math import isfinite
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    delete,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from pilotline.registry.record import RegisteredModel
from pilotline.registry.search.facts import SearchFacts, gather_facts
from pilotline.registry.store import Base, UtcDateTime, now

MAX_TERM = 200  # characters of a tag or name that count; an index entry has at most 2,700 bytes
MAX_WORD = 40  # characters of a word that count
MAX_WORDS = 4000  # different words of a model that count; PostgreSQL takes 1 MB of them
CHUNK = 500  # models described at once; SQLite takes 32,766 parameters
WORD = re.compile(r"[^\W_]+")
# Words of the name weigh most in a rank, then of owner and tags, of the data, of sentences.
WEIGHTS = "ABCD"


class SearchDoc(Base):
    """Present state: what a search shows of a model and sorts by."""

    __tablename__ = "search_doc"
    __table_args__ = (
        Index("ix_search_doc_name", "archived", "name"),
        Index("ix_search_doc_usage", "archived", "runs_30d", "rows_30d"),
    )

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    name: Mapped[str] = mapped_column(
        # One order on every database, whatever language the server has.
        String(63).with_variant(String(63, collation="C"), "postgresql")
    )
    owner: Mapped[str] = mapped_column(String(200))
    champion: Mapped[str | None] = mapped_column(String(40))  # its number
    status: Mapped[str | None] = mapped_column(String(20))  # the champion's, else the newest's
    tags: Mapped[str] = mapped_column(Text)  # JSON list
    consumers: Mapped[str] = mapped_column(Text)  # JSON list
    archived: Mapped[bool]  # every version is
    runs_30d: Mapped[int]  # that succeeded
    rows_30d: Mapped[int] = mapped_column(BigInteger)
    usage_until: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)  # then it is less
    last_scored: Mapped[date | None] = mapped_column(Date)  # the last day readers see


class SearchTerm(Base):
    """Something a model is found by exactly, such as one of its tags."""

    __tablename__ = "search_term"

    # owner, tag, status, feature, dataset or consumer
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    value: Mapped[str] = mapped_column(String(MAX_TERM), primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True, index=True)


class SearchMetric(Base):
    """A metric of the champion, else of the newest version, on its held-out days."""

    __tablename__ = "search_metric"
    __table_args__ = (Index("ix_search_metric_value", "name", "value"),)

    model_id: Mapped[int] = mapped_column(ForeignKey("model.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[float] = mapped_column(Float)


@contextmanager
def describing_changes(session: Session) -> Iterator[None]:
    """Describe each model of which ``session`` flushes a row anew, before the caller commits.

    What search finds so changes together with what it is about.
    """
    touched: set[int] = set()

    @event.listens_for(session, "after_flush")
    def collect(session: Session, _: object) -> None:
        for row in (*session.new, *session.dirty, *session.deleted):
            whole = isinstance(row, RegisteredModel)
            model_id = row.id if whole else getattr(row, "model_id", None)
            if model_id is not None:
                touched.add(model_id)

    yield
    session.flush()
    index_models(session, touched)


def stale_models(session: Session | Connection, at: datetime) -> list[int]:
    """Return models without a row here, or whose usage is less by ``at``; reads only.

    As many as are described at once; fewer mean that these are the last. Models are never deleted,
    so equal counts mean that each has its row.
    """
    doc, model = SearchDoc.__table__.c, RegisteredModel.__table__.c
    late, models, docs = session.execute(
        select(
            select(func.count(doc.model_id)).where(doc.usage_until <= at).scalar_subquery(),
            select(func.count(model.id)).scalar_subquery(),
            select(func.count(doc.model_id)).scalar_subquery(),
        )
    ).one()
    if not late and models == docs:
        return []
    fresh = select(doc.model_id).where(doc.usage_until.is_(None) | (doc.usage_until > at))
    return list(session.scalars(select(model.id).where(model.id.not_in(fresh)).limit(CHUNK)))


def index_models(session: Session, ids: Collection[int], at: datetime | None = None) -> None:
    """Describe models anew for search; the caller commits.

    Args:
        session: a writing session.
        ids: which.
        at: the moment whose last 30 days count, by default the wall clock.
    """
    ordered = sorted(ids)
    for start in range(0, len(ordered), CHUNK):
        chunk = ordered[start : start + CHUNK]
        facts = gather_facts(session, chunk, at or now())
        for table in (SearchDoc, SearchTerm, SearchMetric):
            session.execute(delete(table).where(table.model_id.in_(chunk)))
        _insert(session, SearchDoc, [_doc(of) for of in facts])
        _insert(session, SearchTerm, [term for of in facts for term in _terms(of)])
        _insert(session, SearchMetric, [metric for of in facts for metric in _metrics(of)])
        _put_words(session, facts)


def plain_term(value: str) -> str:
    """Return ``value`` as terms are compared: without case, as every database can store it."""
    return storable(value).casefold()[:MAX_TERM]


def storable(value: str) -> str:
    """Return ``value`` without NUL and half characters, which databases refuse."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def plain_words(value: str) -> Iterator[str]:
    """Give the words of ``value`` without case and accents: runs of letters and digits.

    They are cut here because each database would cut them its own way.
    """
    if value.isascii():  # most are, and have no accents to take off
        kept = value
    else:
        letters = unicodedata.normalize("NFKD", value.casefold())
        kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return (word.group()[:MAX_WORD] for word in WORD.finditer(kept.casefold()))


def _insert(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    if rows:  # into the table, not the mapped class: half the time
        session.execute(insert(Base.metadata.tables[table.__tablename__]), rows)


def _doc(of: SearchFacts) -> dict[str, Any]:
    shown = ("model_id", "name", "owner", "champion", "status", "archived", "last_scored")
    return {name: getattr(of, name) for name in shown} | {
        "tags": json.dumps(of.tags),
        "consumers": json.dumps(of.consumers),
        "runs_30d": of.usage.runs,
        "rows_30d": of.usage.rows,
        "usage_until": of.usage.until,
    }


def _terms(of: SearchFacts) -> list[dict[str, Any]]:
    found = {
        "owner": [of.owner],
        "tag": of.tags,
        "status": of.statuses,
        "feature": of.features,
        "dataset": of.datasets,
        "consumer": of.consumers,
    }
    pairs = {(kind, plain_term(value)) for kind, values in found.items() for value in values}
    return [{"model_id": of.model_id, "kind": kind, "value": value} for kind, value in pairs]


def _metrics(of: SearchFacts) -> list[dict[str, Any]]:
    return [
        {"model_id": of.model_id, "name": name, "value": value}
        for name, value in of.metrics.items()
        if isfinite(value)
    ]


def _put_words(session: Session, facts: list[SearchFacts]) -> None:
    """Replace the words of models; their table is made by hand on each database."""
    sqlite = session.get_bind().dialect.name == "sqlite"
    rows = [{"id": of.model_id} | _words(of, sqlite) for of in facts]
    if not rows:
        return
    if sqlite:
        session.execute(text("delete from search_text where rowid = :id"), rows)
        add = "insert into search_text (rowid, a, b, c, d) values (:id, :a, :b, :c, :d)"
    else:
        add = (
            "insert into search_text (model_id, words) values (:id, cast(:words as tsvector)) "
            "on conflict (model_id) do update set words = excluded.words"
        )
    session.execute(text(add), rows)


def _words(of: SearchFacts, sqlite: bool) -> dict[str, str]:
    """Return a model's words by weight, each under its highest one."""
    groups = (
        [of.name],
        [of.owner, *of.tags],
        [*of.features, *of.datasets],
        [of.description, *of.notes],
    )
    weights: dict[str, str] = {}
    for weight, values in zip(WEIGHTS, groups, strict=True):
        for word in (word for value in values for word in plain_words(value)):
            if len(weights) < MAX_WORDS:
                weights.setdefault(word, weight)
    if sqlite:
        return {
            w.lower(): " ".join(word for word in weights if weights[word] == w) for w in WEIGHTS
        }
    return {"words": " ".join(f"'{word}':1{weight}" for word, weight in weights.items())}
