"""NannyML's half of the drift benchmark; runs in an environment that has NannyML.

Takes two Parquet files, reference and window, compares them as one chunk by the measures ours are
compared by, and prints its version and the seconds of one comparison after one that warms up.
"""

import json
import sys
import time
import warnings

import nannyml
import pandas as pd


def main() -> None:
    """Compare twice, and print the second."""
    warnings.simplefilter("ignore")
    reference, current = (pd.read_parquet(path) for path in sys.argv[1:])
    for _ in range(2):
        began = time.perf_counter()
        calculator = nannyml.UnivariateDriftCalculator(
            column_names=list(reference),
            chunk_number=1,
            continuous_methods=["wasserstein"],
            categorical_methods=["jensen_shannon"],
        )
        calculator.fit(reference)
        calculator.calculate(current)
        seconds = time.perf_counter() - began
    print(json.dumps({"version": nannyml.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
