"""A run that somebody ends leaves no server behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT
from tests.support.waiting import wait_until

WORDS = ("ci", "tests/registry/store/test_store.py", "-k", "postgresql")


def named_in(text: str) -> list[int]:
    """Return the processes whose command line names ``text``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_sigterm_ends_the_tests_and_their_servers(tmp_path: Path) -> None:
    own = {name: text for name, text in os.environ.items() if not name.startswith("PILOTLINE_")}
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.support.suite.run", *WORDS],
        cwd=ROOT,
        env=own | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: named_in(f"{tmp_path}/pilotline-pg-"), 60)
    run.send_signal(signal.SIGTERM)
    run.wait()
    assert run.returncode == 143
    assert named_in(str(tmp_path)) == []
    assert list(tmp_path.glob("pilotline-*")) == []
