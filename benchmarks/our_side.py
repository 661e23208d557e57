"""Our half of the drift benchmark: profiles of two Parquet files, and every judgement of them."""

import json
import sys
import time

import pyarrow.parquet as pq

from pilotline.tasks.stats.drift import judge_others
from pilotline.tasks.stats.profiles import profile_rows


def main() -> None:
    """Judge twice, and print the second."""
    reference, current = (pq.read_table(path) for path in sys.argv[1:])
    for _ in range(2):
        began = time.perf_counter()
        judged = judge_others(profile_rows(reference), profile_rows(current), {})
        seconds = time.perf_counter() - began
    scores = {f"{j.column}.{j.distance}": j.value for j in judged}
    print(json.dumps({"seconds": seconds, "scores": scores}))


if __name__ == "__main__":
    main()
