"""Committing a partition of predictions once: fenced by its epoch, settled by looking it up."""

from collections.abc import Callable
from datetime import date

from registry import Registry
from registry.errors import VersionUnfitError
from registry.failpoints import reach
from registry.runs import Run, holds_claim, versions_of
from registry.versions import model_of, standing_of
from tasks import lake
from tasks.errors import LakeError, SupersededError
from tasks.home import Home
from tasks.job import Job
from tasks.lake_handle import Table, TableRefusedError

COMMIT_TRIES = 3  # when another partition of the same table was committed meanwhile


def commit_once(
    registry: Registry,
    home: Home,
    job: Job,
    run: Run,
    commit: Callable[[Table, tuple[str, int]], int],
) -> int:
    """Return the version of the table in which ``commit`` put the run's rows, once.

    Args:
        registry: the registry.
        home: the home.
        job: what is scored.
        run: the claim.
        commit: commits on the table it is given with the transaction it is given; called again
            where another partition of the table was committed meanwhile.

    Raises:
        SupersededError, VersionUnfitError: the run is not wanted any more.
        LakeError: the table cannot be made, or the commit failed.
    """
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    identity = transaction_name(job.variant, run.date)
    for attempt in range(1, COMMIT_TRIES + 1):
        table = lake.ensure_table(path, job.schema, ["variant", job.date_column])
        refuse_superseded(registry, table, run)
        try:
            version = commit(table, (identity, run.epoch))
            reach("score: committed")
            return version
        except TableRefusedError as err:
            landed = find_commit(lake.open_table(path), identity, run)
            if landed is not None:
                return landed
            if attempt == COMMIT_TRIES:
                raise LakeError(
                    job.bundle.spec.name,
                    f"the commit failed ({err.problem})",
                    "Run the command again.",
                ) from err
    raise AssertionError("unreachable: the loop returns or raises")


def transaction_name(variant: str, day: date) -> str:
    """Return the name under which Delta keeps the epoch of a partition."""
    return f"{variant}/{day.isoformat()}"


def find_commit(table: Table, identity: str, run: Run) -> int | None:
    """Return the version in which ``run``'s rows were committed, None where they never were."""
    if table.transaction_version(identity) != run.epoch:
        return None
    for entry in table.history():
        if run.id in (entry.get("runs") or entry.get("run") or "").split():
            return int(entry["version"])
    return None


def refuse_superseded(registry: Registry, table: Table, run: Run) -> None:
    """Do nothing if ``run`` may commit on ``table`` as this handle sees it.

    Delta does not fence: a refreshed handle may commit an older epoch over a newer one. So look
    first, then commit on this very handle, which fails if anybody committed since.

    Raises:
        SupersededError, VersionUnfitError: the run is not wanted any more.
    """
    committed = table.transaction_version(transaction_name(run.variant, run.date))
    if committed is not None and committed >= run.epoch:
        raise SupersededError(run.id, f"epoch {committed} is in the table, this is {run.epoch}")
    refuse_late(registry, run)


def refuse_late(registry: Registry, run: Run) -> None:
    """Do nothing if ``run`` is still wanted: before its rows are made, and before they are shown.

    Raises:
        SupersededError: another one claimed the partition.
        VersionUnfitError: a version was revoked.
    """
    with registry.read() as session:
        if not holds_claim(session, run):
            raise SupersededError(run.id, "a later run claimed the partition")
        for version in versions_of(session, run):
            if standing_of(session, version) == "revoked":
                name = model_of(session, version).name
                raise VersionUnfitError(
                    name, version.number, "was revoked meanwhile", "Score with another one."
                )
