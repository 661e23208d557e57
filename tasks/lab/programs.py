"""A model's own scoring program, in any language: its command and files, read but never run."""

import os
import shutil
from pathlib import Path

from pilotline.tasks.errors import EnvironmentBuildError, LabError
from pilotline.tasks.lab.toml_table import Table

FOLDER = "runner/"  # where a model folder, and a version, keep the program's files
SEARCHED = "/usr/bin:/bin"  # where a child finds programs, under every tier
MAX_FILES = 10_000  # apache-arrow for Node.js with all it needs has 1,400
MAX_BYTES = 256 << 20  # read whole by every run
PLAIN = "Keep plain files and folders only; npm makes no links with --no-bin-links."


def read_command(table: Table) -> tuple[str, ...]:
    """Return the command that ``[runner]`` names.

    Raises:
        LabError: it is no command, or leads out of the folder.
    """
    command = table.only("command").names("command")
    if not command or not all(command) or any("\0" in word for word in command):
        raise LabError(
            table.where, f"command is {list(command)!r}", 'Write command = ["node", "score.js"].'
        )
    name = command[0]
    if "/" in name and not name.startswith("./"):
        raise LabError(
            table.where,
            f"command starts {name!r}",
            f"Write the name of a program in {SEARCHED}, or ./FILE for one of {FOLDER}.",
        )
    return command


def read_program(folder: Path, command: tuple[str, ...], where: str) -> dict[str, bytes]:
    """Return the files of ``folder/runner/``, path -> bytes; none where there is no command.

    Raises:
        LabError: something there is no plain file, there is too much, or what is to run is missing.
    """
    root = folder / FOLDER.rstrip("/")
    if not command:
        if os.path.lexists(root):
            raise LabError(
                f"{where}/{FOLDER}", "model.toml has no [runner]", "Name its command, or remove it."
            )
        return {}
    if root.is_symlink() or not root.is_dir():
        raise LabError(f"{where}/{FOLDER}", "the folder is missing", "Put the program there.")
    files: dict[str, bytes] = {}
    for path in _list_files(root, f"{where}/{FOLDER}"):
        files[FOLDER + path.relative_to(root).as_posix()] = path.read_bytes()
    started = program_file(command)
    if started is not None and started not in files:
        raise LabError(f"{where}/{started}", "the file is missing", "The [runner] command runs it.")
    return files


def program_file(command: tuple[str, ...]) -> str | None:
    """Return the version's file that ``command`` runs, None where it is a program of the system."""
    name = command[0]
    return FOLDER + name.removeprefix("./") if name.startswith("./") else None


def require_program(model: str, command: tuple[str, ...]) -> None:
    """Do nothing if this machine has the program that ``command`` names.

    Raises:
        EnvironmentBuildError: it has not.
    """
    if program_file(command) is None and shutil.which(command[0], path=SEARCHED) is None:
        raise EnvironmentBuildError(
            model,
            f"its [runner] command runs {command[0]!r}, which is not in {SEARCHED} of this machine",
            "Install it there, or keep the program in runner/ and start it with ./FILE.",
        )


def _list_files(root: Path, where: str) -> list[Path]:
    found: list[Path] = []
    size = 0

    def refuse(err: OSError) -> None:
        raise LabError(where, f"cannot be read ({err})", "Mend its rights.") from err

    for base, folders, names in os.walk(root, onerror=refuse):
        for name in (*folders, *names):
            path = Path(base) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise LabError(f"{where}{path.relative_to(root)}", "no plain file", PLAIN)
            if "\\" in name or not name.isprintable():
                raise LabError(where, f"holds a file named {name!r}", "Rename it.")
        found += [Path(base) / name for name in names]
        size += sum((Path(base) / name).stat().st_size for name in names)
        if len(found) > MAX_FILES or size > MAX_BYTES:
            limit = f"{MAX_FILES:,} files or {MAX_BYTES >> 20} MiB"
            raise LabError(where, f"holds more than {limit}", "Bundle the program into one file.")
    return sorted(found)
