"""Which part of a version number moves, after the table of words in the design."""

from typing import Any

import pytest

from pilotline.registry.record.manifest import Manifest, ManifestFile
from pilotline.registry.record.numbering import Number, Release, Step, compare_releases, next_number

FLOAT = {"type": "float64", "nullable": False}
MAYBE = {"type": "float64", "nullable": True}
TEXT = {"type": "string", "nullable": False}


def release(
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    interpreter: str = "cpython 3.11",
    **contents: str,
) -> Release:
    texts = {"script": "s", "config": "c", "lock": "l", "model": "m", "data": "d"} | contents
    files = tuple(
        ManifestFile(role, f"{role}.file", len(text), text * 64) for role, text in texts.items()
    )
    return Release(
        Manifest("flight-delay", files, interpreter, "linux x86_64", None),
        {"inputs": inputs or {"hour": FLOAT}, "outputs": outputs or {"chance": FLOAT}},
    )


@pytest.mark.parametrize(
    ("child", "part", "reason"),
    [
        (release(), "patch", "only data and trained bytes changed"),
        (release(model="n", data="e"), "patch", "only data and trained bytes changed"),
        (release(script="t"), "minor", "code changed"),
        (release(config="t"), "minor", "configuration changed"),
        (release(lock="t"), "minor", "environment changed"),
        (release(interpreter="cpython 3.12"), "minor", "interpreter cpython 3.12"),
        (release({"hour": FLOAT, "dest": MAYBE}), "minor", "input 'dest' added"),
        (release({"hour": FLOAT, "dest": FLOAT}), "major", "input 'dest' added"),
        (release({"dest": MAYBE}), "major", "input 'hour' lost"),
        (release({"hour": TEXT}), "major", "input 'hour' is string, was float64"),
        (release({"hour": MAYBE}), "minor", "input 'hour' is now nullable"),
        (release(outputs={"chance": FLOAT, "late": TEXT}), "minor", "output 'late' added"),
        (release(outputs={"late": TEXT}), "major", "output 'chance' lost"),
        (release(outputs={"chance": TEXT}), "major", "output 'chance' is string, was float64"),
        (release(outputs={"chance": MAYBE}), "major", "output 'chance' is now nullable"),
    ],
)
def test_the_part_that_moves_is_the_one_in_the_table(
    child: Release, part: str, reason: str
) -> None:
    step = compare_releases(release(), child)
    assert step.part == part
    assert reason in step.reasons


def test_an_input_that_stops_taking_nulls_is_major() -> None:
    step = compare_releases(release({"hour": MAYBE}), release({"hour": FLOAT}))
    assert step == Step("major", ("input 'hour' is now required",))


def test_an_output_that_stops_giving_nulls_is_minor() -> None:
    step = compare_releases(release(outputs={"chance": MAYBE}), release(outputs={"chance": FLOAT}))
    assert step == Step("minor", ("output 'chance' is now required",))


def test_a_major_step_names_its_minor_reasons_too() -> None:
    step = compare_releases(release(), release({"hour": TEXT}, script="t"))
    assert step.part == "major"
    assert step.reasons == ("input 'hour' is string, was float64", "code changed")


@pytest.mark.parametrize(
    ("parent", "part", "taken", "expected"),
    [
        ((0, 0, 0), "major", [], (1, 0, 0)),
        ((1, 2, 3), "major", [(1, 2, 3)], (2, 0, 0)),
        ((1, 2, 3), "minor", [(1, 2, 3)], (1, 3, 0)),
        ((1, 2, 3), "patch", [(1, 2, 3)], (1, 2, 4)),
        # Descending from an old version steps over the numbers given since.
        ((1, 0, 0), "major", [(1, 0, 0), (2, 0, 0), (3, 1, 0)], (4, 0, 0)),
        ((1, 0, 0), "minor", [(1, 0, 0), (1, 1, 0), (1, 2, 5), (2, 7, 0)], (1, 3, 0)),
        ((1, 0, 0), "patch", [(1, 0, 0), (1, 0, 9), (1, 1, 40)], (1, 0, 10)),
    ],
)
def test_the_next_number_is_the_first_free_one(
    parent: Number, part: str, taken: list[Number], expected: Number
) -> None:
    assert next_number(parent, Step(part, ()), taken) == expected
