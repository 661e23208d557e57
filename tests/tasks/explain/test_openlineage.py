"""Lineage as OpenLineage events: the specification's required fields and formats, and its graph.

Required fields and formats are those of spec/OpenLineage.json 2-0-2: eventTime, producer,
schemaURL, run.runId, job.namespace and job.name; of a dataset namespace and name; of a facet
_producer and _schemaURL.
"""

import json
import re
from collections.abc import Iterator
from datetime import date, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from pilotline.registry import Registry
from pilotline.registry.runs.ingests import get_partition
from pilotline.registry.runs.runs import Claim, claim_partition, get_run, outcome_of
from pilotline.tasks.explain.lineage import Prediction, Question, Traced, trace_lineage
from pilotline.tasks.explain.openlineage import describe_events
from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from tests.support.servers.once import made_once
from tests.tasks.conftest import copy_home, home_in, open_stage, with_script

DAY, NEXT, AFTER = date(2013, 1, 14), date(2013, 1, 15), date(2013, 1, 16)
# RFC 3339, section 5.6: date-time with a zone.
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
BROKEN = "def load(folder):\n    return None\ndef predict(model, data):\n    raise ValueError\n"
Event = dict[str, Any]


@pytest.fixture(scope="session")
def told(shared: Path, once_scored: Home, tier: Tier) -> Home:
    """Return a home with a run that succeeded, one that failed and one that is under way."""

    def make(project: Path) -> None:
        with open_stage(copy_home(once_scored, project), tier) as stage:
            (good,) = stage.score_days([DAY])
            (bad,) = stage.score_days([NEXT], with_script(stage.job, BROKEN))
            claim = Claim("production", "flights", AFTER, "d" * 64, 3, "c" * 64, "A", "score")
            with stage.registry.write() as session:
                under_way = claim_partition(session, stage.job.bundle.version, claim).id
        (project / "runs.json").write_text(json.dumps([good.run_id, bad.run_id, under_way]))

    return home_in(made_once(shared, "told", make))


@pytest.fixture
def home(told: Home, tmp_path: Path) -> Home:
    """Return a copy of it."""
    return copy_home(told, tmp_path / "copy")


@pytest.fixture
def runs(told: Home) -> list[str]:
    """Return the three runs."""
    named: list[str] = json.loads((told.lab.parent / "runs.json").read_text())
    return named


@pytest.fixture
def traced(registry: Registry, home: Home, runs: list[str]) -> Traced:
    """Return the lineage of the model with these runs."""
    return trace_lineage(registry, home, Question("flight-delay"))


@pytest.fixture
def events(traced: Traced) -> list[Event]:
    """Return its events."""
    return describe_events(traced)


def of_job(events: list[Event], job: str) -> list[Event]:
    """Return the events of a job."""
    return [event for event in events if event["job"]["name"] == job]


def facets_in(value: Any) -> Iterator[tuple[str, Event]]:
    """Yield every facet with its key, wherever it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("facets", "inputFacets", "outputFacets"):
                yield from inner.items()
            yield from facets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from facets_in(inner)


def test_every_event_has_the_required_fields_in_their_formats(events: list[Event]) -> None:
    assert events
    for event in events:
        assert event["eventType"] in ("START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER")
        assert RFC_3339.fullmatch(event["eventTime"])
        assert event["schemaURL"] == (
            "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
        )
        assert event["producer"].startswith("urn:pilotline:")
        assert str(UUID(event["run"]["runId"])) == event["run"]["runId"]
        for thing in (event["job"], *event["inputs"], *event["outputs"]):
            assert thing["namespace"] == "pilotline"
            assert thing["name"]


def test_every_facet_names_its_producer_and_a_schema_that_claims_no_foreign_host(
    events: list[Event],
) -> None:
    found = list(facets_in(events))
    assert {key for key, _ in found} == {
        *("version", "outputStatistics", "errorMessage"),
        *("pilotline_ingest", "pilotline_training", "pilotline_scoring"),
        *("pilotline_partition", "pilotline_version", "pilotline_predictions"),
    }
    for key, facet in found:
        assert urlsplit(facet["_producer"]).scheme == "urn"
        schema = urlsplit(facet["_schemaURL"])
        if key.startswith("pilotline_"):
            assert (schema.scheme, schema.netloc) == ("urn", "")
        else:
            assert (schema.scheme, schema.netloc) == ("https", "openlineage.io")


def test_every_run_starts_once_and_ends_once_or_is_under_way(
    events: list[Event], runs: list[str]
) -> None:
    kinds: dict[str, list[str]] = {}
    for event in events:  # they stand in the order of their times
        kinds.setdefault(event["run"]["runId"], []).append(event["eventType"])
    ended = [tuple(said) for said in kinds.values()]
    assert ended.count(("START",)) == 1  # the run under way
    assert ended.count(("START", "FAIL")) == 1
    assert set(ended) == {("START",), ("START", "FAIL"), ("START", "COMPLETE")}
    times = [datetime.fromisoformat(event["eventTime"]) for event in events]
    assert times == sorted(times)


def test_a_scoring_names_its_rows_its_version_and_what_it_made(
    registry: Registry, job: Job, events: list[Event], runs: list[str]
) -> None:
    name = "score/flight-delay/production"
    (done,) = [e for e in of_job(events, name) if e["eventType"] == "COMPLETE"]
    with registry.read() as session:
        partition = get_partition(session, "flights", DAY)
        outcome = outcome_of(session, get_run(session, runs[0]))
    assert outcome is not None
    rows, model = done["inputs"]
    assert rows["name"] == "datasets/flights/2013-01-14"
    assert rows["facets"]["version"]["datasetVersion"] == partition.partition_digest
    assert rows["facets"]["pilotline_partition"]["digest"] == partition.partition_digest
    assert rows["facets"]["pilotline_partition"]["tableVersion"] == partition.table_version
    assert model["name"] == "models/flight-delay"
    assert model["facets"]["version"]["datasetVersion"] == job.bundle.version.digest
    (made,) = done["outputs"]
    assert made["name"] == "predictions/flight-delay/production/2013-01-14"
    assert made["facets"]["version"]["datasetVersion"] == runs[0]
    predictions = made["facets"]["pilotline_predictions"]
    assert (predictions["epoch"], predictions["visible"]) == (1, True)
    assert predictions["tableVersion"] == outcome.table_version
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 100
    assert datetime.fromisoformat(done["eventTime"]) == outcome.ended_at


def test_a_failure_says_why_and_made_nothing(events: list[Event]) -> None:
    (failed,) = [event for event in events if event["eventType"] == "FAIL"]
    assert failed["outputs"] == []
    error = failed["run"]["facets"]["errorMessage"]
    assert "ValueError" in error["message"]
    assert error["programmingLanguage"] == "python"


def test_a_training_reads_every_day_it_learned_from(job: Job, events: list[Event]) -> None:
    start, done = of_job(events, "train/flight-delay")
    assert start["run"]["runId"] == done["run"]["runId"]
    names = [read["name"] for read in done["inputs"]]
    assert len(set(names)) == len(names) == 2 * 13
    assert "datasets/arrivals/2013-01-01" in names
    uses = [read["facets"]["pilotline_partition"]["use"] for read in done["inputs"]]
    assert (uses.count("train"), uses.count("holdout")) == (2 * 10, 2 * 3)
    assert [made["name"] for made in done["outputs"]] == ["models/flight-delay"]
    assert start["inputs"] == done["inputs"]


def test_what_is_read_was_made_by_an_event_and_nothing_made_itself(events: list[Event]) -> None:
    """Draw the graph from the events alone, as a consumer does: runs between data versions."""

    def version(thing: Event) -> str:
        return f"{thing['name']}@{thing['facets']['version']['datasetVersion']}"

    before: dict[str, set[str]] = {}
    for event in events:
        before.setdefault(event["run"]["runId"], set()).update(map(version, event["inputs"]))
        for made in event["outputs"]:
            before.setdefault(version(made), set()).add(event["run"]["runId"])
    order = list(TopologicalSorter(before).static_order())  # raises CycleError
    assert len(order) == len(before) + 1
    unmade = [thing for thing in order if thing not in before]
    assert unmade == ["datasets/flights/2013-01-16@" + "d" * 64]  # invented by the open run


def test_the_same_lineage_gives_the_same_events(traced: Traced, events: list[Event]) -> None:
    assert describe_events(traced) == events


def test_a_prediction_s_key_and_values_stand_with_the_partition_it_is_in(
    registry: Registry, home: Home, runs: list[str]
) -> None:
    traced = trace_lineage(registry, home, Question(runs[0]))
    asked = Traced(traced.lineage, Prediction({"flight_date": DAY, "flight": 7}, {"p": 0.5}))
    (made,) = [
        made
        for event in of_job(describe_events(asked), "score/flight-delay/production")
        for made in event["outputs"]
    ]
    facet = made["facets"]["pilotline_prediction"]
    assert facet["key"] == {"flight_date": "2013-01-14", "flight": 7}
    assert facet["values"] == {"p": 0.5}
