"""What deployment verification found, as people see it before they decide and afterwards."""

from collections.abc import Mapping
from typing import Any

from pilotline.flows.screen.console import out, print_table
from pilotline.flows.screen.text import show


def print_verification(title: str, found: Mapping[str, Any]) -> None:
    """Print the checks and the figures; what only answered, as it should, takes one line.

    Args:
        title: of the table.
        found: `summary`, `checks` and `cases`, as plain values.
    """
    cases = found["cases"]
    told = {f"robustness: {case['group']}" for case in cases if case["outcome"] != "answered"}
    quiet = {f"robustness: {case['group']}" for case in cases} - told
    rows = [
        (check["name"], "passed" if check["passed"] else "FAILED", check["detail"])
        for check in found["checks"]
        if check["name"] not in quiet
    ]
    if quiet:
        count = sum(f"robustness: {case['group']}" in quiet for case in cases)
        rows.append(("robustness: all else", "passed", f"{count} cases answered"))
    print_table(title, ["check", "verdict", "found"], rows)
    out.print(show(found["summary"]), markup=False)
