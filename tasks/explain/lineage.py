"""Finding what a lineage is asked of: a version, a run, a data version or a prediction."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import UnknownRunError
from pilotline.registry.gates import look_up, split_reference
from pilotline.registry.record import RegisteredModel, get_model, list_models, list_versions
from pilotline.registry.runs import (
    PRODUCTION,
    Lineage,
    Run,
    data_lineage,
    find_data,
    get_run,
    is_dataset,
    is_run,
    last_outcomes,
    run_lineage,
    versions_lineage,
    visible_runs,
)
from pilotline.registry.store import Session
from pilotline.tasks.errors import NothingToDoError
from pilotline.tasks.home import Home

RUN_ID = re.compile(r"\d{8}-[0-9a-f]{12}")
KINDS = ("dataset", "model")


@dataclass(frozen=True)
class Question:
    """What a lineage is asked of, as a person writes it."""

    reference: str  # MODEL[@REF], DATASET or a run's id; model/NAME and dataset/NAME are certain
    day: date | None = None
    key: str | None = None  # of one prediction, as ``trace`` takes it
    digest: str | None = None  # the beginning of an earlier data version's


@dataclass(frozen=True)
class Prediction:
    """One prediction that a lineage was asked of."""

    key: Mapping[str, Any]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Traced:
    """A lineage, and the prediction it was asked of where it was."""

    lineage: Lineage
    prediction: Prediction | None = None


def trace_lineage(registry: Registry, home: Home, asked: Question) -> Traced:
    """Return the lineage of what ``asked`` names.

    Raises:
        UnknownModelError, UnknownVersionError, UnknownRunError: there is no such thing.
        UnknownPartitionError, UnknownDigestError: the dataset has no such day or data version.
        NothingToDoError: the reference is unclear, or nothing is scored there.
    """
    kind, name, reference = _classify(registry, asked.reference)
    _refuse_unfit(asked, kind, reference)
    if kind == "model" and asked.day is not None and asked.key is not None:
        return _trace_prediction(registry, home, name, asked.day, asked.key)
    with registry.read() as session:
        if kind == "run":
            return Traced(run_lineage(session, get_run(session, name)))
        if kind == "dataset":
            assert asked.day is not None
            return Traced(data_lineage(session, find_data(session, name, asked.day, asked.digest)))
        model = get_model(session, name)
        if asked.day is not None:
            return Traced(run_lineage(session, _visible_run(session, model, asked.day)))
        if reference is not None:
            return Traced(versions_lineage(session, [look_up(session, name, reference)]))
        return Traced(versions_lineage(session, list_versions(session, model.id)))


def _classify(registry: Registry, text: str) -> tuple[str, str, str | None]:
    """Return the kind of thing ``text`` names, its name and, of a version, the reference."""
    kind, slash, rest = text.partition("/")
    said = kind if slash and kind in KINDS else None
    name, reference = split_reference(rest if said else text)
    with registry.read() as session:
        known = [model.name for model in list_models(session)]
        run = said is None and is_run(session, text)
        dataset = is_dataset(session, name)
    if run:
        return "run", text, None
    if said is not None:
        if said == "dataset" and not dataset:
            raise _no_such_dataset(name)
        return said, name, reference
    if dataset and name in known and reference is None:
        raise NothingToDoError(
            f"Name {name!r}",
            "it is a dataset and a model",
            f"Write dataset/{name} or model/{name}.",
        )
    if dataset and name not in known:
        return "dataset", name, reference
    if name in known or reference is not None:
        return "model", name, reference
    if RUN_ID.fullmatch(text):
        raise UnknownRunError(text)
    raise NothingToDoError(
        f"Name {text!r}",
        "no model, dataset or run on record is called that",
        "List the models with 'pilotline models'.",
    )


def _no_such_dataset(name: str) -> NothingToDoError:
    return NothingToDoError(
        f"Dataset {name!r}",
        "no day of it is on record",
        f"Check the spelling, or bring it in with 'pilotline ingest {name} --date DATE'.",
    )


def _refuse_unfit(asked: Question, kind: str, reference: str | None) -> None:
    """Do nothing if the day, key and digest that were given fit the kind of thing."""
    what = f"Lineage of {asked.reference!r}"
    if kind == "dataset" and (asked.day is None or asked.key is not None or reference is not None):
        raise NothingToDoError(
            what,
            "a dataset has one for each of its days",
            "Give --date, and --digest for an earlier one.",
        )
    if kind != "dataset" and asked.digest is not None:
        raise NothingToDoError(
            what, "--digest names a data version of a dataset", "Leave it out, or name the dataset."
        )
    if kind == "run" and asked.day is not None:
        raise NothingToDoError(what, "a run is of one day already", "Leave --date and --key out.")
    if kind == "model" and reference is not None and asked.day is not None:
        raise NothingToDoError(
            what,
            "--date asks for the predictions readers see, whichever version made them",
            f"Leave --date out, or the '@{reference}'.",
        )


def _trace_prediction(registry: Registry, home: Home, name: str, day: date, key: str) -> Traced:
    from pilotline.tasks.explain.tracing import (
        find_prediction,  # Delta and Arrow: only for a prediction
    )

    contract, where, row = find_prediction(registry, home, name, day, key)
    values = {column: row[column] for column in contract["outputs"] if column in row}
    with registry.read() as session:
        lineage = run_lineage(session, get_run(session, row["run_id"]))
    return Traced(lineage, Prediction(where, values))


def _visible_run(session: Session, model: RegisteredModel, day: date) -> Run:
    shown = visible_runs(session, model.id, PRODUCTION, day, day).get(day)
    if shown is not None:
        return shown
    outcome = last_outcomes(session, model.id, PRODUCTION, day, day).get(day)
    last = f"; its last run, {outcome.run_id}, {outcome.state}" if outcome is not None else ""
    raise NothingToDoError(
        f"Predictions of {model.name!r} on {day}",
        f"no run's rows are what readers see{last}",
        f"Score it: 'pilotline score {model.name} --date {day}'.",
    )
