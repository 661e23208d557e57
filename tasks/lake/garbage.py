"""Garbage collection in the lake: data files of table versions that nothing refers to."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from deltalake.exceptions import DeltaError

from pilotline.registry import Registry
from pilotline.registry.runs import (
    dataset_table_versions,
    list_partitions,
    predictions_table_versions,
)
from pilotline.registry.store import Session
from pilotline.tasks.errors import LakeError
from pilotline.tasks.lake import tables as lake
from pilotline.tasks.lake.handle import Table, in_short
from pilotline.tasks.s3_folder import Folder, S3Folder


@dataclass(frozen=True)
class Vacuumed:
    """What was, or would be, removed of one table."""

    table: str  # its path within the lake
    files: list[str]  # within the table
    size_bytes: int
    kept_versions: int  # older ones that something refers to


def vacuum_lake(
    registry: Registry, root: Folder, grace: timedelta, *, only_plan: bool
) -> list[Vacuumed]:
    """Remove data files that no present row and no version in use needs; return what went.

    In use are the versions of a dataset's table that a model version learned from or a run scored,
    and those of a predictions table in which a run ended. Of a quarantine only the present is
    read. Files that a crashed writer left, and that no version knows, go too. Only what is older
    than ``grace`` goes: a writer or reader of now may be about to use the rest.

    Raises:
        LakeError: a table cannot be read or written.
    """
    done = []
    for place, path in _tables(root):
        table = lake.open_table(path)
        with registry.read() as session:
            used = _used_versions(session, place, table)
        found = _vacuum(place, path, table, used, grace, only_plan=only_plan)
        if found.files:
            done.append(found)
    return done


def _tables(root: Folder) -> Iterator[tuple[str, Folder]]:
    """Yield the tables of the lake, each with its path within it."""
    places = [f"datasets/{name}/accepted" for name in _names(root / "datasets")]
    places += [f"datasets/{name}/quarantine" for name in _names(root / "datasets")]
    places += [f"predictions/{name}" for name in _names(root / "predictions")]
    for place in places:
        path = root / place
        if lake.is_table(path):
            yield place, path


def _names(folder: Folder) -> list[str]:
    if isinstance(folder, S3Folder):
        return folder.list_folders()
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def _used_versions(session: Session, place: str, table: Table) -> set[int]:
    """Return the versions of the table at ``place`` in the lake that something refers to."""
    kind, name, *rest = place.split("/")
    if kind == "predictions":
        return predictions_table_versions(session, name)
    if rest == ["quarantine"]:
        return set()
    # A day's own file is in the newest version too, unless a process died between its commit and
    # its record: then the table shows other rows than those that count.
    lost = {
        partition.table_version
        for partition in list_partitions(session, name)
        if table.transaction_version(partition.date.isoformat()) != partition.table_version
    }
    return lost | dataset_table_versions(session, name)


def _vacuum(
    place: str,
    path: Folder,
    table: Table,
    used: set[int],
    grace: timedelta,
    *,
    only_plan: bool,
) -> Vacuumed:
    older = sorted(used - {table.version()})

    def vacuum(dry_run: bool) -> list[str]:
        return table.delta.vacuum(
            retention_hours=math.ceil(grace / timedelta(hours=1)),
            dry_run=dry_run,
            enforce_retention_duration=False,  # the tables ask for a century: see tables.py
            full=True,
            keep_versions=older or None,
        )

    try:
        # A file that is gone is named again as long as the log says that it was removed.
        sizes = _sizes(path, vacuum(dry_run=True))
        if sizes and not only_plan:  # it commits even where there is nothing to remove
            vacuum(dry_run=False)
    except (DeltaError, OSError) as err:
        raise LakeError(
            place,
            f"cannot be cleaned ({in_short(err)})",
            "Somebody else may be writing to it: run the command again.",
        ) from err
    return Vacuumed(place, sorted(sizes), sum(sizes.values()), len(older))


def _sizes(path: Folder, files: Sequence[str]) -> dict[str, int]:
    """Return the sizes in bytes of those of the table's files that are there."""
    there = path.list_files() if isinstance(path, S3Folder) else None
    found = {}
    for file in files:
        for name in (file, unquote(file)):
            size = there.get(name) if there is not None else _size(path, name)
            if size is not None:
                found[file] = size
                break
    return found


def _size(path: Folder, name: str) -> int | None:
    try:
        return Path(str(path), name).stat().st_size
    except OSError:
        return None
