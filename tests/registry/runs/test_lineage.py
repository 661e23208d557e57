"""Lineage: what came before and after, by exact digests, in as many queries however long it is."""

import uuid
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import event, insert, update
from sqlalchemy.orm import Session

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownDigestError, UnknownPartitionError
from pilotline.registry.record.versions import Learned, ModelVersion, enter_version
from pilotline.registry.runs.ingests import Ingest, record_ingest
from pilotline.registry.runs.lineage import (
    DataVersion,
    KnownRun,
    Lineage,
    data_lineage,
    find_data,
    is_dataset,
    run_lineage,
    versions_lineage,
)
from pilotline.registry.runs.runs import (
    Claim,
    Ending,
    Run,
    RunOutcome,
    ScoredPartition,
    claim_partition,
    end_run,
)
from tests.support.registry.world import World

DAY, NEXT = date(2013, 1, 1), date(2013, 1, 2)
SUCCESS = Ending("succeeded", 842, table_version=7)


def ingest(session: Session, digest: str, day: date = DAY, table_version: int = 3) -> Ingest:
    """Record an ingest of flights."""
    return record_ingest(
        session,
        Ingest(
            dataset="flights",
            date=day,
            token="a" * 64,
            partition_digest=digest,
            table_version=table_version,
            accepted=842,
            quarantined=1,
        ),
    )


def known(lineage: Lineage, version: ModelVersion) -> tuple[list[str], list[str]]:
    """Return the numbers of a version's ancestors and of its descendants."""
    subject = lineage.versions[version.id]
    before = [relative.row.number for relative in lineage.ancestors(subject)]
    return before, [relative.row.number for relative in lineage.descendants(subject)]


def chain(session: Session, world: World, length: int) -> list[ModelVersion]:
    """Enter versions that descend from each other."""
    versions = [world.enter(session, "0")]
    for n in range(1, length):
        versions.append(world.enter(session, str(n), parent=versions[-1], part="minor"))
    return versions


def test_a_version_has_its_parents_up_to_the_first_and_all_that_descend_from_it(
    session: Session, world: World
) -> None:
    first, second, third = chain(session, world, 3)
    fourth = world.enter(session, "side", parent=second, part="patch")
    lineage = versions_lineage(session, [second])
    assert known(lineage, second) == (["1.0.0"], [fourth.number, third.number])
    assert (fourth.number, third.number) == ("1.1.1", "1.2.0")
    assert known(versions_lineage(session, [third]), third) == (["1.1.0", "1.0.0"], [])
    assert set(versions_lineage(session, [first]).versions) == {
        version.id for version in (first, second, third, fourth)
    }


def test_a_parent_that_was_made_its_own_grandchild_ends_the_walk(
    session: Session, world: World
) -> None:
    first, _, third = chain(session, world, 3)
    world.tamper(
        session,
        update(ModelVersion).where(ModelVersion.id == first.id).values(parent_id=third.id),
    )
    before, after = known(versions_lineage(session, [first]), first)
    assert before == ["1.2.0", "1.1.0"]
    assert sorted(after) == ["1.1.0", "1.2.0"]


def test_a_version_comes_with_its_own_runs_and_whose_rows_are_seen(
    session: Session, world: World
) -> None:
    first, second = chain(session, world, 2)
    runs = [claim_partition(session, version, world.claim) for version in (first, second, first)]
    for run in runs[:2]:
        end_run(session, run, SUCCESS)
    end_run(session, runs[2], Ending("failed", reason="out of memory"))
    found = versions_lineage(session, [first]).runs
    assert [(run.row.id, run.visible, run.shown) for run in found] == [
        (runs[0].id, False, runs[1].id),
        (runs[2].id, False, runs[1].id),
    ]
    assert [run.outcome.state for run in found if run.outcome] == ["succeeded", "failed"]


def test_a_run_has_its_version_and_rows_before_it_and_nothing_of_later_versions(
    session: Session, world: World
) -> None:
    first, second, _ = chain(session, world, 3)
    ingest(session, "d" * 64)
    run = claim_partition(session, second, world.claim)
    end_run(session, run, SUCCESS)
    lineage = run_lineage(session, run)
    assert isinstance(lineage.subject, KnownRun)
    assert lineage.subject.visible
    assert lineage.subject.data == DataVersion("flights", DAY, "d" * 64)
    assert set(lineage.versions) == {first.id, second.id}
    assert [item.partition_digest for item in lineage.learned[second.id]] == ["d" * 64]
    assert [found.table_version for found in lineage.ingests[("flights", DAY)]] == [3]


def test_a_run_of_a_split_is_in_the_lineage_of_both_versions_and_of_its_rows(
    session: Session, world: World
) -> None:
    first, second, third = chain(session, world, 3)
    run = claim_partition(session, first, replace(world.claim, challenger_id=third.id, share="0.1"))
    end_run(session, run, SUCCESS)
    for version in (first, third):
        lineage = versions_lineage(session, [version])
        subject = lineage.versions[version.id]
        assert [found.row.id for found in lineage.runs_of(subject)] == [run.id]
    assert versions_lineage(session, [second]).runs == []
    assert set(run_lineage(session, run).versions) == {first.id, second.id, third.id}
    whole = data_lineage(session, DataVersion("flights", DAY, "d" * 64))
    assert {first.id, third.id} <= set(whole.versions)


def test_a_data_version_leads_to_who_learned_or_scored_exactly_these_rows(
    session: Session, world: World
) -> None:
    ours, others = "d" * 64, "e" * 64
    learned = {
        key: replace(world.new_version(key), learned=(Learned("flights", DAY, "train", digest, 3),))
        for key, digest in (("ours", ours), ("others", others), ("neither", "f" * 64))
    }
    versions = {key: enter_version(session, new)[0] for key, new in learned.items()}
    scored = claim_partition(session, versions["neither"], world.claim)
    claim_partition(session, versions["neither"], replace(world.claim, partition_digest=others))
    later = claim_partition(session, versions["ours"], replace(world.claim, date=NEXT))
    lineage = data_lineage(session, DataVersion("flights", DAY, ours))
    assert set(lineage.versions) == {versions["ours"].id, versions["neither"].id}
    assert [run.row.id for run in lineage.runs] == [scored.id, later.id]
    assert [run.row.id for run in lineage.runs if run.data == lineage.subject] == [scored.id]


def test_a_day_that_was_ingested_again_no_longer_holds_the_rows(
    session: Session, world: World
) -> None:
    version = world.enter(session)
    rows = DataVersion("flights", DAY, "d" * 64)
    assert not versions_lineage(session, [version]).holds_others(rows)  # not ingested here
    ingest(session, "d" * 64)
    assert not versions_lineage(session, [version]).holds_others(rows)
    ingest(session, "e" * 64, table_version=4)
    lineage = versions_lineage(session, [version])
    assert lineage.holds_others(rows)
    assert [found.table_version for found in lineage.ingests[("flights", DAY)]] == [3, 4]


def test_a_data_version_is_what_the_day_holds_now_or_the_one_a_prefix_names(
    session: Session, world: World
) -> None:
    world.enter(session)  # learned from dddd...
    claim_partition(session, world.enter(session), replace(world.claim, partition_digest="c" * 64))
    ingest(session, "ab" + "0" * 62)
    ingest(session, "ae" + "0" * 62, table_version=4)
    assert find_data(session, "flights", DAY).digest == "ae" + "0" * 62
    for prefix, digest in (("AB", "ab" + "0" * 62), ("d", "d" * 64), ("cc", "c" * 64)):
        assert find_data(session, "flights", DAY, prefix).digest == digest


@pytest.mark.parametrize("prefix", ["a", "9", ""])
def test_a_prefix_of_none_or_several_is_refused_with_the_known_ones(
    session: Session, prefix: str
) -> None:
    for digest in ("ab" + "0" * 62, "ae" + "0" * 62):
        ingest(session, digest)
    with pytest.raises(UnknownDigestError) as unknown:
        find_data(session, "flights", DAY, prefix)
    assert str(unknown.value) == (
        f"Digest {prefix!r} of dataset 'flights' on 2013-01-01: expected the beginning of one of "
        "its data versions; known: ab0000000000, ae0000000000. Give one of these, or leave it out "
        "for what the day holds now."
    )


def test_a_day_that_was_never_ingested_is_named(session: Session) -> None:
    with pytest.raises(UnknownPartitionError, match="has no partition 2013-01-01"):
        find_data(session, "flights", DAY)


def test_a_dataset_is_known_by_its_ingests_or_by_who_learned_from_it(
    session: Session, world: World
) -> None:
    assert not is_dataset(session, "flights")
    world.enter(session)
    assert is_dataset(session, "flights")
    assert not is_dataset(session, "weather")


def test_ten_thousand_runs_take_no_more_queries_than_one(registry: Registry, world: World) -> None:
    with registry.write() as session:
        version = world.enter(session)
        end_run(session, claim_partition(session, version, world.claim), SUCCESS)
    few = count_queries(registry, version)
    with registry.write() as session:
        add_runs(session, version, world.claim, 10_000)
    many = count_queries(registry, version)
    assert (few[1], many[1]) == (1, 10_001)
    assert few[0] == many[0] <= 6


def count_queries(registry: Registry, version: ModelVersion) -> tuple[int, int]:
    """Return how many queries a version's lineage takes, and how many runs it has."""
    said: list[str] = []

    def note(*facts: object) -> None:
        said.append(str(facts[2]))

    event.listen(registry.engine, "before_cursor_execute", note)
    try:
        with registry.read() as session:
            lineage = versions_lineage(session, [version])
    finally:
        event.remove(registry.engine, "before_cursor_execute", note)
    return sum(text.startswith("SELECT") for text in said), len(lineage.runs)


def add_runs(session: Session, version: ModelVersion, claim: Claim, count: int) -> None:
    """Add runs of as many days, each visible."""
    runs = []
    for n in range(1, count + 1):
        facts = vars(replace(claim, date=claim.date + timedelta(days=n)))
        own = {"id": uuid.uuid4().hex, "version_id": version.id, "model_id": version.model_id}
        runs.append({**facts, **own, "epoch": 1})
    session.execute(insert(Run), runs)
    ended = {"state": "succeeded", "rows": 1, "reason": "", "resources": "{}", "table_version": 1}
    session.execute(insert(RunOutcome), [{**ended, "run_id": run["id"]} for run in runs])
    session.execute(
        insert(ScoredPartition),
        [
            {
                **{name: run[name] for name in ("model_id", "variant", "date", "epoch")},
                "claimed_by": run["id"],
                "visible_run": run["id"],
            }
            for run in runs
        ],
    )
