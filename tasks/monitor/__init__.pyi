from .monitoring import Watch, calls_drift
from .performance import MISSING, DayRealized
from .staleness import Stale, list_stale
from .versus import BETTER, COMPARED, UNKNOWN, WORSE, Comparison, Difference, rows_needed

__all__ = [
    "BETTER",
    "COMPARED",
    "MISSING",
    "UNKNOWN",
    "WORSE",
    "Comparison",
    "DayRealized",
    "Difference",
    "Stale",
    "Watch",
    "calls_drift",
    "list_stale",
    "rows_needed",
]
