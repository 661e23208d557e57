"""Committing a partition of predictions once: fenced by its epoch, settled by looking it up."""

from datetime import date

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from registry import Registry
from registry.errors import VersionUnfitError
from registry.failpoints import reach
from registry.ingests import Ingest
from registry.runs import Run, holds_claim
from registry.versions import ModelVersion, model_of, standing_of
from tasks import lake
from tasks.errors import LakeError, SupersededError
from tasks.home import Home
from tasks.job import Job
from tasks.prediction_stream import PredictionStream
from tasks.profiles import Profile
from tasks.runner import Child

COMMIT_TRIES = 3  # when another partition of the same table was committed meanwhile


def commit_partition(
    registry: Registry, home: Home, job: Job, run: Run, partition: Ingest, child: Child
) -> tuple[int, Profile]:
    """Stream the partition through the child into one commit; return its version and profile."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    predicate = f"variant = '{job.variant}' and {lake.on_day(job.date_column, run.date)}"
    identity = transaction_name(job.variant, run.date)
    for attempt in range(1, COMMIT_TRIES + 1):
        table = lake.ensure_table(path, job.schema, ["variant", job.date_column])
        _refuse_superseded(registry, table, run, identity)
        stream = PredictionStream(
            home, job, run, partition, child, lambda: _refuse_late(registry, run)
        )
        try:
            version = lake.replace_partition(
                table, stream.reader(), predicate, {"run": run.id}, (identity, run.epoch)
            )
            reach("score: committed")
            return version, stream.profile()
        except DeltaError as err:
            if stream.error is not None:
                raise stream.error from err
            landed = find_commit(lake.open_table(path), identity, run)
            if landed is not None:
                return landed, stream.profile()
            if attempt == COMMIT_TRIES:
                raise LakeError(
                    job.bundle.spec.name,
                    f"the commit failed ({str(err).splitlines()[0][:200]})",
                    "Run the command again.",
                ) from err
    raise AssertionError("unreachable: the loop returns or raises")


def transaction_name(variant: str, day: date) -> str:
    """Return the name under which Delta keeps the epoch of a partition."""
    return f"{variant}/{day.isoformat()}"


def find_commit(table: DeltaTable, identity: str, run: Run) -> int | None:
    """Return the version in which ``run``'s rows were committed, None where they never were."""
    if table.transaction_version(identity) != run.epoch:
        return None
    for entry in table.history():
        if entry.get("run") == run.id:
            return int(entry["version"])
    return None


def _refuse_superseded(registry: Registry, table: DeltaTable, run: Run, identity: str) -> None:
    # Delta does not fence: a refreshed handle may commit an older epoch over a newer one. So look
    # first, then commit on this very handle, which fails if anybody committed since.
    committed = table.transaction_version(identity)
    if committed is not None and committed >= run.epoch:
        raise SupersededError(run.id, f"epoch {committed} is in the table, this is {run.epoch}")
    _refuse_late(registry, run)


def _refuse_late(registry: Registry, run: Run) -> None:
    """Look whether ``run`` is still wanted: before its rows are made, and before they are shown."""
    with registry.read() as session:
        if not holds_claim(session, run):
            raise SupersededError(run.id, "a later run claimed the partition")
        version = session.get_one(ModelVersion, run.version_id)
        if standing_of(session, version) == "revoked":
            name = model_of(session, version).name
            raise VersionUnfitError(
                name, version.number, "was revoked meanwhile", "Score with another one."
            )
