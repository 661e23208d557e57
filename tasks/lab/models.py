"""Model folders of the lab: what a model reads, how it is judged, watched and retrained."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilotline.registry.form import check_name
from pilotline.registry.gates import check_tables
from pilotline.registry.record import ModelFacts
from pilotline.tasks.errors import LabError, UnknownFolderError
from pilotline.tasks.lab.joins import Join, read_joins
from pilotline.tasks.lab.notebooks import NOTEBOOK, read_notebook
from pilotline.tasks.lab.programs import read_command, read_program
from pilotline.tasks.lab.schedules import Schedule, read_schedule
from pilotline.tasks.lab.scripts import REMAKE, check_lock, check_script
from pilotline.tasks.lab.toml_table import Table, read_toml

# What a model folder must hold, and what each file is for in the manifest.
FILES: Mapping[str, str] = {
    "model.toml": "config",
    "model.py": "script",
    "requirements.lock": "lock",
    "README.md": "card",
}
# What it may hold besides.
OPTIONAL_FILES: Mapping[str, str] = {NOTEBOOK: "notebook"}
# What is predicted -> the metrics that judge it.
METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "brier", "brier_skill", "log_loss", "accuracy"),
    "multiclass": ("roc_auc", "log_loss", "accuracy", "balanced_accuracy", "macro_f1"),
    "regression": ("mae", "rmse", "r2"),
}
DISTANCES = ("jensen_shannon", "psi", "wasserstein", "missing", "unseen")
OUTPUT_TYPES = ("string", "int64", "float64", "bool")


@dataclass(frozen=True)
class MetricRule:
    """How good a metric must be."""

    min: float | None  # at least this on the held-out days
    tolerance: float | None  # at most this much worse than the champion


@dataclass(frozen=True)
class Staleness:
    """How old what a model lives on may be, counted in data dates back from the day asked for."""

    no_score_days: int = 2  # since the last day whose predictions readers see
    no_actuals_days: int = 14  # since the last scored day with a known outcome
    data_late_days: int = 2  # since the last ingested day of the input
    version_old_days: int = 365  # since the last day the champion learned from


@dataclass(frozen=True)
class Drift:
    """When the world has moved away from what the model learned."""

    window_days: int
    persistence: int  # windows in a row
    watch: Mapping[str, Mapping[str, float]]  # column -> distance -> threshold
    fires_when: str  # any or all of the watched distances


@dataclass(frozen=True)
class Retraining:
    """How often a model may be retrained, counted in data dates."""

    cooldown_days: int
    max_per_quarter: int
    train_partitions: int


@dataclass(frozen=True)
class Budget:
    """What a version may cost in its real environment."""

    rows_per_s: float
    memory_mib: int
    deadline_s: float


@dataclass(frozen=True)
class ModelSpec:
    """What ``model.toml`` says."""

    facts: ModelFacts
    author: str
    input: str  # the dataset that defines rows, key and date
    features: tuple[str, ...]
    actuals: str  # the dataset that brings the truth later
    target: str
    predictions: Mapping[str, str]  # column -> type
    params: Mapping[str, Any]
    holdout_partitions: int
    kind: str  # of prediction: binary, multiclass or regression
    classes: Mapping[str, str]  # of a multiclass target: its values -> columns of their chances
    metrics: Mapping[str, MetricRule]
    budget: Budget
    tolerances: Mapping[str, float]  # column -> how far a golden prediction may lie off
    drift: Drift
    retraining: Retraining
    staleness: Staleness
    keep_wheels: bool  # so that the environment can be built when the index has changed
    command: tuple[str, ...]  # of its own scoring program; empty where model.py predicts
    schedule: Schedule | None  # when it scores by itself; without one only when asked
    joins: tuple[Join, ...] = ()  # what else it reads

    @property
    def name(self) -> str:
        """The model's name, which is its folder's."""
        return self.facts.name

    @property
    def score_column(self) -> str:
        """The prediction that metrics judge: the first declared one."""
        return next(iter(self.predictions))


@dataclass(frozen=True)
class ModelFolder:
    """A checked model folder: what it says, and its files' bytes."""

    spec: ModelSpec
    files: Mapping[str, bytes]  # path -> bytes


def list_model_folders(lab: Path) -> list[str]:
    """Return the names of the lab's model folders."""
    return sorted(path.parent.name for path in lab.glob("models/*/model.toml"))


def load_model_folder(lab: Path, name: str) -> ModelFolder:
    """Return ``lab/models/<name>/``, checked without running any of it.

    Raises:
        NameRefusedError: the name is outside the allowed form.
        UnknownFolderError: there is no such folder.
        LabError: a file is missing, stale or wrong.
    """
    check_name(name)
    folder = lab / "models" / name
    if not folder.is_dir():
        raise UnknownFolderError("model", name, list_model_folders(lab))
    return read_model_folder(folder, name, f"lab/models/{name}")


def read_model_folder(folder: Path, name: str, where: str) -> ModelFolder:
    """Return a model folder that stands anywhere, checked without running any of it.

    Raises:
        LabError: a file is missing, stale or wrong.
    """
    files = {}
    for path in FILES:
        try:
            files[path] = (folder / path).read_bytes()
        except FileNotFoundError as err:
            raise LabError(f"{where}/{path}", "the file is missing", _REMEDIES[path]) from err
    spec = _read_spec(folder / "model.toml", name, f"{where}/model.toml")
    program = bool(spec.command)
    header = check_script(files["model.py"], f"{where}/model.py", program=program)
    check_lock(files["requirements.lock"], header, f"{where}/requirements.lock")
    if (folder / NOTEBOOK).exists():
        files[NOTEBOOK] = read_notebook(folder / NOTEBOOK, f"{where}/{NOTEBOOK}")
    return ModelFolder(spec, files | read_program(folder, spec.command, where))


_REMEDIES = {
    "model.toml": "It says what the model reads and how it is judged; "
    "lab/models/flight-delay is an example.",
    "model.py": "It holds train and predict; lab/models/flight-delay is an example.",
    "requirements.lock": REMAKE,
    "README.md": "Write the model card: what it is for, what it learned from, its limits.",
}


def read_wishes(config: bytes) -> dict[str, Any]:
    """Return what a ``model.toml`` asks for beyond the factory's policy.

    Args:
        config: its bytes, which were read as TOML before.
    """
    tables = tomllib.loads(config.decode())
    return {name: tables[name] for name in ("approvals", "isolation") if name in tables}


def _read_spec(path: Path, name: str, where: str) -> ModelSpec:
    top = read_toml(path, where).only(
        "model",
        "data",
        "predictions",
        "params",
        "evaluation",
        "budget",
        "verification",
        "schedule",
        "drift",
        "retraining",
        "staleness",
        "environment",
        "runner",
        "approvals",
        "isolation",
    )
    check_tables(where, read_wishes(path.read_bytes()))
    about = top.table("model").only("name", "owner", "author", "description", "tags")
    if about.get("name", str) != name:
        raise LabError(about.where, f"name is {about.get('name', str)!r}", f"Expected {name!r}.")
    data = top.table("data").only("inputs", "features", "actuals", "target", "join")
    features = data.names("features")
    joins = read_joins(data, features, name, about.get("owner", str))
    if not features or data.get("target", str) in features:
        raise LabError(
            data.where, "features are empty or hold the target", "Name what is known beforehand."
        )
    evaluation = top.table("evaluation").only("holdout_partitions", "kind", "classes", "metrics")
    kind = _kind(evaluation)
    budget = top.table("budget").only("rows_per_s", "memory_mib", "deadline_s")
    predictions = _predictions(top.table("predictions"))
    return ModelSpec(
        facts=ModelFacts(
            name,
            about.get("owner", str),
            about.get("description", str),
            about.names("tags", []),
        ),
        author=about.get("author", str),
        input=data.names("inputs")[0],
        features=features,
        actuals=data.get("actuals", str),
        target=data.get("target", str),
        predictions=predictions,
        params=_params(top.table("params", needed=False)),
        holdout_partitions=_at_least_one(evaluation, "holdout_partitions"),
        kind=kind,
        classes=_classes(evaluation, kind, predictions),
        metrics=_metrics(evaluation.table("metrics"), kind),
        budget=Budget(
            budget.get("rows_per_s", float),
            _at_least_one(budget, "memory_mib"),
            budget.get("deadline_s", float, 600.0),
        ),
        tolerances=_tolerances(top.table("verification", needed=False), predictions),
        drift=_drift(top.table("drift"), (*features, *predictions)),
        retraining=_retraining(top.table("retraining")),
        staleness=_staleness(top.table("staleness", needed=False)),
        keep_wheels=top.table("environment", needed=False)
        .only("keep_wheels")
        .get("keep_wheels", bool, True),
        command=read_command(top.table("runner")) if "runner" in top.values else (),
        schedule=read_schedule(top.table("schedule")) if "schedule" in top.values else None,
        joins=joins,
    )


def _predictions(table: Table) -> dict[str, str]:
    for name, kind in table.values.items():
        if kind not in OUTPUT_TYPES:
            raise LabError(
                table.where, f"{name!r} is {kind!r}", f"Types: {', '.join(OUTPUT_TYPES)}."
            )
    if not table.values:
        raise LabError(table.where, "no column is declared", 'Write probability = "float64".')
    if next(iter(table.values.values())) != "float64":
        raise LabError(
            table.where, "the first column is no float64", "The metrics judge the first column."
        )
    return dict(table.values)


def _tolerances(table: Table, predictions: Mapping[str, str]) -> dict[str, float]:
    tolerances = table.only("tolerances").table("tolerances", needed=False)
    floats = [name for name, kind in predictions.items() if kind == "float64"]
    for name in tolerances.values:
        value = tolerances.get(name, float)
        if name not in floats:
            known = f"Other columns are compared exactly; float64: {', '.join(floats)}."
            raise LabError(tolerances.where, f"{name!r} is no float64 prediction", known)
        if not 0 <= value < math.inf:
            raise LabError(tolerances.where, f"{name!r} is {value:g}", "Expected 0 or a bit more.")
    return {name: tolerances.get(name, float) for name in tolerances.values}


def _params(table: Table) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(table.values)))
    except TypeError as err:
        raise LabError(table.where, f"not plain values ({err})", "No dates or times here.") from err


def _kind(evaluation: Table) -> str:
    kind = evaluation.get("kind", str, "binary")
    if kind not in METRICS:
        raise LabError(evaluation.where, f"kind is {kind!r}", f"Known: {', '.join(METRICS)}.")
    return kind


def _classes(evaluation: Table, kind: str, predictions: Mapping[str, str]) -> dict[str, str]:
    table = evaluation.table("classes", needed=False)
    if (kind == "multiclass") != bool(table.values):
        raise LabError(
            evaluation.where,
            f"kind is {kind!r} and classes are {list(table.values)}",
            'For kind = "multiclass", and only there, name each value of the target and the '
            'float64 column of its chance: classes = { late = "p_late", early = "p_early" }.',
        )
    classes = {name: table.get(name, str) for name in table.values}
    wrong = [column for column in classes.values() if predictions.get(column) != "float64"]
    if wrong or len(set(classes.values())) != len(classes) or len(classes) == 1:
        raise LabError(
            table.where,
            f"the chances are in {list(classes.values())}",
            "Expected at least two float64 columns of [predictions], each once.",
        )
    return classes


def _metrics(table: Table, kind: str) -> dict[str, MetricRule]:
    rules = {}
    for name in table.values:
        rule = table.table(name).only("min", "tolerance")
        if name not in METRICS[kind]:
            known = f"Known for {kind} predictions: {', '.join(METRICS[kind])}."
            raise LabError(table.where, f"unknown metric {name!r}", known)
        rules[name] = MetricRule(
            rule.get("min", float) if "min" in rule.values else None,
            rule.get("tolerance", float) if "tolerance" in rule.values else None,
        )
    if not rules:
        raise LabError(table.where, "no metric is named", "Write roc_auc = { min = 0.6 }.")
    return rules


def _drift(table: Table, columns: tuple[str, ...]) -> Drift:
    table.only("window_days", "persistence", "watch", "fires_when")
    watched = table.table("watch")
    watch = {}
    for column in watched.values:
        if column not in columns:
            known = f"Known: {', '.join(columns)}."
            raise LabError(watched.where, f"{column!r} is no feature and no prediction", known)
        distances = watched.table(column).only(*DISTANCES)
        watch[column] = {name: distances.get(name, float) for name in distances.values}
        for name, threshold in watch[column].items():
            if not 0 < threshold < math.inf:  # at 0 everything drifts, and NaN never does
                raise LabError(
                    distances.where, f"{name!r} is {threshold:g}", "Expected more than 0."
                )
    fires_when = table.get("fires_when", str, "any")
    if fires_when not in ("any", "all"):
        raise LabError(table.where, f"fires_when is {fires_when!r}", "Expected 'any' or 'all'.")
    return Drift(
        _at_least_one(table, "window_days"), _at_least_one(table, "persistence"), watch, fires_when
    )


def _retraining(table: Table) -> Retraining:
    table.only("cooldown_days", "max_per_quarter", "train_partitions")
    return Retraining(
        table.get("cooldown_days", int),
        table.get("max_per_quarter", int),
        _at_least_one(table, "train_partitions"),
    )


def _staleness(table: Table) -> Staleness:
    limits = vars(Staleness())
    table.only(*limits)
    days = {name: table.get(name, int, default) for name, default in limits.items()}
    for name, value in days.items():
        if value < 0:
            raise LabError(table.where, f"{name} is {value}", "Expected 0 days or more.")
    return Staleness(**days)


def _at_least_one(table: Table, key: str) -> int:
    value = table.get(key, int)
    if value < 1:
        raise LabError(table.where, f"{key} is {value}", "Expected at least 1.")
    return value
