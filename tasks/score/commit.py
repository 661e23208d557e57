"""Committing a partition of predictions once: as long as its run is still wanted."""

from collections.abc import Callable, Sequence
from datetime import date

from pilotline.registry import Registry
from pilotline.registry.form import VersionUnfitError, reach
from pilotline.registry.record import model_of, standing_of
from pilotline.registry.runs import Run, holds_claim, versions_of
from pilotline.tasks import lake
from pilotline.tasks.errors import SupersededError
from pilotline.tasks.home import Home
from pilotline.tasks.lake import Mark, Place, Table, commit_once, find_fence
from pilotline.tasks.score.job import Job


def commit_run(
    registry: Registry,
    home: Home,
    job: Job,
    run: Run,
    write: Callable[[Table, tuple[str, int]], int],
) -> int:
    """Return the version of the table in which ``write`` put the run's rows, once.

    Args:
        registry: the registry.
        home: the home.
        job: what is scored.
        run: the claim.
        write: commits on the table it is given with the transaction it is given; called again
            where another partition of the table was committed meanwhile.

    Raises:
        SupersededError, VersionUnfitError: the run is not wanted any more.
        LakeError: the table cannot be made, or the commit failed.
    """
    mark = mark_of(run)

    def choose(table: Table) -> list[Mark]:
        refuse_superseded(registry, table, run)
        return [mark]

    def commit(table: Table, marks: Sequence[Mark]) -> int:
        version = write(table, mark.transaction)
        reach("score: committed")
        return version

    landed = commit_once(place_of(home, job), choose, commit)
    assert landed is not None, "a run that is not wanted is refused"
    return landed


def place_of(home: Home, job: Job) -> Place:
    """Return the table of the predictions of the job's model."""
    path = lake.predictions_path(home.lake, job.bundle.spec.name)
    return Place(path, job.schema, ("variant", job.date_column))


def mark_of(run: Run) -> Mark:
    """Return what the table of predictions keeps of the run's commit."""
    return Mark(transaction_name(run.variant, run.date), run.epoch, run.id)


def transaction_name(variant: str, day: date) -> str:
    """Return the name under which Delta keeps the epoch of a partition."""
    return f"{variant}/{day.isoformat()}"


def refuse_superseded(registry: Registry, table: Table, run: Run) -> None:
    """Do nothing if ``run`` may commit on ``table`` as this handle sees it.

    What is committed then must be committed on this very handle.

    Raises:
        SupersededError, VersionUnfitError: the run is not wanted any more.
    """
    committed = find_fence(table, mark_of(run))
    if committed is not None:
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
