"""A version beside the champion of the moment, on the rows that the version was judged on."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import date
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import VersionUnfitError
from pilotline.registry.gates import serving_champion
from pilotline.registry.record import (
    ModelVersion,
    last_comparison,
    model_of,
    record_comparison,
    status_of,
)
from pilotline.registry.runs import InputRead
from pilotline.registry.store import Session
from pilotline.tasks.errors import LabError, LakeError, NothingToDoError, UnknownFolderError
from pilotline.tasks.features import choose_inputs, read_plans
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle, ModelSpec, load_bundle, load_dataset, load_json
from pilotline.tasks.sandbox import (
    Room,
    Tier,
    Wheelhouse,
    built_environment,
    predict_rows,
    tier_for,
)
from pilotline.tasks.stats import AGAINST, check_metrics, measure, measured_names, pair_outcomes
from pilotline.tasks.train.data import Pin, Selection, load_rows

DECIDABLE = ("registered", "approved")  # a version of another status can no longer be decided on


def present_evaluation(registry: Registry, session: Session, version: ModelVersion) -> Any:
    """Return a version's evaluation as it stands beside the champion of now; reads only.

    It is what the version holds, unless another one became champion since: then that comparison
    is left out, and the one that was made with the champion of now, if there is one, put in.

    Returns:
        What ``evaluation.json`` holds, and ``outdated``: in words why it cannot be decided on
        before it is compared again; empty where it can.
    """
    found = load_json(registry, version, "evaluation.json")
    champion = serving_champion(session, model_of(session, version).name)
    before = (found["champion"] or {}).get("version")
    number = champion.number if champion else None
    if before == number or number == version.number:
        return {**found, "outdated": ""}
    checks = [check for check in found["checks"] if not check["name"].endswith(AGAINST)]
    alone = {**found, "champion": None, "checks": checks, "outdated": ""}
    if champion is None:
        return alone
    event = last_comparison(session, version, champion.number)
    if event is None:
        past = "trained when there was no champion"
        if before:
            past = f"compared with {before}, which is not champion now"
        return {**alone, "outdated": f"{past}, and never compared with the champion {number}"}
    facts = event.facts()
    against = {"version": number, "metrics": facts["metrics"], "learned": facts["learned"]}
    return {**alone, "champion": against, "checks": facts["checks"]}


def face_champion(
    registry: Registry, home: Home, version: ModelVersion, say: Callable[[str], None]
) -> Any:
    """Return ``present_evaluation``, once the version is compared with the champion of now.

    The champion predicts the version's own held-out rows, in its own environment and in the
    isolation that the version asks for; what comes of it is recorded as evidence of the version.

    Raises:
        VersionUnfitError: it cannot be compared with the champion any more.
        EnvironmentBuildError, ChildError: the champion's environment or code failed.
    """
    with registry.read() as session:
        found = present_evaluation(registry, session, version)
        name = model_of(session, version).name
        decidable = status_of(session, version) in DECIDABLE
        champion = serving_champion(session, name)
    if not found["outdated"] or not decidable or champion is None:
        return found
    say(f"comparing {name} {version.number} with the champion {champion.number}")
    mine, theirs = load_bundle(registry, version), load_bundle(registry, champion)
    try:
        compared = _compare(registry, home, tier_for(home, mine.folder), mine, theirs)
    except (LabError, LakeError, NothingToDoError, UnknownFolderError) as err:
        raise VersionUnfitError(
            name,
            version.number,
            f"cannot be compared with the champion {champion.number}: {err}",
            f"Train it again: 'pilotline train {name}'.",
        ) from err
    with registry.write() as session:
        record_comparison(session, version, champion, compared)
    with registry.read() as session:
        return present_evaluation(registry, session, version)


def require_compared(registry: Registry, session: Session, version: ModelVersion) -> None:
    """Do nothing if ``version`` is compared with the champion of now; reads only.

    Raises:
        VersionUnfitError: it is not.
    """
    outdated = present_evaluation(registry, session, version)["outdated"]
    if outdated:
        name = model_of(session, version).name
        raise VersionUnfitError(
            name,
            version.number,
            f"was {outdated}",
            f"Run 'pilotline release {name} {version.number}': it compares them and asks again.",
        )


def judge_champion(
    wheelhouse: Wheelhouse,
    home: Home,
    tier: Tier,
    champion: Bundle,
    spec: ModelSpec,
    happened: pa.ChunkedArray,
    seen: pa.Table,
) -> dict[str, Any]:
    """Return the champion's number and metrics on the held-out rows of another version.

    Args:
        wheelhouse: where wheels are kept.
        home: the home.
        tier: the isolation.
        champion: the champion.
        spec: of the version that is judged.
        happened: its target on those rows.
        seen: the same rows as the champion sees them.
    """
    with built_environment(
        home.scratch, spec.name, champion.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        room = Room(home, environment, tier)
        chances = predict_rows(room, champion.folder, champion.artifact, seen)
    theirs: Mapping[str, float] = {}  # of another kind of prediction: nothing to compare
    if (champion.spec.kind, set(champion.spec.classes)) == (spec.kind, set(spec.classes)):
        outcomes = pair_outcomes(champion.spec, happened, chances)
        theirs = measure(measured_names(spec), outcomes)
    return {"version": champion.version.number, "metrics": theirs}


def rows_for_champion(
    registry: Registry,
    home: Home,
    champion: Bundle,
    spec: ModelSpec,
    selection: Selection,
    holdout: pa.Table,
) -> pa.Table:
    """Return the held-out rows as the champion sees them, in the same order.

    It may have other features, or join the same input by another rule.
    """
    own = champion.spec
    if own.joins == spec.joins and set(own.features) <= set(holdout.column_names):
        return holdout
    plans = read_plans(champion.json("contract.json"))
    joined = tuple(choose_inputs(registry, home, plans, selection.holdout))
    theirs = replace(selection, train=(), plans=plans, joined=joined)
    return load_rows(registry, home, replace(own, target=spec.target), theirs).holdout


def _compare(
    registry: Registry, home: Home, tier: Tier, mine: Bundle, theirs: Bundle
) -> dict[str, object]:
    spec, evaluation = mine.spec, mine.json("evaluation.json")
    selection = _held_out(home, mine)
    holdout = load_rows(registry, home, spec, selection).holdout
    if holdout.num_rows != evaluation["rows"]:
        raise LakeError(
            spec.input,
            f"its held-out days give {holdout.num_rows} rows, on record are {evaluation['rows']}",
            "Somebody changed a table.",
        )
    seen = rows_for_champion(registry, home, theirs, spec, selection, holdout)
    wheelhouse = Wheelhouse(registry, home.scratch)
    against = judge_champion(wheelhouse, home, tier, theirs, spec, holdout[spec.target], seen)
    checks = check_metrics(spec.metrics, evaluation["metrics"], against["metrics"])
    learned = set(theirs.json("data.json")["train"]["days"])
    return {
        "metrics": against["metrics"],
        "checks": [asdict(check) for check in checks],
        "rows": holdout.num_rows,
        "isolation": tier.name,
        "learned": len(learned & {day.isoformat() for day in selection.holdout}),
    }


def _held_out(home: Home, bundle: Bundle) -> Selection:
    """Return the days that the version was judged on, pinned as they were."""
    data, spec = bundle.json("data.json"), bundle.spec
    days = tuple(date.fromisoformat(day) for day in data["holdout"]["days"])

    def pin(name: str) -> Pin:
        table = data["tables"][name]
        digests = {day: table["partitions"][day.isoformat()] for day in days}
        return Pin(load_dataset(home.lab, name), table["table_version"], digests)

    joined = tuple(
        InputRead(name, date.fromisoformat(day), facts["digest"], facts["table_version"])
        for name, read in data.get("joined", {}).items()
        for day, facts in read.items()
    )
    plans = read_plans(bundle.json("contract.json"))
    return Selection(pin(spec.input), pin(spec.actuals), (), days, plans, joined)
