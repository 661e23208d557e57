"""Several days of one version: scored one after the other by one child, committed together.

A commit costs more the longer a table's log is, and so does each look at the registry: a year of
small days spends most of its time there, unless it is shared.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from threading import Lock

from pilotline.registry import Registry
from pilotline.registry.form import VersionUnfitError, reach
from pilotline.registry.runs import Ingest, Run, inputs_of
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError, SupersededError
from pilotline.tasks.features import read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lake import (
    CommitUnsettledError,
    Mark,
    PartFile,
    Table,
    as_action,
    commit_once,
    remove_part,
    write_part,
)
from pilotline.tasks.logs import about, note
from pilotline.tasks.sandbox import Child
from pilotline.tasks.score.children import ScoringChild, ScoringChildren
from pilotline.tasks.score.claims import Tried
from pilotline.tasks.score.commit import mark_of, place_of, refuse_superseded
from pilotline.tasks.score.job import Job
from pilotline.tasks.score.stream import PredictionStream, check_complete, stream_input
from pilotline.tasks.stats import Profile

# What is lost at most when a process dies, and how long somebody waits who wants it to stop.
MOST_DAYS = 28
MOST_ROWS = 500_000

Claimed = tuple[Run, Ingest]


def cut_chunks(days: Sequence[date], rows: Mapping[date, int]) -> Iterator[list[date]]:
    """Yield ``days`` in chunks, in order: one day, then two, four and so on up to the most.

    The first results come soon, so that a mistake is seen after a day of it.

    Args:
        days: what is to be scored.
        rows: how many each day has.
    """
    chunk: list[date] = []
    held, wanted = 0, 1
    for day in days:
        full = len(chunk) == wanted or held + rows[day] > MOST_ROWS
        if chunk and full:
            yield chunk
            chunk, held, wanted = [], 0, min(2 * wanted, MOST_DAYS)
        chunk.append(day)
        held += rows[day]
    if chunk:
        yield chunk


def score_together(
    registry: Registry,
    home: Home,
    job: Job,
    claimed: Sequence[Claimed],
    children: ScoringChildren,
) -> list[Tried]:
    """Score claimed days into one commit; return what came of each, in order.

    Readers see all of them or none. A day that fails is left out of it and stops no other.
    """
    began, cpu_began = time.perf_counter(), time.process_time()
    scoring = _Scoring(registry, home, job)
    try:
        with about():  # what is noted of a day holds for no line after the days
            tried = children.each(scoring.try_day, claimed)
        written = [one for one in tried if one.error is None]
        landed = scoring.commit(written) if written else {}
    except BaseException:
        scoring.forget()
        raise
    found = [landed.get(one.run.id, one) for one in tried]
    wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return _share_out(found, wall_s, cpu_s)


def _share_out(tried: Sequence[Tried], wall_s: float, cpu_s: float) -> list[Tried]:
    """Add to each day its part of what was done for all of them: the commit.

    Days that were scored at once each saw the processor time of all.
    """
    shares = []
    for name, whole in {"wall_s": wall_s, "parent_cpu_s": cpu_s}.items():
        own = sum(one.used[name] for one in tried)
        rest = max(0.0, whole - own) / len(tried)
        part = min(1.0, whole / own) if own else 1.0
        shares.append((name, part, rest))
    return [
        replace(one, used=one.used | {n: round(one.used[n] * p + r, 4) for n, p, r in shares})
        for one in tried
    ]


class _Scoring:
    """The days of one commit."""

    def __init__(self, registry: Registry, home: Home, job: Job) -> None:
        self._registry, self._home, self._job = registry, home, job
        self._place = place_of(home, job)
        self._inputs: dict[int, Table] = {}  # by version: days often came in together
        self._files: dict[str, PartFile] = {}  # by run
        self._lock = Lock()  # days may be tried at once
        self._made = False  # whether there is a table
        self._asked = False  # whether a commit was tried, of which only the table knows

    def try_day(self, one: Claimed, child: ScoringChild) -> Tried:
        """Write the day's predictions to a file that no commit names yet."""
        run, partition = one
        note(date=run.date, run=run.id)
        child.begin()
        try:
            profile = self._write(run, partition, child.process())
        except Exception as err:
            used = child.measure()
            child.drop(err)
            return Tried(run, partition, used, error=err)
        return Tried(run, partition, child.measure(), profile=profile)

    def _write(self, run: Run, partition: Ingest, child: Child) -> Profile:
        job, home = self._job, self._home
        self._make_table()
        joined = None
        if job.joins:
            with self._registry.read() as session:
                reads = inputs_of(session, [run.id])
            joined = read_joined(self._registry, home, job.joins, reads, job.date_column)
        rows = stream_input(home, job, run, partition, joined, self._input(run))
        stream = PredictionStream(
            job, run, child, job.bundle, rows, lambda found: check_complete(run, partition, found)
        )
        # A name of its own, so that no second try ever writes to a file that a commit names.
        name = f"{run.id}-{secrets.token_hex(4)}"
        self._files[run.id] = write_part(
            self._place.path, name, job.schema, stream.batches(), set(self._place.partition_by)
        )
        return stream.profile()

    def _make_table(self) -> None:
        with self._lock:
            if not self._made:
                self._place.ensure()
                self._made = True

    def _input(self, run: Run) -> Table:
        with self._lock:
            if run.table_version not in self._inputs:
                path = lake.accepted_path(self._home.lake, run.dataset)
                self._inputs[run.table_version] = lake.open_table(path, run.table_version)
            return self._inputs[run.table_version]

    def commit(self, written: Sequence[Tried]) -> dict[str, Tried]:
        """Commit what was written; return what came of each day, by its run."""
        found: dict[str, Tried] = {}
        left = {one.run.id: one for one in written}

        def choose(table: Table) -> list[Mark]:
            refused = self._refuse(table, list(left.values()))
            found.update(refused)
            for run in refused:
                del left[run]
            return [mark_of(one.run) for one in left.values()]

        def write(table: Table, marks: Sequence[Mark]) -> int:
            version = self._replace(table, list(left.values()), marks)
            reach("score: committed")
            return version

        try:
            version = commit_once(self._place, choose, write)
        except CommitUnsettledError:
            raise  # whether the days failed is not known: who comes next settles them
        except LakeError as err:
            return found | {run: replace(one, error=err) for run, one in left.items()}
        return found | {run: replace(one, version=version) for run, one in left.items()}

    def _refuse(self, table: Table, written: Sequence[Tried]) -> dict[str, Tried]:
        """Return those whose run is not wanted any more, looked at on the handle that commits."""
        refused = {}
        for one in written:
            try:
                refuse_superseded(self._registry, table, one.run)
            except (SupersededError, VersionUnfitError) as err:
                refused[one.run.id] = replace(one, error=err)
                if not self._asked:
                    remove_part(self._place.path, self._files[one.run.id].path)
        return refused

    def _replace(self, table: Table, written: Sequence[Tried], marks: Sequence[Mark]) -> int:
        job = self._job
        self._asked = True
        days = {one.run.id: one.run.date.isoformat() for one in written}
        return lake.replace_partitions_by_files(
            table,
            [
                as_action(self._files[run], {"variant": job.variant, job.date_column: day})
                for run, day in days.items()
            ],
            {"variant": [job.variant], job.date_column: list(days.values())},
            job.schema,
            {"runs": " ".join(days)},
            [mark.transaction for mark in marks],
        )

    def forget(self) -> None:
        """Remove what was written, unless a commit may name it."""
        for file in () if self._asked else self._files.values():
            remove_part(self._place.path, file.path)
