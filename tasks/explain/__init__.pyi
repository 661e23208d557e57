from .catalogue import describe_models, show_history, show_model, show_version
from .lineage import Prediction, Question, Traced, trace_lineage
from .openlineage import describe_events
from .replaying import Difference, Replayed, find_replayable
from .tracing import trace_prediction

__all__ = [
    "Difference",
    "Prediction",
    "Question",
    "Replayed",
    "Traced",
    "describe_events",
    "describe_models",
    "find_replayable",
    "show_history",
    "show_model",
    "show_version",
    "trace_lineage",
    "trace_prediction",
]
