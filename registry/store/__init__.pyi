from .store import Session, Store, show_url
from .tables import WRITERS_LOCK, Base, UtcDateTime, now

__all__ = ["WRITERS_LOCK", "Base", "Session", "Store", "UtcDateTime", "now", "show_url"]
