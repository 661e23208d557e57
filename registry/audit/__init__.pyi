from .comparing import readable
from .garbage import LEAST_GRACE, MOST_GRACE, collect_garbage
from .walk import audit, check_model, export_events, list_heads

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
