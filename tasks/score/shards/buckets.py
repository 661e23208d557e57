"""Dealing rows into buckets by a fixed hash of their key, from which a split takes its share."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BUCKETS = 10_000
HASH_KEY = "pilotline-splits"  # the 16 bytes that SipHash takes
SEPARATOR = "\x1f"  # ASCII's unit separator: between the columns of a key


def bucket_of(rows: pa.RecordBatch | pa.Table, key: Sequence[str]) -> NDArray[np.int64]:
    """Return the bucket of each row, 0 to 9,999, shape (rows,); the same for ever.

    It is SipHash-2-4 of the key's columns as UTF-8 text, joined by 0x1F, spread by the finalizer
    of SplitMix64 as pandas does, modulo 10,000.

    Args:
        rows: with the columns of the key, none of them null.
        key: their names, in the order of the contract.

    Source:
        Aumasson and Bernstein, SipHash: a fast short-input PRF, 2012; Steele, Lea and Flood,
        Fast splittable pseudorandom number generators, 2014, figure 13 (mix64).
    """
    if not rows.num_rows:
        return np.empty(0, np.int64)
    import pandas as pd  # a third of a second, which a run without a split does not pay

    texts = [pc.cast(rows.column(name), pa.string()) for name in key]
    joined = pc.binary_join_element_wise(*texts, SEPARATOR)
    values = joined.to_numpy(zero_copy_only=False).astype(object)
    hashes = pd.util.hash_array(values, hash_key=HASH_KEY, categorize=False)
    return (hashes % np.uint64(BUCKETS)).astype(np.int64)


def challengers_buckets(share: Decimal) -> int:
    """Return how many buckets, from 0 on, are the challenger's; a larger share keeps them all."""
    return int(share * BUCKETS)
