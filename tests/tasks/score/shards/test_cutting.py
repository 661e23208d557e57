"""What a partition used in all, when its parts were scored by many."""

import os
import socket
from typing import Any

from pilotline.tasks.lake.parts import PartFile
from pilotline.tasks.score.shards.cuts import PartDone
from pilotline.tasks.score.shards.cutting import add_up

HERE = f"{socket.gethostname()} {os.getpid()}"
OWN: dict[str, Any] = {"wall_s": 9.0, "parent_cpu_s": 1.0, "parent_peak_mib": 200.0}


def done(process: str = HERE, by: str = "kernel", **used: Any) -> PartDone:
    """Return a part that used as much as is said."""
    sums = dict.fromkeys(("predict_s", "child_cpu_s", "build_s", "start_s"), 1.0)
    whole: dict[str, Any] = {**sums, "child_peak_mib": 100.0, "bytes_in": 10, "bytes_out": 5}
    whole |= {"parent_cpu_s": 0.5, "parent_peak_mib": 150.0, "packages_from": "cache"}
    whole |= {"child_measured_by": by, **used}
    return PartDone(PartFile("parts/x", 1, 1, "{}"), b"", whole, process=process)


def test_children_that_ran_at_once_are_added_up_and_of_starts_the_longest_counts() -> None:
    parts = [done(build_s=3.0, child_cpu_s=2.5, bytes_in=30), done(start_s=4.0)]
    whole = add_up(OWN, parts)
    assert (whole["child_cpu_s"], whole["child_peak_mib"]) == (3.5, 200.0)
    assert (whole["bytes_in"], whole["bytes_out"], whole["predict_s"]) == (40, 10, 2.0)
    assert (whole["build_s"], whole["start_s"]) == (3.0, 4.0)
    assert (whole["wall_s"], whole["shards"], whole["packages_from"]) == (9.0, 2, "cache")


def test_threads_are_in_the_parent_s_own_account_already() -> None:
    whole = add_up(OWN, [done(), done()])
    assert (whole["parent_cpu_s"], whole["parent_peak_mib"]) == (1.0, 200.0)


def test_each_process_of_a_cluster_is_added_once_with_its_highest_peak() -> None:
    parts = [done("a 1"), done("a 1", parent_peak_mib=170.0), done("b 1")]
    whole = add_up(OWN, parts)
    assert whole["parent_cpu_s"] == 1.0 + 3 * 0.5
    assert whole["parent_peak_mib"] == 200.0 + 170.0 + 150.0


def test_one_child_that_measured_itself_makes_the_sum_its_word() -> None:
    assert add_up(OWN, [done(), done()])["child_measured_by"] == "kernel"
    assert add_up(OWN, [done(), done(by="child")])["child_measured_by"] == "child"


def test_a_day_without_parts_used_what_the_parent_did() -> None:
    assert add_up(OWN, []) == OWN
