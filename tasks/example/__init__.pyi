from .flights import SeedReport, require_flights, seed_flights
from .lab import copy_lab
from .shift import shift_flights

__all__ = ["SeedReport", "copy_lab", "require_flights", "seed_flights", "shift_flights"]
