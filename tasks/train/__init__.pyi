from .challenge import DECIDABLE, face_champion, present_evaluation, require_compared
from .data import select_days
from .diff import compare_versions
from .training import Trained

__all__ = [
    "DECIDABLE",
    "Trained",
    "compare_versions",
    "face_champion",
    "present_evaluation",
    "require_compared",
    "select_days",
]
