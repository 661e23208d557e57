from .child import Child
from .environments import built_environment, interpreter, machine, sweep_scratch
from .launching import Room, collect_artifact, judging_child, scoring_child, training_child
from .metering import Meter
from .notebook.executing import running_notebook
from .predictions import BATCH_ROWS, output_schema, predict_rows, refuse_not_finite
from .strays import MARK, PROCESSES, end_marked
from .tiers import tier_for, warn_once
from .walls import NO_BOUNDARY, Tier, require_isolation
from .wheelhouse import Wheelhouse

__all__ = [
    "BATCH_ROWS",
    "MARK",
    "NO_BOUNDARY",
    "PROCESSES",
    "Child",
    "Meter",
    "Room",
    "Tier",
    "Wheelhouse",
    "built_environment",
    "collect_artifact",
    "end_marked",
    "interpreter",
    "judging_child",
    "machine",
    "output_schema",
    "predict_rows",
    "refuse_not_finite",
    "require_isolation",
    "running_notebook",
    "scoring_child",
    "sweep_scratch",
    "tier_for",
    "training_child",
    "warn_once",
]
