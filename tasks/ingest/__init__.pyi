from .corrections import read_corrections
from .data_docs import describe_day, describe_refusal
from .days import DayIngested, ingest_day
from .new_days import find_new_days
from .quarantine import count_reasons, list_quarantine
from .releases import Release, as_they_are, release_rows
from .validation import Validator

__all__ = [
    "DayIngested",
    "Release",
    "Validator",
    "as_they_are",
    "count_reasons",
    "describe_day",
    "describe_refusal",
    "find_new_days",
    "ingest_day",
    "list_quarantine",
    "read_corrections",
    "release_rows",
]
