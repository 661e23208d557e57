from .awaiting import Awaited, list_awaited
from .decisions import (
    asks_for_code,
    bring_model,
    end_split,
    record_decision,
    retire_version,
    roll_back,
    share_rows,
)
from .gate import Gate

__all__ = [
    "Awaited",
    "Gate",
    "asks_for_code",
    "bring_model",
    "end_split",
    "list_awaited",
    "record_decision",
    "retire_version",
    "roll_back",
    "share_rows",
]
