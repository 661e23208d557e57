"""A scoring job: which version scores, into which variant, and how its predictions are keyed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.audit import check_model
from pilotline.registry.form import VersionUnfitError
from pilotline.registry.gates import challenger_of, split_of
from pilotline.registry.record import ModelVersion, model_of
from pilotline.registry.runs import PRODUCTION, Run, versions_of
from pilotline.tasks.features import JoinPlan, read_plans
from pilotline.tasks.lab import Bundle, Column, arrow_schema, load_bundle, load_champion
from pilotline.tasks.score.shards.buckets import BUCKETS, challengers_buckets

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
    challenger: Bundle | None = None  # which scores the share of the keys that a split gives it
    share: Decimal | None = None

    @property
    def bundles(self) -> list[Bundle]:
        """Who scores: one version, or of a split the champion and then the challenger."""
        return [self.bundle, self.challenger] if self.challenger else [self.bundle]

    @property
    def schema(self) -> pa.Schema:
        """Columns of the predictions table."""
        outputs = {name: Column(kind) for name, kind in self.bundle.spec.predictions.items()}
        own = {name: Column(kind) for name, kind in RUN_COLUMNS.items()}
        return arrow_schema({**self.key, **outputs, **own})

    @property
    def joins(self) -> tuple[JoinPlan, ...]:
        """How further inputs are joined, for all who score."""
        found: dict[str, JoinPlan] = {}
        for bundle in self.bundles:
            for plan in read_plans(bundle.json("contract.json")):
                known = found.get(plan.input, plan)
                columns = {**known.columns, **plan.columns}
                found[plan.input] = replace(plan, columns=columns)
        return tuple(found.values())

    @property
    def input_schema(self) -> pa.Schema:
        """Columns read from the main dataset: keys, date, features, and what others join by."""
        on = {name: column for plan in self.joins for name, column in plan.on.items()}
        added = {name for plan in self.joins for name in plan.features}
        own = {name: column for name, column in self._features().items() if name not in added}
        return arrow_schema({**self.key, **on, **own, **self.key})  # keys come first, and not null

    @property
    def read_schema(self) -> pa.Schema:
        """Columns that are scored: keys, date and features, each once."""
        return arrow_schema({**self.key, **self._features()})

    def _features(self) -> dict[str, Column]:
        features: dict[str, Column] = {}
        for bundle in self.bundles:
            inputs = bundle.json("contract.json")["inputs"]
            features |= {name: Column(**facts) for name, facts in inputs.items()}
        return features

    def arms(self) -> Iterator[tuple[Bundle, tuple[int, int]]]:
        """Yield who scores the rows of which buckets, from one up to another."""
        mine = 0
        if self.challenger is not None and self.share is not None:
            mine = challengers_buckets(self.share)
            yield self.challenger, (0, mine)
        yield self.bundle, (mine, BUCKETS)

    def is_by(self, run: Run) -> bool:
        """Tell whether ``run`` scored with the same versions in the same shares."""
        second = self.challenger.version.id if self.challenger else None
        mine = (self.bundle.version.id, second, str(self.share) if self.share else None)
        return mine == (run.version_id, run.challenger_id, run.share)


def plan_job(bundle: Bundle, variant: str, trigger: str, reason: str = "") -> Job:
    """Return the job of scoring with ``bundle``, its predictions keyed as its contract says.

    Nothing is read from the lab: what is there by now need not be what the version was made from.
    """
    contract = bundle.json("contract.json")
    names = dict.fromkeys([contract["date"], *contract["key"]])
    key = {name: Column(contract["key_types"][name]) for name in names}
    return Job(bundle, variant, trigger, key, contract["date"], reason)


def plan_split(bundle: Bundle, challenger: Bundle, share: Decimal, trigger: str) -> Job:
    """Return the job of scoring production with ``bundle``, ``share`` of it with ``challenger``.

    Raises:
        VersionUnfitError: the two do not read and write the same tables.
    """
    job = plan_job(bundle, PRODUCTION, trigger)
    other = plan_job(challenger, PRODUCTION, trigger)
    if (job.schema, bundle.spec.input) != (other.schema, challenger.spec.input):
        raise VersionUnfitError(
            bundle.spec.name,
            challenger.version.number,
            f"has another key, input or predictions than {bundle.version.number}",
            "It cannot share its rows: score it beside production with --shadow.",
        )
    _refuse_other_joins(job, other)
    return replace(job, challenger=challenger, share=share)


def _refuse_other_joins(job: Job, other: Job) -> None:
    """Look that no feature of the two has one name and two meanings.

    Raises:
        VersionUnfitError: one has.
    """
    rules = {plan.input: replace(plan, columns={}) for plan in job.joins}
    for plan in other.joins:
        if rules.get(plan.input, replace(plan, columns={})) != replace(plan, columns={}):
            raise VersionUnfitError(
                job.bundle.spec.name,
                other.bundle.version.number,
                f"joins {plan.input!r} otherwise than {job.bundle.version.number}",
                "It cannot share its rows: score it beside production with --shadow.",
            )


def plan_production(registry: Registry, name: str, trigger: str) -> Job:
    """Return the job of scoring production now: by the champion, or as a split says.

    Raises:
        UnknownModelError, NoChampionError, VersionUnfitError: none may run.
        AuditError: the model's record contradicts itself, so nothing of it can be trusted.
    """
    bundle = load_champion(registry, name)
    with registry.read() as session:
        split = split_of(session, name)
        version = challenger_of(session, name, split) if split else None
    if split is None or version is None:
        return plan_job(bundle, PRODUCTION, trigger)
    return plan_split(bundle, load_bundle(registry, version), split.share, trigger)


def plan_again(registry: Registry, run: Run) -> Job:
    """Return the job of ``run`` as it was claimed, out of the record.

    Raises:
        MissingBlobError, DigestMismatchError: a version is damaged.
    """
    with registry.read() as session:
        versions = versions_of(session, run)
    bundles = [load_bundle(registry, version) for version in versions]
    job = plan_job(bundles[0], run.variant, run.trigger)
    if run.share is None:
        return job
    return replace(job, challenger=bundles[1], share=Decimal(run.share))


def check_record(registry: Registry, version: ModelVersion) -> None:
    """Do nothing if the model's record holds together: else nothing of it can be trusted to run.

    Raises:
        AuditError: the first thing that is wrong.
    """
    with registry.read() as session:
        check_model(session, version.model_id, model_of(session, version).name)
