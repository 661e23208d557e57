"""The example's lab, laid out where somebody begins with nothing."""

import shutil
import uuid
from pathlib import Path

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.shipped import LAB

LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.pyc")  # pip compiles what it installs


def copy_lab(folder: Path) -> Path:
    """Return ``folder / "lab"``, a copy of the lab that comes with the package.

    It gets its name only when it is complete.

    Raises:
        SettingsError: it cannot be written there.
    """
    lab, unfinished = folder / "lab", folder / f".lab.{uuid.uuid4().hex}"
    try:
        shutil.copytree(LAB, unfinished, ignore=LEFT_BEHIND)
        unfinished.rename(lab)
    except OSError as err:
        # shutil.Error, of several files, has no one reason
        problem = f"cannot take the example's lab ({err.strerror or 'not every file was copied'})"
        remedy = "Run in another folder, or set PILOTLINE_LAB to a lab."
        raise SettingsError(f"Folder {str(folder)!r}", problem, remedy) from err
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return lab
