"""What every refusal has in common."""

import re

from tests.support.commands import Ran

SERVER = "temporary one serves"  # said where a command starts a Prefect server of its own
MOST = 1500  # characters, however large the data


def check_refusal(done: Ran, status: int, *needed: str) -> None:
    """Check that a command refused in words, with ``needed`` among them, and said nothing else.

    What can be told without a server is told without one.
    """
    assert (done.status, done.out) == (status, "")
    ours, _, _ = done.err.partition("Last lines of its log:")  # the model's own may hold one
    assert "Traceback" not in ours
    assert "\x1b" not in done.err
    for part in needed:
        assert part in done.err
    said = done.err[done.err.index("Error: ") :]
    assert len(said) < MOST
    assert re.search(r"[.?'\n]\s*$", said)
    assert SERVER not in done.err
