from .auditing import audit, check_model, export_events, list_heads
from .comparing import readable
from .garbage import LEAST_GRACE, MOST_GRACE, collect_garbage

__all__ = [
    "LEAST_GRACE",
    "MOST_GRACE",
    "audit",
    "check_model",
    "collect_garbage",
    "export_events",
    "list_heads",
    "readable",
]
