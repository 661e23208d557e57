"""Deployment verification: golden set parity, robustness suite and budgets, in the real place."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pilotline.registry import Registry
from pilotline.registry.form import canonical_json
from pilotline.registry.gates import Policy
from pilotline.registry.record import (
    ModelVersion,
    Verification,
    passed_verification,
    record_verification,
    standing_of,
)
from pilotline.tasks.errors import ChildError, LabError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import Bundle, load_bundle
from pilotline.tasks.sandbox import (
    Room,
    Tier,
    Wheelhouse,
    built_environment,
    interpreter,
    machine,
    tier_for,
)
from pilotline.tasks.stats import Check
from pilotline.tasks.verify.budgets import Figures, check_budgets, measure_child
from pilotline.tasks.verify.golden import check_golden
from pilotline.tasks.verify.robustness import Tried, check_robustness, try_cases


@dataclass
class Findings:
    """What the steps of a verification found so far."""

    checks: list[Check] = field(default_factory=list)
    cases: list[Tried] = field(default_factory=list)  # of the robustness suite, one by one
    figures: Figures | None = None  # None where the model failed before it was measured

    @property
    def failed(self) -> list[str]:
        """The names of the checks that did not pass."""
        return [check.name for check in self.checks if not check.passed]

    def summarize(self) -> str:
        """Return one line for people, with every figure that was measured."""
        said = f"failed: {', '.join(self.failed)}" if self.failed else f"{len(self.checks)} checks"
        said += "" if self.failed else " passed"
        refused = sum(case.outcome == "refused" for case in self.cases)
        if self.cases:
            said += f"; {refused} of {len(self.cases)} robustness cases refused"
        return said if self.figures is None else f"{said}; {self.figures}"


@dataclass(frozen=True)
class Verified:
    """What verification found."""

    number: str
    passed: bool
    summary: str
    checks: list[Check]
    isolation: str
    platform: str
    cases: list[Tried] = field(default_factory=list)
    figures: Figures | None = None


def verify_once(
    registry: Registry,
    home: Home,
    policy: Policy,
    version: ModelVersion,
    say: Callable[[str], None],
    *,
    again: bool,
) -> Verified:
    """Verify ``version`` in the isolation it asks for, unless it passed here in enough of it.

    Args:
        registry: the registry.
        home: the home.
        policy: which isolation is enough.
        version: what is verified.
        say: told what is done.
        again: whether it is verified in any case.

    Raises:
        IsolationError: this machine has less than is asked for.
        EnvironmentBuildError: its environment cannot be built any more.
    """
    with registry.read() as session:
        passed = passed_verification(session, version, platform())
    if passed is not None and policy.takes_isolation(passed.isolation) and not again:
        number, summary = version.number, passed.summary
        return Verified(number, True, summary, [], passed.isolation, passed.platform)
    tier = tier_for(home, load_bundle(registry, version).folder)
    return verify_version(registry, home, tier, version, say)


def verify_version(
    registry: Registry, home: Home, tier: Tier, version: ModelVersion, say: Callable[[str], None]
) -> Verified:
    """Verify ``version`` in its own environment and record the outcome.

    Raises:
        EnvironmentBuildError: its environment cannot be built any more.
    """
    bundle = load_bundle(registry, version)
    _check_platform(registry, bundle)
    wheelhouse = Wheelhouse(registry, home.scratch)
    with built_environment(
        home.scratch, bundle.spec.name, bundle.lock, walled=tier.walled, wheelhouse=wheelhouse
    ) as environment:
        found = examine(Room(home, environment, tier), bundle, say)
    passed, summary = not found.failed, found.summarize()
    report = registry.blobs.put(canonical_json(_report(bundle, tier, found)))
    with registry.write() as session:
        record_verification(
            session,
            version,
            Verification(
                passed=passed,
                summary=summary,
                report_digest=report,
                platform=platform(),
                isolation=tier.name,
            ),
        )
    facts = (version.number, passed, summary, found.checks, tier.name, platform())
    return Verified(*facts, found.cases, found.figures)


def examine(room: Room, bundle: Bundle, say: Callable[[str], None]) -> Findings:
    """Return what the checks find of a version in a place; nothing is recorded.

    A model that drifted or erred is asked on, so that the report tells everything; one that cannot
    answer its own golden set, or hangs there, is not: there is nothing more to learn.

    Raises:
        EnvironmentBuildError: this machine lacks the program its command names.
    """
    found = Findings()

    def golden() -> None:
        found.checks += check_golden(room, bundle)

    def robustness() -> None:
        found.cases += try_cases(room, bundle)
        found.checks += check_robustness(found.cases)

    def budgets() -> None:
        found.figures = measure_child(room, bundle)
        found.checks += check_budgets(bundle, found.figures)

    for title, step in (("golden set", golden), ("robustness", robustness), ("budgets", budgets)):
        say(f"verifying {bundle.spec.name} {bundle.version.number}: {title}")
        try:
            step()
        except ChildError as err:
            found.checks.append(Check(title, False, err.problem))
            break
    return found


def platform() -> str:
    """Return what a verification holds for: interpreter, system and processor."""
    return f"{interpreter()} {machine()}"


def _check_platform(registry: Registry, bundle: Bundle) -> None:
    with registry.read() as session:
        status = standing_of(session, bundle.version)
    where = f"Version {bundle.version.number} of {bundle.spec.name!r}"
    if status in ("revoked", "archived"):
        raise LabError(where, f"it is {status}", "Verify another version.")
    if bundle.manifest.interpreter != interpreter():
        raise LabError(
            where,
            f"it needs {bundle.manifest.interpreter}, this is {interpreter()}",
            "Run pilotline with that Python.",
        )


def _report(bundle: Bundle, tier: Tier, found: Findings) -> dict[str, Any]:
    """Return all of it as plain values: the evidence that the registry keeps."""
    return {
        "version": bundle.version.number,
        "digest": bundle.version.digest,
        "interpreter": interpreter(),
        "platform": platform(),
        "isolation": tier.name,
        "checks": [asdict(check) for check in found.checks],
        "cases": [asdict(case) for case in found.cases],
        "figures": None if found.figures is None else asdict(found.figures),
    }
