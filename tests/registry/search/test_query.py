"""Search: what is found by what, in step with every change, the same on both databases."""

from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, event, func, select, text

from pilotline.registry import Registry
from pilotline.registry.consumers.consumers import NewConsumer, add_consumer, remove_consumer
from pilotline.registry.gates.statuses import retire
from pilotline.registry.record.metrics import Metric, record_metric
from pilotline.registry.record.models import ModelFacts, RegisteredModel, get_model, put_model
from pilotline.registry.record.versions import enter_version, get_version
from pilotline.registry.runs.runs import Ending, RunOutcome, claim_partition, end_run
from pilotline.registry.search.docs import CHUNK, SearchDoc, index_models
from pilotline.registry.search.query import Bound, Query, Sort, parse_bound, search_models
from pilotline.registry.store.tables import now
from tests.support.registry.lived import relive
from tests.support.registry.world import World

SORTS: tuple[Sort, ...] = ("name", "usage", "rank", "scored")
ODD = (
    '"',
    "'",
    "a\"b'c",
    "AND OR NOT NEAR(",
    "name:x ^y -z +w",
    "a & b | !c <-> d :*",
    "%",
    "*",
    "\\",
    "\0",
    "flight\0delay",
    "🚀",
    "\ud800",
    "a " * 5000,
    "x" * 10_000,
    " ".join(f"word{number}" for number in range(2000)),
    "ﷺ İ ß ǅ",
    ";drop table search_doc;--",
)


def register_three(registry: Registry) -> None:
    """Register flight-delay, churn and house-price, each with one version."""
    world = World()
    told = (
        ("flight-delay", "operations", "Late?", ("travel",), ("dep_delay", "Carrier"), "flights"),
        ("churn", "marketing", "Who leaves us?", ("crm", "travel"), ("tenure",), "customers"),
        ("house-price", "Estates Team", "Évaluation", (), ("rooms",), "sales"),
    )
    with registry.write() as session:
        for name, owner, description, tags, features, dataset in told:
            new = replace(
                world.new_version(name, name=name),
                facts=ModelFacts(name, owner, description, tags),
                features=features,
                dataset=dataset,
                notes=f"First release of {name} after the audit.",
            )
            enter_version(session, new)


@pytest.fixture
def fill(registry: Registry, shared: Path) -> None:
    """Register flight-delay, churn and house-price, each with one version."""
    relive(registry, shared, register_three)


def score(
    registry: Registry, world: World, name: str, *rows: int, state: str = "succeeded"
) -> None:
    """Record runs of a model's first version."""
    for number, count in enumerate(rows):
        with registry.write() as session:
            version = get_version(session, name, "1.0.0")
            day = world.claim.date + timedelta(days=number)
            run = claim_partition(session, version, replace(world.claim, date=day))
            end_run(session, run, Ending(state, count))


def found(registry: Registry, query: Query) -> list[str]:
    """Return the names of the hits."""
    page = search_models(registry, query)
    assert page.total == len(page.hits)
    return [hit.name for hit in page.hits]


@pytest.mark.usefixtures("fill")
def test_nothing_asked_finds_every_model_by_name(registry: Registry) -> None:
    assert found(registry, Query()) == ["churn", "flight-delay", "house-price"]


@pytest.mark.usefixtures("fill")
@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("FLIG", ["flight-delay"]),  # the name, by its beginning, whatever the case
        ("delay", ["flight-delay"]),  # a word inside the name
        ("light", []),  # no word begins so
        ("late", ["flight-delay"]),  # description
        ("market", ["churn"]),  # owner
        ("trav", ["churn", "flight-delay"]),  # tag
        ("dep_delay", ["flight-delay"]),  # feature
        ("custom", ["churn"]),  # dataset
        ("audit", ["churn", "flight-delay", "house-price"]),  # notes
        ("trav ten", ["churn"]),  # every word must occur
        ("evaluation", ["house-price"]),  # without the accent
        ("ÉVAL", ["house-price"]),
        ("***", []),
        ("  ", ["churn", "flight-delay", "house-price"]),
    ],
)
def test_text_finds_the_beginnings_of_words(
    registry: Registry, written: str, names: list[str]
) -> None:
    assert found(registry, Query(text=written)) == names


@pytest.mark.usefixtures("fill")
@pytest.mark.parametrize("sort", SORTS)
def test_odd_text_is_no_error(registry: Registry, sort: Sort) -> None:
    for odd in ODD:
        search_models(registry, Query(text=odd, sort=sort))


@pytest.mark.usefixtures("fill")
def test_odd_filters_find_nothing(registry: Registry) -> None:
    for odd in ODD:
        for query in (
            Query(owner=odd),
            Query(tags=(odd,)),
            Query(features=(odd,)),
            Query(dataset=odd, consumer=odd),
            Query(metrics=(Bound(odd, ">", 0.0),)),
        ):
            assert found(registry, query) == []


def test_odd_facts_of_a_model_are_described(registry: Registry, world: World) -> None:
    new = replace(world.new_version("odd"), features=("a\0b", "y" * 5000), notes="'a' \\ \"b\"")
    with registry.write() as session:
        enter_version(session, new)
    assert found(registry, Query(features=("a\0b",))) == ["flight-delay"]


@pytest.mark.usefixtures("fill")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        (Query(owner="marketing"), ["churn"]),
        (Query(owner="estates team"), ["house-price"]),
        (Query(owner="market"), []),  # a filter is the whole value
        (Query(tags=("travel",)), ["churn", "flight-delay"]),
        (Query(tags=("travel", "crm")), ["churn"]),
        (Query(features=("carrier", "dep_delay")), ["flight-delay"]),
        (Query(dataset="sales"), ["house-price"]),
        (Query(status="registered", text="first", owner="marketing"), ["churn"]),
        (Query(status="approved"), []),
    ],
)
def test_filters_narrow_what_is_found(registry: Registry, query: Query, names: list[str]) -> None:
    assert found(registry, query) == names


@pytest.mark.usefixtures("fill")
def test_a_metric_is_compared_with_its_bound(registry: Registry) -> None:
    day = date(2013, 1, 1)
    with registry.write() as session:
        for name, value in (("churn", 0.6), ("flight-delay", 0.75)):
            version = get_version(session, name, "1.0.0")
            metric = Metric(version_id=version.id, kind="evaluation", name="roc_auc", value=value)
            metric.start = metric.end = day
            metric.variant, metric.rows, metric.basis = "", 400, "e" * 64
            record_metric(session, metric)
            add_consumer(session, name, NewConsumer("desk", "desk@example.org"))
    assert found(registry, Query(metrics=(Bound("roc_auc", ">=", 0.6),))) == [
        "churn",
        "flight-delay",
    ]
    assert found(registry, Query(metrics=(Bound("roc_auc", ">", 0.6),))) == ["flight-delay"]
    assert found(registry, Query(metrics=(Bound("brier", "<", 1.0),))) == []


@pytest.mark.parametrize(
    ("written", "bound"),
    [
        ("roc_auc>=0.6", Bound("roc_auc", ">=", 0.6)),
        (" brier < 2e-1 ", Bound("brier", "<", 0.2)),
        ("recall at 10 = -1", Bound("recall at 10", "=", -1.0)),
    ],
)
def test_a_bound_is_read(written: str, bound: Bound) -> None:
    assert parse_bound(written) == bound


@pytest.mark.parametrize("written", ["", "roc_auc", ">=0.6", "roc_auc>=", "a>=nan", "a=>1", "a>b"])
def test_what_is_no_bound_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="no bound of a metric; expected a name"):
        parse_bound(written)


@pytest.mark.usefixtures("fill")
def test_usage_counts_runs_that_succeeded_and_their_rows(registry: Registry, world: World) -> None:
    score(registry, world, "churn", 100, 50)
    score(registry, world, "churn", 7, state="failed")
    score(registry, world, "flight-delay", 900)
    page = search_models(registry, Query(sort="usage"))
    counted = [(hit.name, hit.runs_30d, hit.rows_30d, hit.last_scored) for hit in page.hits]
    assert counted == [
        ("churn", 2, 150, date(2013, 1, 2)),
        ("flight-delay", 1, 900, date(2013, 1, 1)),
        ("house-price", 0, 0, None),
    ]
    assert found(registry, Query(min_runs=2)) == ["churn"]
    assert found(registry, Query(sort="scored")) == ["churn", "flight-delay", "house-price"]


@pytest.mark.usefixtures("fill")
def test_a_run_of_more_than_30_days_ago_is_no_longer_counted(
    registry: Registry, world: World
) -> None:
    ended = now() - timedelta(days=30, minutes=1)
    with registry.write() as session:
        model_id = get_model(session, "churn").id
        run = claim_partition(session, get_version(session, "churn", "1.0.0"), world.claim)
        session.add(
            RunOutcome(
                run_id=run.id, state="succeeded", rows=5, reason="", resources="{}", ended_at=ended
            )
        )
    with registry.write() as session:  # as it was described an hour ago
        index_models(session, [model_id], now() - timedelta(hours=1))
    with registry.read() as session:
        assert session.get_one(SearchDoc, model_id).runs_30d == 1
    assert found(registry, Query(min_runs=1)) == []
    with registry.read() as session:
        assert session.get_one(SearchDoc, model_id).usage_until is None


@pytest.mark.usefixtures("fill")
def test_a_hit_says_champion_and_status(registry: Registry, world: World) -> None:
    before = search_models(registry, Query(text="churn")).hits[0]
    assert (before.champion, before.status) == (None, "registered")
    with registry.write() as session:
        world.release(session, get_version(session, "churn", "1.0.0"))
    after = search_models(registry, Query(status="approved")).hits[0]
    assert (after.name, after.champion, after.status) == ("churn", "1.0.0", "approved")


@pytest.mark.usefixtures("fill")
def test_archived_models_are_hidden_unless_asked_for(registry: Registry) -> None:
    with registry.write() as session:
        retire(session, "churn", "1.0.0", "archived", "unused", "owner@example.org", "claimed")
    assert found(registry, Query()) == ["flight-delay", "house-price"]
    assert found(registry, Query(text="churn", archived=True)) == ["churn"]


@pytest.mark.usefixtures("fill")
def test_consumers_are_found_until_they_are_removed(registry: Registry) -> None:
    with registry.write() as session:
        add_consumer(session, "churn", NewConsumer("Call centre", "calls@example.org"))
    assert search_models(registry, Query(consumer="call centre")).hits[0].consumers == [
        "Call centre"
    ]
    with registry.write() as session:
        remove_consumer(session, "churn", "Call centre")
    assert found(registry, Query(consumer="call centre")) == []


@pytest.mark.usefixtures("fill")
def test_new_facts_of_a_model_are_found_without_an_event(registry: Registry) -> None:
    with registry.write() as session:
        put_model(session, ModelFacts("churn", "sales", "Who stays?", ("loyalty",)))
    assert found(registry, Query(owner="marketing")) == []
    assert found(registry, Query(text="stays loyal", owner="sales")) == ["churn"]


@pytest.mark.usefixtures("fill")
def test_what_is_rolled_back_is_not_found(registry: Registry) -> None:
    with suppress(RuntimeError), registry.write() as session:
        put_model(session, ModelFacts("churn", "sales", ""))
        raise RuntimeError
    assert found(registry, Query(owner="sales")) == []


@pytest.mark.usefixtures("fill")
def test_a_model_that_was_never_described_is_found_all_the_same(registry: Registry) -> None:
    with registry.write() as session:
        session.execute(text("delete from search_term"))
        session.execute(text("delete from search_text"))
        session.execute(delete(SearchDoc))
    assert found(registry, Query(text="churn", tags=("crm",))) == ["churn"]
    with registry.read() as session:
        described = set(session.scalars(select(SearchDoc.model_id)))
        assert described == set(session.scalars(select(RegisteredModel.id)))


def test_many_models_are_described_in_steps_that_are_kept(registry: Registry) -> None:
    with registry.write() as session:
        for number in range(2 * CHUNK + 1):
            put_model(session, ModelFacts(f"m-{number}", "operations", "Late?"))
    with registry.write() as session:
        for table in ("search_doc", "search_term", "search_text"):
            session.execute(text(f"delete from {table}"))
    commits = []

    def interrupt(connection: Connection) -> None:
        commits.append(connection)
        if len(commits) == 2:
            raise KeyboardInterrupt

    event.listen(registry.engine, "commit", interrupt)
    with suppress(KeyboardInterrupt):
        search_models(registry, Query())
    with registry.read() as session:
        assert session.scalar(select(func.count(SearchDoc.model_id))) == CHUNK
    assert search_models(registry, Query(text="m")).total == 2 * CHUNK + 1
    assert len(commits) == 4  # the first, the one cut off, and two for the rest


@pytest.mark.usefixtures("fill")
def test_pages_of_a_search_by_rank_follow_each_other(registry: Registry) -> None:
    query = Query(text="audit", sort="rank", limit=2)
    pages = [search_models(registry, replace(query, page=page)) for page in (1, 2, 3)]
    assert sorted(hit.name for page in pages for hit in page.hits) == [
        "churn",
        "flight-delay",
        "house-price",
    ]
    assert [len(page.hits) for page in pages] == [2, 1, 0]
    assert [page.total for page in pages] == [3, 3, 3]


@pytest.mark.usefixtures("fill")
def test_a_search_by_rank_obeys_every_filter(registry: Registry) -> None:
    query = Query(text="audit", sort="rank", tags=("travel",), owner="marketing")
    assert found(registry, query) == ["churn"]
    assert found(registry, replace(query, owner="sales")) == []


@pytest.mark.usefixtures("fill")
def test_pages_follow_each_other(registry: Registry) -> None:
    pages = [search_models(registry, Query(limit=2, page=page)) for page in (1, 2, 3)]
    names = [[hit.name for hit in page.hits] for page in pages]
    assert names == [["churn", "flight-delay"], ["house-price"], []]
    assert [page.total for page in pages] == [3, 3, 3]


def test_rank_puts_a_name_before_a_note(registry: Registry, world: World) -> None:
    with registry.write() as session:
        noted = replace(world.new_version("a", name="aaa"), notes="Replaces delay.")
        enter_version(session, noted)
        enter_version(session, world.new_version("b", name="delay"))
    assert found(registry, Query(text="delay")) == ["aaa", "delay"]
    assert found(registry, Query(text="delay", sort="rank")) == ["delay", "aaa"]
