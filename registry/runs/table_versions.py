"""The versions of a Delta table that something on record refers to, so that their files stay."""

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from pilotline.registry.record import RegisteredModel, TrainingPartition
from pilotline.registry.runs.runs import Run, RunInput, RunOutcome


def dataset_table_versions(session: Session, dataset: str) -> set[int]:
    """Return the versions of a dataset's table that were learned from or scored; reads only."""
    referred = union(
        select(TrainingPartition.table_version).where(TrainingPartition.dataset == dataset),
        select(Run.table_version).where(Run.dataset == dataset),
        select(RunInput.table_version).where(RunInput.dataset == dataset),
    )
    return set(session.scalars(referred))


def predictions_table_versions(session: Session, model: str) -> set[int]:
    """Return the versions of a predictions table in which a run ended, or that one read.

    Reads only.
    """
    query = (
        select(RunOutcome.table_version)
        .join(Run, Run.id == RunOutcome.run_id)
        .join(RegisteredModel, RegisteredModel.id == Run.model_id)
        .where(RegisteredModel.name == model)
    )
    # Another model may have read them as a dataset of its own.
    read = select(RunInput.table_version).where(RunInput.dataset == f"predictions/{model}")
    versions: set[int | None] = {*session.scalars(query), *session.scalars(read)}
    return {version for version in versions if version is not None}
