"""A scoring job: which version scores, into which variant, and how its predictions are keyed."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from registry import Registry
from registry.audit import check_model
from registry.resolution import champion
from registry.versions import ModelVersion, model_of
from tasks.bundle import Bundle, load_bundle
from tasks.datasets import Column, arrow_schema

RUN_COLUMNS = {"model_version": "string", "run_id": "string", "variant": "string"}


@dataclass(frozen=True)
class Job:
    """Which version scores what, and how the table of predictions looks."""

    bundle: Bundle
    variant: str
    trigger: str
    key: Mapping[str, Column]  # key columns, with the date among them
    date_column: str
    reason: str = ""  # why it may replace what another version than the champion's made

    @property
    def schema(self) -> pa.Schema:
        """Columns of the predictions table."""
        outputs = {name: Column(kind) for name, kind in self.bundle.spec.predictions.items()}
        own = {name: Column(kind) for name, kind in RUN_COLUMNS.items()}
        return arrow_schema({**self.key, **outputs, **own})

    @property
    def read_schema(self) -> pa.Schema:
        """Columns read from the input: keys, date and features, each once."""
        contract = self.bundle.json("contract.json")["inputs"]
        features = {name: Column(**facts) for name, facts in contract.items()}
        return arrow_schema({**self.key, **features})


def plan_job(bundle: Bundle, variant: str, trigger: str, reason: str = "") -> Job:
    """Return the job of scoring with ``bundle``, its predictions keyed as its contract says.

    Nothing is read from the lab: what is there by now need not be what the version was made from.
    """
    contract = bundle.json("contract.json")
    names = dict.fromkeys([contract["date"], *contract["key"]])
    key = {name: Column(contract["key_types"][name]) for name in names}
    return Job(bundle, variant, trigger, key, contract["date"], reason)


def check_record(registry: Registry, version: ModelVersion) -> None:
    """Do nothing if the model's record holds together: else nothing of it can be trusted to run.

    Raises:
        AuditError: the first thing that is wrong.
    """
    with registry.read() as session:
        check_model(session, version.model_id, model_of(session, version).name)


def load_champion(registry: Registry, name: str) -> Bundle:
    """Return the champion of ``name``, with the checks production needs.

    Raises:
        UnknownModelError, NoChampionError, VersionUnfitError: none may run.
        AuditError: the model's record contradicts itself, so nothing of it can be trusted.
    """
    with registry.read() as session:
        version = champion(session, name)
        check_model(session, version.model_id, name)
    return load_bundle(registry, version)
