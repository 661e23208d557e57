"""The robustness suite: a model answers or refuses what its contract allows, and never crashes."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from pilotline.tasks.errors import ChildError
from pilotline.tasks.lab import Bundle, ModelFolder
from pilotline.tasks.sandbox import Child, Room, refuse_not_finite, scoring_child
from pilotline.tasks.stats import Check
from pilotline.tasks.verify.cases import Case, make_cases
from pilotline.tasks.verify.golden import find_difference, read_golden, score_batches, tolerance_of

CASE_DEADLINE_S = 60.0  # for the start and one small stream; a model that hangs is not waited for
MAX_CRASHES = 3  # a child each; what crashes three times is not asked further
SHOWN_LETTERS = 300
# A model that raises refuses, but where it is the harness that raises, over what predict gave.
REFUSED = re.compile(r"(predict|its code) raised ")
WRONG = re.compile(
    r"gave |predict raised ValueError: predict (gave|changed) "
    r"|predict raised (ValueError|TypeError): features gave "
)
GOOD = ("answered", "refused")


@dataclass(frozen=True)
class Tried:
    """What became of one case."""

    group: str
    case: str
    rows: int
    outcome: str  # answered, refused, wrong, crashed or not tried
    detail: str


def try_cases(room: Room, bundle: Bundle, cases: Sequence[Case] | None = None) -> list[Tried]:
    """Send each case through one child; after a crash the next ones meet a fresh child.

    Args:
        room: where it runs.
        bundle: the version.
        cases: by default all that its contract makes.

    Raises:
        EnvironmentBuildError: this machine lacks the program its command names.
    """
    left = list(make_cases(read_golden(bundle)) if cases is None else cases)
    folder, found, crashes = _in_time(bundle.folder), list[Tried](), 0
    while left and crashes < MAX_CRASHES:
        before = len(found)
        try:
            with scoring_child(room, folder, bundle.artifact) as child:
                while left:
                    found.append(_try(child, bundle, left[0]))
                    del left[0]
        except ChildError as err:
            if len(found) > before and found[-1].outcome == "refused":
                continue  # a program may end with a refusal: this case gets a child of its own
            outcome = "wrong" if WRONG.match(err.problem) else "crashed"
            case = left.pop(0) if left else Case("end of input", "end of input", [])
            found.append(_tell(case, outcome, err.problem))
            crashes += 1
    return found + [_tell(case, "not tried", f"it crashed {crashes} times before") for case in left]


def check_robustness(tried: Sequence[Tried]) -> list[Check]:
    """Return a check for each group of cases; refusals pass, and are shown."""
    groups: dict[str, list[Tried]] = {}
    for one in tried:
        groups.setdefault(one.group, []).append(one)
    return [_check_group(name, group) for name, group in groups.items()]


def _in_time(folder: ModelFolder) -> ModelFolder:
    budget = folder.spec.budget
    short = replace(budget, deadline_s=min(budget.deadline_s, CASE_DEADLINE_S))
    return replace(folder, spec=replace(folder.spec, budget=short))


def _try(child: Child, bundle: Bundle, case: Case) -> Tried:
    """Return what became of a case.

    Raises:
        ChildError: the child cannot be asked further.
    """
    try:
        answer = score_batches(child, bundle, case.batches)
    except ChildError as err:
        if WRONG.match(err.problem) and REFUSED.match(err.problem):
            return _tell(case, "wrong", err.problem)
        if REFUSED.match(err.problem):
            return _tell(case, "refused", err.problem)
        raise
    return _judge(bundle, case, answer)


def _judge(bundle: Bundle, case: Case, answer: pa.Table) -> Tried:
    try:
        refuse_not_finite(bundle.spec.name, answer)
    except ChildError as err:
        # Scoring refuses such an answer whole, which is enough for values that never come.
        return _tell(case, "wrong" if case.finite else "refused", err.problem)
    for name in answer.column_names if case.expected is not None else ():
        tolerance = tolerance_of(bundle, name)
        difference = find_difference(case.expected, answer, name, tolerance)
        if difference:
            advice = "predict must take its columns by name"
            return _tell(case, "wrong", f"answered otherwise, {difference}; {advice}")
    return _tell(case, "answered", "")


def _tell(case: Case, outcome: str, problem: str) -> Tried:
    lines = problem.splitlines()
    return Tried(
        case.group, case.name, case.rows, outcome, lines[0][:SHOWN_LETTERS] if lines else ""
    )


def _check_group(name: str, group: Sequence[Tried]) -> Check:
    said: dict[str, list[str]] = {}
    for one in group:
        if one.detail:
            said.setdefault(f"{one.outcome}: {one.detail}", []).append(one.case)
    counts = Counter(one.outcome for one in group)
    parts = [", ".join(f"{count} {outcome}" for outcome, count in counts.items())]
    parts += [f"{', '.join(names)} {problem}" for problem, names in said.items()]
    passed = all(one.outcome in GOOD for one in group)
    return Check(f"robustness: {name}", passed, "; ".join(parts))
