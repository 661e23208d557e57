"""Predictions in memory: their declared types, and what makes them unacceptable."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pilotline.tasks.errors import ChildError
from pilotline.tasks.lab import TYPES, ModelFolder
from pilotline.tasks.sandbox.launching import Room, scoring_child

BATCH_ROWS = 24_576  # fewer cost speed, more memory: 65,536 of 20 columns 70 MiB in all


def predict_rows(
    room: Room, folder: ModelFolder, artifact: Mapping[str, bytes], rows: pa.Table
) -> pa.Table:
    """Return the predictions for ``rows`` by the model in its own process."""
    spec = folder.spec
    features = rows.select(list(spec.features))
    outputs = output_schema(spec.predictions)
    with scoring_child(room, folder, artifact) as child:
        batches = features.to_batches(max_chunksize=BATCH_ROWS)
        predicted = list(child.score(batches, features.schema, outputs))
    table = pa.Table.from_batches(predicted, outputs)
    refuse_not_finite(spec.name, table)
    return table


def output_schema(predictions: Mapping[str, str]) -> pa.Schema:
    """Return the Arrow schema of declared predictions."""
    return pa.schema([(name, TYPES[kind]) for name, kind in predictions.items()])


def refuse_not_finite(model: str, predicted: pa.Table | pa.RecordBatch, log: str = "") -> None:
    """Do nothing if every prediction is there, and every number finite.

    Raises:
        ChildError: one is null, NaN or infinite.
    """
    for name in predicted.schema.names:
        column = predicted.column(name)
        bad = column.null_count
        if pa.types.is_floating(column.type):
            bad += pc.sum(pc.invert(pc.is_finite(column))).as_py() or 0
        if bad:
            raise ChildError(
                model, f"gave {bad} predictions in {name!r} that are missing or not finite", log
            )
