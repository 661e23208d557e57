"""The robustness suite with real children: who refuses passes, who crashes, hangs or errs fails."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pilotline.tasks.home import Home
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.verify.cases import make_cases
from pilotline.tasks.verify.golden import read_golden
from pilotline.tasks.verify.robustness import CASE_DEADLINE_S, Tried, check_robustness, try_cases
from tests.support.tasks.misbehaving import make_bundle, open_room
from tests.support.waiting import stretched
from tests.tasks.conftest import copy_home

# Each line is one sin, met by one case of the suite.
SINS = """
if len(data) == 0:
    return answer.reindex([0])
if len(data) == 8 and data["on_board"].isna().all() and data["delay"].notna().any():
    os._exit(3)
if len(data) == 1 and data["when"].iloc[0].year == 1:
    time.sleep(600)
if len(data) == 1 and data["hour"].iloc[0] == 2**63 - 1:
    answer["chance"] = float("nan")
if len(data) == 1 and data["note"].iloc[0] == chr(0):
    raise ValueError("a note with a NUL")
"""
# Says no to one value, and is of no more use to anybody then.
SULKS = """
if state:
    os._exit(1)
if data["hour"].iloc[:1].eq(-1).any():
    state["hurt"] = True
    raise ValueError("no hour")
"""


@pytest.fixture(scope="module")
def room(workshop: Home, tier: Tier, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Return one environment for every child here."""
    home = copy_home(workshop, tmp_path_factory.mktemp("robustness"))
    with open_room(home, tier) as room:
        yield room


def outcomes(tried: list[Tried]) -> dict[tuple[str, str], str]:
    """Return the outcome of each case."""
    return {(one.group, one.case): one.outcome for one in tried}


def test_a_sound_model_answers_every_case_in_one_child(room: Room) -> None:
    tried = try_cases(room, make_bundle(room.home))
    assert {one.outcome for one in tried} == {"answered"}, tried
    checks = {check.name: check for check in check_robustness(tried)}
    assert all(check.passed for check in checks.values())
    assert {
        "robustness: no rows",
        "robustness: one row",
        "robustness: columns in another order",
        "robustness: many rows of one value",
        "robustness: missing note",
        "robustness: all missing",
        "robustness: extremes of at",
    } < set(checks)
    assert "robustness: missing hour" not in checks  # it may not be missing
    assert checks["robustness: missing delay"].detail == "3 answered"


def test_every_sin_is_told_for_its_own_case_and_hides_no_other(room: Room) -> None:
    deadline_s = min(stretched(4), CASE_DEADLINE_S)
    tried = try_cases(room, make_bundle(room.home, SINS, deadline_s=deadline_s))
    bad = {case: outcome for case, outcome in outcomes(tried).items() if outcome != "answered"}
    assert bad == {
        ("no rows", "an empty batch"): "wrong",
        ("missing on_board", "in every row"): "crashed",
        ("extremes of when", "year 1"): "crashed",
        ("extremes of hour", "the largest"): "wrong",
        ("extremes of note", "a NUL"): "refused",
    }
    details = {one.group: one.detail for one in tried if one.outcome != "answered"}
    assert details == {
        "no rows": "predict raised ValueError: predict gave 1 rows for 0",
        "missing on_board": "ended with status 3",
        "extremes of when": f"did not finish within its deadline of {deadline_s:g} s",
        "extremes of hour": "gave 1 predictions in 'chance' that are missing or not finite",
        "extremes of note": "predict raised ValueError: a note with a NUL",
    }
    checks = {check.name: check for check in check_robustness(tried)}
    failed = {name for name, check in checks.items() if not check.passed}
    groups = ("no rows", "missing on_board", "extremes of when", "extremes of hour")
    assert failed == {f"robustness: {group}" for group in groups}
    assert checks["robustness: extremes of note"].detail == (
        "9 answered, 1 refused; a NUL refused: predict raised ValueError: a note with a NUL"
    )


def test_a_model_that_always_crashes_is_asked_three_times(room: Room) -> None:
    tried = try_cases(room, make_bundle(room.home, "os._exit(0)"))
    found = [one.outcome for one in tried]
    assert found[:3] == ["crashed"] * 3
    assert set(found[3:]) == {"not tried"}
    assert not any(check.passed for check in check_robustness(tried))


def test_a_program_may_end_with_its_refusal(room: Room) -> None:
    tried = try_cases(room, make_bundle(room.home, SULKS))
    bad = {case: outcome for case, outcome in outcomes(tried).items() if outcome != "answered"}
    assert bad == {("extremes of hour", "-1"): "refused"}


def test_a_model_that_reads_its_columns_by_position_is_told(room: Room) -> None:
    bundle = make_bundle(room.home, "answer['chance'] = float(data.columns[0] == 'hour')")
    cases = [case for case in make_cases(read_golden(bundle)) if case.expected is not None]
    (one,) = try_cases(room, bundle, cases)
    assert one.outcome == "wrong"
    assert "row 0 of column 'chance': expected 0.25, found 0;" in one.detail
    assert one.detail.endswith("predict must take its columns by name")


def test_only_what_is_not_finite_may_be_answered_with_what_is_not(room: Room) -> None:
    bundle = make_bundle(room.home, "answer['chance'] = data['delay'].astype('float64') * 0")
    cases = [case for case in make_cases(read_golden(bundle)) if case.group == "extremes of delay"]
    found = {one.case: one.outcome for one in try_cases(room, bundle, cases)}
    assert {name for name, outcome in found.items() if outcome == "refused"} == {
        "infinity",
        "-infinity",
        "NaN",
    }
    assert set(found.values()) == {"answered", "refused"}


def test_the_cases_reach_the_ends_of_each_type(workshop: Home) -> None:
    cases = make_cases(read_golden(make_bundle(workshop)))
    sent = {
        (case.group, case.name): case.batches[0][case.group.removeprefix("extremes of ")][0].as_py()
        for case in cases
        if case.group.startswith("extremes of ")
    }
    assert sent["extremes of hour", "the smallest"] == -9223372036854775808
    assert sent["extremes of hour", "the largest"] == 9223372036854775807
    assert sent["extremes of delay", "the largest"] == 1.7976931348623157e308
    assert sent["extremes of when", "year 1"].isoformat() == "0001-01-01"
    assert sent["extremes of when", "year 9999"].isoformat() == "9999-12-31"
    assert sent["extremes of at", "year 9999"].isoformat() == "9999-12-31T23:59:59.999999+00:00"
    assert len(sent["extremes of note", "1 MiB of letters"]) == 1_048_576
    assert sent["extremes of note", "a NUL"] == "\0"
    assert sent["extremes of on_board", "false"] is False
    nan = sent["extremes of delay", "NaN"]
    assert nan is not None
    assert nan != nan


def test_the_shapes_of_the_cases_are_as_named(workshop: Home) -> None:
    cases = {
        (case.group, case.name): case for case in make_cases(read_golden(make_bundle(workshop)))
    }
    assert [batch.num_rows for batch in cases["no rows", "an empty batch"].batches] == [0]
    turned = cases["columns in another order", "reversed"].batches[0]
    assert turned.schema.names == ["note", "delay", "on_board", "at", "when", "hour"]
    many = cases["many rows of one value", "24,577 times one row"]
    assert [batch.num_rows for batch in many.batches] == [24_576, 1]
    half = cases["missing note", "in every other row"].batches[0]["note"].to_pylist()
    assert half == [None, "ice", None, "fog", None, "fog", None, "fog"]
    nothing = cases["all missing", "whatever may be missing"].batches[0]
    assert {name for name in nothing.schema.names if nothing[name].null_count == 8} == {
        "on_board",
        "delay",
        "note",
    }
    assert nothing["hour"].null_count == 0


def test_features_that_drop_rows_are_wrong_and_no_refusal(room: Room) -> None:
    bundle = make_bundle(room.home)
    script = (
        bundle.folder.files["model.py"] + b"\n\ndef features(data):\n    return data.dropna()\n"
    )
    folder = replace(bundle.folder, files={**bundle.folder.files, "model.py": script})
    changed = replace(bundle, folder=folder)
    cases = [one for one in make_cases(read_golden(changed)) if one.group == "missing delay"]
    tried = try_cases(room, changed, cases)
    assert [one.outcome for one in tried] == ["wrong"] * 3
    assert all("predict raised ValueError: features gave" in one.detail for one in tried)
