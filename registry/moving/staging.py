"""The folder in which an import is checked, and what killed imports left of theirs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

PREFIX = "pilotline-import-"  # then the process's number


@contextmanager
def staging_folder() -> Iterator[Path]:
    """Give an empty folder that is gone at the end; what killed imports left goes first."""
    if Path("/proc").is_dir():
        sweep_staging(Path(gettempdir()))
    with TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)


def sweep_staging(folder: Path) -> int:
    """Remove the caller's own folders in ``folder`` whose process died; return how many."""
    removed = 0
    for left in folder.glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and _is_own_folder(left):
            shutil.rmtree(left, ignore_errors=True)
            removed += 1
    return removed


def _is_own_folder(path: Path) -> bool:
    """Tell whether ``path`` is a folder of this user's, as others write in there too."""
    try:
        return path.is_dir() and not path.is_symlink() and path.lstat().st_uid == os.getuid()
    except FileNotFoundError:  # another process was faster
        return False
