"""What a lineage can be asked of, and what is said where a question is unclear."""

from collections.abc import Callable
from datetime import date
from typing import Protocol

import pytest

from pilotline.registry import Registry
from pilotline.registry.form.errors import UnknownModelError, UnknownRunError
from pilotline.registry.runs.ingests import Ingest, get_partition, record_ingest
from pilotline.registry.runs.lineage import DataVersion, KnownRun
from pilotline.registry.runs.runs import Claim, claim_partition
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.explain.lineage import Question, Traced, trace_lineage
from pilotline.tasks.home import Home
from pilotline.tasks.monitor.actuals import read_predictions
from pilotline.tasks.score.job import Job
from tests.support.tasks.calls import Score

DAY, NEXT = date(2013, 1, 14), date(2013, 1, 15)
KNOWN = date(2013, 1, 2)  # version 1.0.0 learned from it
MODEL = "flight-delay"
RUN = "20130114-0123456789ab"


class Ask(Protocol):
    """Asks for a lineage."""

    def __call__(self, reference: str, day: date | None = None, **more: str) -> Traced:
        """Return it."""


@pytest.fixture
def ask(registry: Registry, home: Home) -> Ask:
    """Return a function that asks for a lineage."""

    def asked(reference: str, day: date | None = None, **more: str) -> Traced:
        return trace_lineage(registry, home, Question(reference, day, **more))

    return asked


def run_of(traced: Traced) -> str:
    """Return the run that a lineage is of."""
    assert isinstance(traced.lineage.subject, KnownRun)
    return traced.lineage.subject.row.id


@pytest.mark.parametrize(
    "reference", [MODEL, f"{MODEL}@1.0.0", f"{MODEL}@champion", f"model/{MODEL}@~=1.0"]
)
def test_a_version_is_asked_of_by_number_alias_or_constraint(ask: Ask, reference: str) -> None:
    lineage = ask(reference).lineage
    assert isinstance(lineage.subject, tuple)
    assert [version.row.number for version in lineage.subject] == ["1.0.0"]
    (items,) = lineage.learned.values()
    # Ten days to learn from and three held out, of two datasets.
    assert len(items) == 2 * 13
    assert {item.dataset for item in items} == {"flights", "arrivals"}


def test_a_run_its_day_and_its_predictions_lead_to_the_same_run(
    ask: Ask, score: Score, home: Home, job: Job
) -> None:
    (done,) = score(DAY)
    row = read_predictions(home, job, "production", DAY).slice(7, 1).to_pylist()[0]
    key = ",".join(f"{name}={row[name]}" for name in ("carrier", "flight", "origin"))
    by_key = ask(MODEL, DAY, key=key)
    assert [run_of(found) for found in (ask(done.run_id), ask(MODEL, DAY), by_key)] == (
        [done.run_id] * 3
    )
    assert by_key.prediction is not None
    assert by_key.prediction.values == {"probability": row["probability"]}
    assert by_key.prediction.key == {name: row[name] for name in job.key}


def test_a_day_of_a_dataset_leads_to_who_learned_from_it(ask: Ask, registry: Registry) -> None:
    with registry.read() as session:
        digest = get_partition(session, "flights", KNOWN).partition_digest
    for found in (ask("flights", KNOWN), ask("dataset/flights", KNOWN, digest=digest[:8])):
        assert found.lineage.subject == DataVersion("flights", KNOWN, digest)
        assert [known.row.number for known in found.lineage.versions.values()] == ["1.0.0"]


def test_a_name_of_both_kinds_asks_which_one_is_meant(ask: Ask, registry: Registry) -> None:
    with registry.write() as session:
        record_ingest(
            session,
            Ingest(
                dataset=MODEL,
                date=DAY,
                token="a" * 64,
                partition_digest="d" * 64,
                table_version=1,
                accepted=1,
                quarantined=0,
            ),
        )
    with pytest.raises(NothingToDoError) as unclear:
        ask(MODEL)
    assert str(unclear.value) == (
        "Name 'flight-delay': it is a dataset and a model. "
        "Write dataset/flight-delay or model/flight-delay."
    )
    assert isinstance(ask(f"model/{MODEL}").lineage.subject, tuple)
    assert ask(f"dataset/{MODEL}", DAY).lineage.subject == DataVersion(MODEL, DAY, "d" * 64)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Question("churn"), "Name 'churn': no model, dataset or run on record is called that"),
        (Question("dataset/churn", DAY), "Dataset 'churn': no day of it is on record"),
        (Question("flights"), "a dataset has one for each of its days. Give --date"),
        (Question("flights", DAY, key="UA,1,EWR"), "a dataset has one for each of its days"),
        (Question(MODEL, DAY, digest="ab"), "--digest names a data version of a dataset"),
        (Question(f"{MODEL}@1.0.0", DAY), "whichever version made them. Leave --date out, or the"),
        (Question(MODEL, NEXT), "no run's rows are what readers see. Score it: 'pilotline score"),
    ],
    ids=lambda value: str(getattr(value, "reference", "")),
)
def test_an_unclear_question_says_what_would_be_clear(
    registry: Registry, home: Home, asked: Question, message: str
) -> None:
    with pytest.raises(NothingToDoError) as refused:
        trace_lineage(registry, home, asked)
    assert message in str(refused.value)


def test_a_run_is_of_one_day_already(ask: Ask, score: Score) -> None:
    (done,) = score(DAY)
    with pytest.raises(NothingToDoError, match=r"a run is of one day already\. Leave --date"):
        ask(done.run_id, DAY)


def test_what_is_not_there_is_named_as_what_it_looks_like(ask: Ask) -> None:
    with pytest.raises(UnknownRunError):
        ask(RUN)
    with pytest.raises(UnknownModelError):
        ask("churn@1.0.0")
    with pytest.raises(UnknownModelError):
        ask("model/flights")


def test_a_day_whose_last_run_failed_says_so(
    ask: Ask, score: Score, change_model: Callable[[str], Job]
) -> None:
    broken = "def load(folder):\n    return None\ndef predict(model, data):\n    raise ValueError\n"
    (failed,) = score(DAY, job=change_model(broken))
    with pytest.raises(NothingToDoError, match=f"its last run, {failed.run_id}, failed"):
        ask(MODEL, DAY)
    assert run_of(ask(failed.run_id)) == failed.run_id


def test_a_run_without_an_outcome_has_a_lineage(ask: Ask, registry: Registry, job: Job) -> None:
    claim = Claim("production", "flights", DAY, "d" * 64, 3, "c" * 64, "A", "score")
    with registry.write() as session:
        run = claim_partition(session, job.bundle.version, claim)
    subject = ask(run.id).lineage.subject
    assert isinstance(subject, KnownRun)
    assert (subject.outcome, subject.visible) == (None, False)
