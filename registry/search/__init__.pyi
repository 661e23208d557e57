from .docs import describing_changes
from .query import Page, Query, known_metrics, parse_bound, search_models

__all__ = ["Page", "Query", "describing_changes", "known_metrics", "parse_bound", "search_models"]
