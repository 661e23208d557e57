"""One partition, or part of it, on its way from the input through a model to its predictions."""

import queue
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

from pilotline.registry.form import reach
from pilotline.registry.runs import Ingest, Run
from pilotline.tasks import lake
from pilotline.tasks.errors import ChildError, LakeError
from pilotline.tasks.features import Joined
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle
from pilotline.tasks.lake import PartitionFiles, Table, check_day, find_files
from pilotline.tasks.sandbox import BATCH_ROWS, Child, output_schema, refuse_not_finite
from pilotline.tasks.score.job import Job
from pilotline.tasks.stats import Profile, ProfileFold


class PredictionStream:
    """Rows on their way through the child: keys put back, checked, profiled."""

    def __init__(
        self,
        job: Job,
        run: Run,
        child: Child,
        bundle: Bundle,
        rows: Iterable[pa.RecordBatch],
        last_look: Callable[[int], None],
    ) -> None:
        """Prepare the stream; nothing is read yet.

        Args:
            job: what is scored by whom.
            run: the claim.
            child: the model's process.
            bundle: whose process it is: the job's version, or the challenger it shares rows with.
            rows: keys and features, in the job's ``read_schema``.
            last_look: called with the number of rows when all are there; what it raises stops
                the commit.
        """
        self._job, self._run, self._child, self._bundle = job, run, child, bundle
        self._rows, self._last_look = rows, last_look
        self._keys: queue.SimpleQueue[pa.RecordBatch] = queue.SimpleQueue()
        # Features are profiled by the thread that feeds, predictions by the one that reads.
        self._features, self._predictions = ProfileFold(), ProfileFold()

    def profile(self) -> Profile:
        """Return the profile of inputs and predictions together."""
        features, predictions = self._features.profile(), self._predictions.profile()
        return Profile(features.rows, {**features.columns, **predictions.columns})

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the finished rows; its last act is the check that they are complete."""
        spec = self._bundle.spec
        features = pa.schema([self._job.read_schema.field(name) for name in spec.features])
        rows = 0
        outputs = output_schema(spec.predictions)
        for predicted in self._child.score(self._input(), features, outputs):
            refuse_not_finite(spec.name, predicted, self._child.log_tail())
            keys = self._keys.get_nowait()
            if keys.num_rows != predicted.num_rows:
                raise ChildError(
                    spec.name,
                    f"gave {predicted.num_rows} rows for {keys.num_rows}",
                    self._child.log_tail(),
                )
            rows += predicted.num_rows
            yield self._finish(keys, predicted)
        self._last_look(rows)
        reach("score: predicted")

    def _input(self) -> Iterator[pa.RecordBatch]:
        profiled, fed = list(self._job.bundle.spec.features), list(self._bundle.spec.features)
        for batch in self._rows:
            self._keys.put(batch.select(list(self._job.key)))
            self._features.add(batch.select(profiled))
            yield batch.select(fed)

    def _finish(self, keys: pa.RecordBatch, predicted: pa.RecordBatch) -> pa.RecordBatch:
        self._predictions.add(predicted)
        own = [self._bundle.version.number, self._run.id, self._job.variant]
        constants = [pa.repeat(pa.scalar(value), keys.num_rows) for value in own]
        columns = [*keys.columns, *predicted.columns, *constants]
        return pa.RecordBatch.from_arrays(columns, schema=self._job.schema)


def check_complete(run: Run, partition: Ingest, rows: int) -> None:
    """Do nothing if ``rows`` is what was ingested.

    Raises:
        LakeError: it is not.
    """
    if rows != partition.accepted:
        raise LakeError(
            partition.dataset,
            f"day {run.date} reads as {rows} rows, {partition.accepted} were ingested",
            "Ingest the day again.",
        )


def files_of(home: Home, job: Job, run: Run, table: Table | None = None) -> PartitionFiles:
    """Return the files that ``run`` scores, as its table was when it claimed them.

    Args:
        home: the home.
        job: what is scored.
        run: the claim.
        table: the table at that version, where it is open already.

    Raises:
        LakeError: the table or that version of it is gone.
    """
    path = lake.accepted_path(home.lake, run.dataset)
    table = table or lake.open_table(path, run.table_version)
    return find_files(table, path, run.dataset, job.date_column, run.date)


def stream_input(
    home: Home,
    job: Job,
    run: Run,
    partition: Ingest,
    joined: Joined | None,
    table: Table | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield what ``run`` scores in batches, once its files are known to be what was ingested.

    Args:
        home: the home.
        job: what is scored.
        run: the claim.
        partition: what it claimed.
        joined: its further inputs, where it has any.
        table: the table at the version that was claimed, where it is open already.

    Raises:
        LakeError: the table or the version that was claimed is gone, or is not what was ingested.
    """
    if partition.files_digest is None:  # ingested before files were hashed
        yield from read_input(home, job, run, joined).to_batches(max_chunksize=BATCH_ROWS)
        return
    files = files_of(home, job, run, table)
    before = files.require(partition.files_digest)
    yield from join_batches(files.stream(job.input_schema, BATCH_ROWS, before), job, joined)


def join_batches(
    batches: Iterator[pa.RecordBatch], job: Job, joined: Joined | None
) -> Iterator[pa.RecordBatch]:
    """Yield each batch with the features of further inputs, in the job's ``read_schema``."""
    if joined is None:
        yield from batches
        return
    for batch in batches:
        yield from complete_rows(pa.Table.from_batches([batch]), job, joined).to_batches()


def complete_rows(rows: pa.Table, job: Job, joined: Joined | None) -> pa.Table:
    """Return ``rows`` in the job's ``read_schema``, further inputs joined, in one piece."""
    schema = job.read_schema
    whole = rows if joined is None else joined.add(rows)
    return whole.select(schema.names).cast(schema).combine_chunks()


def read_input(home: Home, job: Job, run: Run, joined: Joined | None) -> pa.Table:
    """Return what ``run`` scores: keys and features, once the day's digest is what was claimed.

    A flipped bit in a Parquet file reads as other values without an error in half the cases.

    Raises:
        LakeError: the table or the version that was claimed is gone, or is not what was ingested.
    """
    table = lake.open_table(lake.accepted_path(home.lake, run.dataset), run.table_version)
    rows = lake.read(table, lake.schema_of(table), lake.on_day(job.date_column, run.date))
    key = tuple(job.bundle.json("contract.json")["key"])
    check_day(run.dataset, key, run.date, rows, run.partition_digest)
    schema = job.input_schema
    return complete_rows(rows.select(schema.names).cast(schema), job, joined)
