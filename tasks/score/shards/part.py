"""Scoring one part in an environment and a child of its own, from the record alone."""

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from pilotline.registry import Registry
from pilotline.registry.runs import Run, get_run, inputs_of
from pilotline.tasks import lake
from pilotline.tasks.errors import LakeError, ShardError, StepError
from pilotline.tasks.features import Joined, read_joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle
from pilotline.tasks.lake import PartitionFiles, write_part
from pilotline.tasks.sandbox import (
    BATCH_ROWS,
    Meter,
    Room,
    Wheelhouse,
    built_environment,
    scoring_child,
    tier_for,
)
from pilotline.tasks.score.job import Job, plan_again
from pilotline.tasks.score.shards.buckets import BUCKETS, bucket_of
from pilotline.tasks.score.shards.cuts import Part, PartDone
from pilotline.tasks.score.stream import PredictionStream, files_of, join_batches


def score_part(registry: Registry, home: Home, run_id: str, index: int, part: Part) -> PartDone:
    """Score ``part`` of the partition that the run claimed into a file that no commit names yet.

    Args:
        registry: the registry.
        home: the home, which on another machine has paths of its own.
        run_id: the claim.
        index: of the part in its run.
        part: what to score.

    Raises:
        ShardError: it failed.
        UnknownRunError: this home's registry knows nothing of the run.
    """
    with registry.read() as session:
        run, reads = get_run(session, run_id), inputs_of(session, [run_id])
    job = plan_again(registry, run)
    bundle = next(one for one in job.bundles if one.version.number == part.number)
    tier = tier_for(home, bundle.folder)
    if tier.name != run.isolation:
        why = f"isolation here is {tier.name}, the run was claimed with {run.isolation}"
        raise ShardError(f"Shard {index} of run {run_id}: {why}.")
    name, lock = bundle.spec.name, bundle.lock
    wheelhouse = Wheelhouse(registry, home.scratch)
    try:
        joined = read_joined(registry, home, job.joins, reads, job.date_column)
        with built_environment(
            home.scratch, name, lock, walled=tier.walled, wheelhouse=wheelhouse
        ) as environment:
            room = Room(home, environment, tier)
            done = _score(room, job, run, bundle, index, part, joined)
    except (StepError, OSError, pa.ArrowException) as err:
        raise ShardError(str(err)) from err
    gone = not environment.folder.exists()
    return replace(done, teardown_s=environment.teardown_s[0], clean=gone)


def _score(
    room: Room,
    job: Job,
    run: Run,
    bundle: Bundle,
    index: int,
    part: Part,
    joined: Joined | None,
) -> PartDone:
    meter = Meter()
    meter.begin()
    files = files_of(room.home, job, run).pick(part.pieces)
    with scoring_child(room, bundle.folder, bundle.artifact) as child:
        meter.watch(child)
        rows = join_batches(stream_part(files, job, part), job, joined)
        stream = PredictionStream(
            job, run, child, bundle, rows, lambda found: _check_rows(run, part, found)
        )
        file = write_part(
            lake.predictions_path(room.home.lake, bundle.spec.name),
            # Not the index alone: a cluster may try again while a worker it lost still writes.
            f"{run.id}-{index}-{secrets.token_hex(4)}",
            job.schema,
            stream.batches(),
            {"variant", job.date_column},
        )
        used = meter.read(room.environment)
    return PartDone(
        file=file,
        profile=stream.profile().encode() if file.rows else b"",
        used=used,
        process=f"{socket.gethostname()} {os.getpid()}",
    )


def stream_part(files: PartitionFiles, job: Job, part: Part) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the part's buckets, in the job's ``input_schema``."""
    for batch in files.stream(job.input_schema, BATCH_ROWS):
        if (part.first, part.end) == (0, BUCKETS):
            yield batch
            continue
        buckets = bucket_of(batch, list(job.key))
        mine = batch.filter(pa.array((part.first <= buckets) & (buckets < part.end)))
        if mine.num_rows:
            yield mine


def _check_rows(run: Run, part: Part, rows: int) -> None:
    """Do nothing unless a shard of one version gave another number of rows than it was cut to."""
    if (part.first, part.end) == (0, BUCKETS) and rows != part.rows:
        raise LakeError(
            run.dataset,
            f"a shard of {run.date} reads as {rows} rows, {part.rows} were cut",
            "Run the command again.",
        )
