"""What is told to who approves too late, or on evidence that is no longer so."""

from pilotline.flows.gate.page import make_page
from pilotline.flows.gate.waking import list_shown, try_to_wake
from pilotline.flows.screen.text import show
from pilotline.registry.form import ApprovalError
from pilotline.registry.record import get_version
from pilotline.tasks.home import Home
from pilotline.tasks.lab import policy_of


def refuse_stale(home: Home, model: str, version: str, gate: str) -> None:
    """Do nothing unless a release waits at ``gate`` on a page that shows what was so before.

    That release is woken and shows it as it is now; then an approval counts, as it does for who
    sends the form a second time.

    Raises:
        UnknownModelError, UnknownVersionError: no such version.
        ApprovalError: one waits so.
    """
    shown = list_shown(home, model, version, gate)
    if not shown:
        return
    with home.open_registry() as registry:
        with registry.read() as session:
            found = get_version(session, model, version)
        policy = policy_of(home, registry, found)
    page = make_page(home, model, version, gate, policy.digest())
    if shown == {page.fingerprint}:
        return
    try_to_wake(home, model, version)
    raise ApprovalError(
        model,
        version,
        gate,
        f"the evidence changed while its release waited (champion now: {page.champion or 'none'})",
        f"Read it on the run's page or with 'pilotline show {model}@{version}'; then approve.",
    )


def say_earlier(gate: str, late: str, first: str) -> str:
    """Return what is told to somebody who approves what is approved already."""
    return f"{gate} was approved by {show(first)} already: nothing was recorded of {show(late)}"
