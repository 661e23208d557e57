"""Programs that tests need beside Python: without one its tests are skipped, and say why."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {  # of Debian and Ubuntu, where they are not called as the program
    "bwrap": "bubblewrap",
    "initdb": "postgresql",
    "node": "nodejs",
    "unshare": "util-linux",
    "mount": "mount",
}


def require(program: str, only: str | None = None, also: Sequence[Path] = ()) -> Path:
    """Return where ``program`` is; skip the test without it, fail where CI promised it.

    Args:
        program: its name.
        only: the folders where it counts, with a colon between them, instead of those of PATH.
        also: folders where it may be beside those.
    """
    folders = only or os.environ.get("PATH", os.defpath)
    found = shutil.which(program, path=os.pathsep.join([*map(str, also), folders]))
    if found is None:
        place = "" if only is None else f" in {only.replace(':', ' or ')}"
        package = PACKAGES.get(program, program)
        lack(f"'{program}' is not installed{place} (Debian: apt-get install {package})")
    return Path(found)


def lack(why: str) -> NoReturn:
    """Skip the test for this reason, or fail it where PILOTLINE_CI promises that all is there."""
    if os.environ.get("PILOTLINE_CI"):
        pytest.fail(f"PILOTLINE_CI is set, but {why}.")
    pytest.skip(why)


def own_mounts() -> list[str]:
    """Return the command before one that may mount; skip where this user may not."""
    require("mount")
    unshare = str(require("unshare"))
    command = [unshare, "-m"] if os.geteuid() == 0 else [unshare, "-r", "-m"]
    trial = subprocess.run(
        [*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if trial.returncode:
        pytest.skip(f"this user may not mount a folder of their own ({trial.stderr.strip()})")
    return command
