from .flights import SeedReport, seed_flights
from .shift import shift_flights

__all__ = ["SeedReport", "seed_flights", "shift_flights"]
