"""How a version joins one further input: everything that is needed without the lab."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.form import UnknownModelError
from pilotline.registry.record import ModelVersion, get_model, list_versions
from pilotline.tasks.errors import LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import (
    Column,
    Dataset,
    Join,
    ModelSpec,
    arrow_schema,
    load_dataset,
    load_json,
    model_of,
    short_name,
)


@dataclass(frozen=True)
class JoinPlan:
    """How one input is joined."""

    input: str  # a dataset, or predictions/MODEL
    on: Mapping[str, Column]
    date_column: str  # its own, by which its days are cut
    key: tuple[str, ...]  # its own
    lag_days: int
    max_age_days: int
    columns: Mapping[str, Column]  # that become features, under its own names

    @property
    def model(self) -> str:
        """The model whose predictions they are; empty for a dataset."""
        return model_of(self.input)

    @property
    def schema(self) -> pa.Schema:
        """What is read of it."""
        return arrow_schema({**self.on, **self.columns, self.date_column: Column("date")})

    @property
    def features(self) -> dict[str, Column]:
        """What it adds: nothing may be found, so all of it may be missing."""
        return {
            f"{short_name(self.input)}.{name}": Column(column.type, nullable=True)
            for name, column in self.columns.items()
        }

    def window(self, day: date) -> tuple[date, date]:
        """Return the first and the last day that a row of ``day`` may read."""
        end = day - timedelta(days=self.lag_days)
        return end - timedelta(days=self.max_age_days), end

    def describe(self) -> dict[str, Any]:
        """Return what the contract says of it, beside its features."""
        return {
            "on": {name: column.type for name, column in self.on.items()},
            "date": self.date_column,
            "key": list(self.key),
            "lag_days": self.lag_days,
            "max_age_days": self.max_age_days,
        }


def read_plans(contract: Mapping[str, Any]) -> tuple[JoinPlan, ...]:
    """Return how a version joins, by its own contract."""
    return tuple(
        JoinPlan(
            input=name,
            on={column: Column(kind, nullable=True) for column, kind in facts["on"].items()},
            date_column=facts["date"],
            key=tuple(facts["key"]),
            lag_days=facts["lag_days"],
            max_age_days=facts["max_age_days"],
            columns={
                feature.removeprefix(f"{short_name(name)}."): Column(column["type"], nullable=True)
                for feature, column in contract["inputs"].items()
                if feature.startswith(f"{short_name(name)}.")
            },
        )
        for name, facts in contract.get("joins", {}).items()
    )


def plans_of(registry: Registry, version: ModelVersion) -> tuple[JoinPlan, ...]:
    """Return how ``version`` joins, by its own contract."""
    # Features of further inputs have a dot: a version without them needs no blob to be read.
    if not any("." in name for name in json.loads(version.features)):
        return ()
    return read_plans(load_json(registry, version, "contract.json"))


def plan_joins(registry: Registry, home: Home, spec: ModelSpec) -> tuple[JoinPlan, ...]:
    """Return how a model is to join, by the lab as it is now.

    Raises:
        UnknownFolderError: there is no such dataset.
        LabError: two datasets do not fit together, or there are no such predictions.
    """
    if not spec.joins:
        return ()
    main = load_dataset(home.lab, spec.input)
    where = f"lab/models/{spec.name}/model.toml [data]"
    return tuple(_plan(registry, home, where, main, join) for join in spec.joins)


def _plan(registry: Registry, home: Home, where: str, main: Dataset, join: Join) -> JoinPlan:
    columns, day, key = _find_columns(registry, home, where, join)
    for name in join.columns:
        feature = f"{short_name(join.input)}.{name}"
        if name not in columns:
            known = f"Known: {', '.join(columns)}."
            raise LabError(where, f"{feature!r} is no column of {join.input!r}", known)
        if feature in main.columns:
            raise LabError(
                where, f"{main.name!r} has a column {feature!r} of its own", "Rename that one."
            )
    for name in join.on:
        kinds = [found[name].type if name in found else "none" for found in (main.columns, columns)]
        if kinds[0] != kinds[1] or kinds[0] in ("none", "float64") or name == day:
            raise LabError(
                f"{where} [join] [{join.input}]",
                f"on {name!r}: {main.name!r} has {kinds[0]}, {join.input!r} has {kinds[1]}",
                "Join by columns of one type in both, no float64 and not the date, which the days "
                "decide.",
            )
    return JoinPlan(
        input=join.input,
        on={name: Column(columns[name].type, nullable=True) for name in join.on},
        date_column=day,
        key=key,
        lag_days=join.lag_days,
        max_age_days=join.max_age_days,
        columns={name: Column(columns[name].type, nullable=True) for name in join.columns},
    )


def _find_columns(
    registry: Registry, home: Home, where: str, join: Join
) -> tuple[Mapping[str, Column], str, tuple[str, ...]]:
    """Return an input's columns, its date and its key."""
    if not join.model:
        other = load_dataset(home.lab, join.input)
        return other.columns, other.date, other.key
    with registry.read() as session:
        try:
            newest = list_versions(session, get_model(session, join.model).id)[-1]
        except (UnknownModelError, IndexError) as err:
            raise LabError(
                where,
                f"there is no model {join.model!r} whose predictions could be read",
                "Train it and score with it first.",
            ) from err
    contract = load_json(registry, newest, "contract.json")
    outputs = {name: Column(facts["type"]) for name, facts in contract["outputs"].items()}
    names = dict.fromkeys([contract["date"], *contract["key"]])
    key = {name: Column(contract["key_types"][name]) for name in names}
    return {**key, **outputs}, contract["date"], tuple(contract["key"])
