"""Two profiles of one column brought over the same values, and the same for groups of values."""

from dataclasses import dataclass

import numpy as np

from pilotline.tasks.stats.columns import Numbers, Texts, coarsen, to_buckets
from pilotline.tasks.stats.distances import Shares

GROUPS = 20  # of about equal shares of the reference, for distances that know no order


@dataclass(frozen=True)
class Pair:
    """Rows of reference and window by value."""

    before: Shares  # counts, shape (k,)
    after: Shares  # counts of the same values
    places: Shares | None  # where numbers lie, ascending; None for texts

    def shares(self) -> tuple[Shares, Shares]:
        """Return both as shares; both must have rows."""
        return self.before / self.before.sum(), self.after / self.after.sum()

    def grouped(self) -> "Pair":
        """Return the pair by groups of numbers; texts and numbers of few values stay as they are.

        Categories have no order, so neither have their distances: over a thousand bins these would
        see nothing but the chance of a row to fall into this bin or the next.
        """
        if self.places is None or np.count_nonzero(self.before) <= GROUPS:
            return self
        total = self.before.sum()
        rank = (np.cumsum(self.before) - self.before / 2) / total
        group = np.minimum((rank * GROUPS).astype(np.int64), GROUPS - 1)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        before, after = (np.add.reduceat(x, starts) for x in (self.before, self.after))
        return Pair(before, after, self.places[starts])


def pair_numbers(reference: Numbers, current: Numbers) -> Pair:
    """Return two columns of numbers over the same values, or bins."""
    level = max((c.level for c in (reference, current) if c.level is not None), default=None)
    ends = [c.places if level is None else coarsen(c.places, level) for c in (reference, current)]
    places, which = np.unique(np.concatenate(ends), return_inverse=True)
    split = len(ends[0])
    before = np.bincount(which[:split], reference.counts, len(places))
    after = np.bincount(which[split:], current.counts, len(places))
    if level is not None:
        places = places + np.ldexp(0.5, level)
    if any((*reference.infinite, *current.infinite)):
        # An infinity is as far out as any number seen: a distance to it would be infinite.
        first, last = (places[0], places[-1]) if len(places) else (0.0, 1.0)
        places = np.concatenate([[first], places, [last]])
        before = np.concatenate([[reference.infinite[0]], before, [reference.infinite[1]]])
        after = np.concatenate([[current.infinite[0]], after, [current.infinite[1]]])
    return Pair(before.astype(np.float64), after.astype(np.float64), places)


def pair_texts(reference: Texts, current: Texts) -> Pair:
    """Return two columns of texts over the same values, or buckets."""
    hashed = reference.hashed or current.hashed
    one, two = (
        c.counts if c.hashed or not hashed else to_buckets(c.counts) for c in (reference, current)
    )
    values = sorted({*one, *two})
    before = np.array([one.get(value, 0) for value in values], np.float64)
    return Pair(before, np.array([two.get(value, 0) for value in values], np.float64), None)
