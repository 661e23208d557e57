"""Evidently's half of the drift benchmark; runs in an environment that has Evidently 0.7.

Takes two Parquet files, reference and window; prints its version, the seconds of one report after
one that warms up, and each column's score by the method it chooses by default.
"""

import json
import sys
import time
import warnings

import evidently
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Report twice, and print the second."""
    warnings.simplefilter("ignore")
    reference, current = (pd.read_parquet(path) for path in sys.argv[1:])
    numbers = [name for name in reference if reference[name].dtype.kind in "if"]
    texts = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    for _ in range(2):
        began = time.perf_counter()
        one = Dataset.from_pandas(reference, data_definition=definition)
        two = Dataset.from_pandas(current, data_definition=definition)
        found = Report([DataDriftPreset()]).run(two, one).dict()
        seconds = time.perf_counter() - began
    scores = {
        metric["config"]["column"]: [metric["config"]["method"], float(metric["value"])]
        for metric in found["metrics"]
        if "column" in metric["config"]
    }
    print(json.dumps({"version": evidently.__version__, "seconds": seconds, "scores": scores}))


if __name__ == "__main__":
    main()
