from .contract import check_columns, found_in_arrow, nullable
from .csv import FORMULA
from .opening import PartitionSource, open_source

__all__ = [
    "FORMULA",
    "PartitionSource",
    "check_columns",
    "found_in_arrow",
    "nullable",
    "open_source",
]
