"""Killing a registry's process within a step: at a named place, or between any two moves."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from sqlalchemy import event

from pilotline.registry import Registry
from pilotline.registry.form.errors import RegistryError
from pilotline.registry.form.failpoints import NAMES, VARIABLE

REFUSED, DONE, BROKEN = 10, 11, 12  # how a child ends that nothing killed
PATIENCE_S = 120  # a child that waits for a lock nobody gives back
MOVES = ("os.rename", "os.remove")  # a blob comes or goes; everything else is in the database


def die_within(
    registry: Registry, step: Callable[[], object], of: str, place: int, commits: int
) -> bool:
    """Take ``step`` in a process that is killed, and tell whether all of it was done.

    Args:
        registry: what the step works on.
        step: what to do.
        of: what begins the names of the failpoints that lie in it.
        place: which of these, or after the last of them, how many SQL statements and renamed or
            removed files to let pass. It dies at its last commit in any case.
        commits: how many transactions the step has.
    """
    names = [name for name in NAMES if of and name.startswith(f"{of}: ")]
    name = names[place] if place < len(names) else ""
    registry.engine.dispose()  # no process may use another's connections
    child = os.fork()
    if child == 0:
        _die(registry, step, name, place - len(names), commits)
    ending = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ending in (-signal.SIGKILL, REFUSED), f"The child ended with {ending}."
    return ending == -signal.SIGKILL and name.endswith(": committed")


def _die(
    registry: Registry, step: Callable[[], object], name: str, moves: int, commits: int
) -> NoReturn:
    left = {"moves": moves, "commits": commits}

    def pass_by(what: str) -> None:
        left[what] -= 1
        if left[what] == (-1 if what == "moves" else 0):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        signal.alarm(PATIENCE_S)
        if name:
            os.environ[VARIABLE] = name
        else:
            event.listen(registry.engine, "before_cursor_execute", lambda *_: pass_by("moves"))
            sys.addaudithook(lambda what, _: pass_by("moves") if what in MOVES else None)
        if not name.endswith(": committed"):
            event.listen(registry.engine, "commit", lambda _: pass_by("commits"))
        step()
        os._exit(DONE)
    except RegistryError:
        os._exit(REFUSED)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(BROKEN)
