"""Which versions of a Delta table something on record refers to."""

from dataclasses import replace
from datetime import date

from sqlalchemy.orm import Session

from pilotline.registry.runs.runs import Ending, InputRead, claim_partition, end_run
from pilotline.registry.runs.table_versions import (
    dataset_table_versions,
    predictions_table_versions,
)
from tests.support.registry.world import World


def test_what_was_learned_from_scored_or_joined_refers_to_a_dataset_s_table(
    session: Session, world: World
) -> None:
    version = world.enter(session)  # it learned from version 3
    read = InputRead("weather", date(2013, 1, 1), "e" * 64, 7)
    claim_partition(session, version, replace(world.claim, table_version=5), [read])
    assert dataset_table_versions(session, "flights") == {3, 5}
    assert dataset_table_versions(session, "weather") == {7}
    assert dataset_table_versions(session, "arrivals") == set()


def test_runs_that_committed_or_joined_refer_to_a_predictions_table(
    session: Session, world: World
) -> None:
    version, other = world.enter(session), world.enter(session, name="seat-demand")
    for table_version in (11, None):
        run = claim_partition(session, version, world.claim)
        end_run(session, run, Ending("succeeded", 842, table_version=table_version))
    read = InputRead("predictions/flight-delay", date(2013, 1, 1), "e" * 64, 9)
    claim_partition(session, other, world.claim, [read])
    assert predictions_table_versions(session, "flight-delay") == {9, 11}
    assert predictions_table_versions(session, "seat-demand") == set()
