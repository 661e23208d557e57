"""Training a version: fit in a transient environment, judge on held-out days, register whole."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.consumers import NewConsumer, add_consumer
from pilotline.registry.form import digest_bytes, digest_json
from pilotline.registry.record import (
    Judged,
    ModelVersion,
    Registration,
    Release,
    find_trained,
    get_model,
    register,
)
from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import (
    ModelFolder,
    ModelSpec,
    load_json,
)
from pilotline.tasks.sandbox import (
    Room,
    Tier,
    Wheelhouse,
    built_environment,
    collect_artifact,
    interpreter,
    machine,
    predict_rows,
    running_notebook,
    training_child,
)
from pilotline.tasks.stats import check_metrics, measure, measured_names, pair_outcomes
from pilotline.tasks.train.challenge import judge_champion, rows_for_champion
from pilotline.tasks.train.contents import Request, version_contents
from pilotline.tasks.train.data import Selection, TrainingRows, load_rows, select_days


@dataclass(frozen=True)
class Trained:
    """A registered version, and whether this call made it."""

    number: str
    digest: str
    new: bool
    reason: str
    metrics: dict[str, float]
    checks: list[dict[str, Any]]
    champion: dict[str, Any] | None  # its number and metrics on the same held-out rows
    train_days: tuple[date, date, int]
    holdout_days: tuple[date, date, int]


def train_version(
    registry: Registry, home: Home, tier: Tier, request: Request, say: Callable[[str], None]
) -> Trained:
    """Train, judge and register one version; the same inputs again give the version there is.

    Raises:
        NothingToDoError: too few days are ingested.
        EnvironmentBuildError, ChildError: the environment or the model's code failed.
        LakeError: the data is damaged.
    """
    spec = request.folder.spec
    selection = select_days(registry, home, spec, request.until)
    _tell_readers(registry, spec)
    key = _training_key(request.folder, selection)
    known = _find_known(registry, spec.name, key)
    lock = request.folder.files["requirements.lock"]
    wheelhouse = Wheelhouse(registry, home.scratch)
    if known is not None:
        say(f"{spec.name} {known.number} was trained from exactly this before")
        with _keeping(wheelhouse, spec, lock, say):
            return _describe(registry, known, new=False)
    rows = load_rows(registry, home, spec, selection)
    say(f"training on {rows.train.num_rows:,} rows of {len(selection.train)} days")
    learned = rows.train.select([*spec.features, spec.target])
    with (
        _keeping(wheelhouse, spec, lock, say),
        built_environment(
            home.scratch, spec.name, lock, walled=tier.walled, wheelhouse=wheelhouse
        ) as environment,
    ):
        room = Room(home, environment, tier)
        with training_child(room, request.folder) as child:
            child.train(learned)
        artifact = collect_artifact(environment, spec.name)
        with running_notebook(room, request.folder, artifact, learned) as notebook:
            predicted = predict_rows(room, request.folder, artifact, rows.holdout)
            page = notebook()
    say(f"judging on {rows.holdout.num_rows:,} rows of {len(selection.holdout)} held-out days")
    seen = rows.holdout
    if request.champion is not None:
        seen = rows_for_champion(registry, home, request.champion, spec, selection, seen)
    evaluation = _evaluate(wheelhouse, home, tier, request, rows, seen, predicted)
    contents = version_contents(request, selection, rows, artifact, predicted, evaluation, page)
    version, new = _register(registry, request, selection, key, contents, evaluation)
    return _describe(registry, version, new)


def _tell_readers(registry: Registry, spec: ModelSpec) -> None:
    """Register the model as a consumer of each one whose predictions it learns from.

    Before it is trained: one too many is told in vain, one too few reads what was taken back.
    """
    for join in spec.joins:
        if join.model:
            with registry.write() as session:
                new = NewConsumer(spec.name, join.contact, join.needs)
                add_consumer(session, join.model, new)


@contextmanager
def _keeping(
    wheelhouse: Wheelhouse, spec: ModelSpec, lock: bytes, say: Callable[[str], None]
) -> Iterator[None]:
    """Keep the wheels of ``lock`` beside what is done in the ``with`` statement.

    A version is no worse for it if they cannot be had today: the next training tries again.
    """
    if not spec.keep_wheels:
        yield
        return
    with ThreadPoolExecutor(1) as beside:
        keeping = beside.submit(wheelhouse.keep, lock, spec.name, say)
        yield
        try:
            keeping.result()
        except EnvironmentBuildError as err:
            say(f"the wheels of its lock are not kept: {err}")


def _training_key(folder: ModelFolder, selection: Selection) -> str:
    return digest_json(
        {
            "files": {path: digest_bytes(data) for path, data in folder.files.items()},
            "interpreter": interpreter(),
            "platform": machine(),
            "learned": [
                [item.dataset, item.date.isoformat(), item.use, item.partition_digest]
                for item in selection.learned()
            ],
        }
    )


def _find_known(registry: Registry, name: str, key: str) -> ModelVersion | None:
    with registry.read() as session:
        try:
            model = get_model(session, name)
        except LookupError:
            return None
        return find_trained(session, model.id, key)


def _evaluate(
    wheelhouse: Wheelhouse,
    home: Home,
    tier: Tier,
    request: Request,
    rows: TrainingRows,
    seen: pa.Table,
    predicted: pa.Table,
) -> dict[str, Any]:
    spec = request.folder.spec
    names, happened = measured_names(spec), rows.holdout[spec.target]
    outcomes = pair_outcomes(spec, happened, predicted)
    own = measure(names, outcomes)
    against: dict[str, Any] | None = None
    if request.champion is not None:
        champion = request.champion
        against = judge_champion(wheelhouse, home, tier, champion, spec, happened, seen)
    checks = check_metrics(spec.metrics, own, against["metrics"] if against else None)
    return {
        "metrics": own,
        "checks": [asdict(check) for check in checks],
        "passed": all(check.passed for check in checks),
        "champion": against,
        "rows": rows.holdout.num_rows,
        "base_rate": float(outcomes.happened.mean()) if spec.kind != "multiclass" else None,
    }


def _register(
    registry: Registry,
    request: Request,
    selection: Selection,
    key: str,
    contents: Mapping[str, tuple[str, bytes]],
    evaluation: Mapping[str, Any],
) -> tuple[ModelVersion, bool]:
    spec, parent = request.folder.spec, request.parent
    before = None
    if parent is not None:
        before = (parent.version, Release(parent.manifest, parent.json("contract.json")))
    return register(
        registry,
        Registration(
            facts=spec.facts,
            author=spec.author,
            contents=contents,
            contract=json.loads(contents["contract.json"][1]),
            interpreter=interpreter(),
            platform=machine(),
            training_key=key,
            learned=selection.learned(),
            judged=Judged(
                evaluation["metrics"],
                selection.holdout[0],
                selection.holdout[-1],
                evaluation["rows"],
            ),
            notes=contents["notes.md"][1].decode(),
            parent=before,
        ),
    )


def _describe(registry: Registry, version: ModelVersion, new: bool) -> Trained:
    evaluation = load_json(registry, version, "evaluation.json")
    data = load_json(registry, version, "data.json")
    spans = []
    for use in ("train", "holdout"):
        days = [date.fromisoformat(day) for day in data[use]["days"]]
        spans.append((days[0], days[-1], len(days)))
    return Trained(
        number=version.number,
        digest=version.digest,
        new=new,
        reason=version.reason,
        metrics=evaluation["metrics"],
        checks=evaluation["checks"],
        champion=evaluation["champion"],
        train_days=spans[0],
        holdout_days=spans[1],
    )
