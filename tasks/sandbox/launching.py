"""Starting a model's process in a built environment: its files, settings and limits."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path, PurePath
from typing import Any

from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab import (
    ARTIFACT,
    FOLDER,
    MAX_PAGE_BYTES,
    NOTEBOOK,
    ModelFolder,
    program_file,
    require_program,
)
from pilotline.tasks.sandbox.child import Child
from pilotline.tasks.sandbox.environments import Environment, interpreter
from pilotline.tasks.sandbox.walls import (
    Launch,
    Places,
    Tier,
    compile_bytecode,
    launch_program,
    launch_python,
)

MAX_ARTIFACT_BYTES = 4 << 30
SCRATCH_FILE_BYTES = 1 << 30  # the largest file a scoring child may write, in its own memory disk


@dataclass(frozen=True)
class Desk:
    """What one child works with: where its files lie, and which program it is."""

    base: Path  # holds its model/, work/ and out/
    program: str = "harness.py"  # seen from this room
    tools: Path | None = None  # packages beside the environment's
    name: str = ""  # sets its compiled imports apart from other children's of the same lock
    command: tuple[str, ...] = ()  # of the model's own program, in place of ours


@dataclass(frozen=True)
class Room:
    """Where a model's processes run: an environment, a tier, a home."""

    home: Home
    environment: Environment
    tier: Tier


@contextmanager
def scoring_child(
    room: Room, folder: ModelFolder, artifact: Mapping[str, bytes], place: str = ""
) -> Iterator[Child]:
    """Give a child that holds the trained model; end it in every case.

    Args:
        room: where it runs.
        folder: of the model.
        artifact: what training saved, path -> content.
        place: a folder of the room's that is its own, so that others may run beside it.

    Raises:
        ChildError: it did not end cleanly.
        EnvironmentBuildError: this machine lacks the program its command names.
    """
    command = folder.spec.command
    desk = Desk(room.environment.folder / place, command=command)
    (desk.base / "work").mkdir(parents=True, exist_ok=True)
    trained = {ARTIFACT + path: data for path, data in artifact.items()}
    if command:
        require_program(folder.spec.name, command)
        _lay_out(desk, _program_files(folder) | trained, program_file(command))
    else:
        _lay_out(desk, _scripts(folder) | trained)
    settings = {
        "mode": "score",
        "params": folder.spec.params,
        "memory_bytes": folder.spec.budget.memory_mib << 20,
        "file_bytes": SCRATCH_FILE_BYTES,
    }
    with _child(room, folder, desk, None, settings) as child:
        yield child


@contextmanager
def training_child(room: Room, folder: ModelFolder) -> Iterator[Child]:
    """Give a child that trains; what it saved is read by ``collect_artifact`` afterwards."""
    desk = Desk(room.environment.folder)
    _lay_out(desk, _scripts(folder))
    limits = {"file_bytes": MAX_ARTIFACT_BYTES}
    told = {"params": folder.spec.params, "target": folder.spec.target}
    settings = {"mode": "train", **told, **limits}
    with _child(room, folder, desk, desk.base / "out", settings) as child:
        yield child


@contextmanager
def judging_child(room: Room, folder: ModelFolder, marker: str) -> Iterator[Child]:
    """Give a child that runs the model's own ``metrics`` on rows it is fed.

    Args:
        room: where it runs.
        folder: of the model.
        marker: what names of predicted columns begin with, beside those of the actuals.
    """
    desk = Desk(room.environment.folder)
    _lay_out(desk, _scripts(folder))
    settings = {
        "mode": "metrics",
        "marker": marker,
        "params": folder.spec.params,
        "memory_bytes": folder.spec.budget.memory_mib << 20,
        "file_bytes": SCRATCH_FILE_BYTES,
    }
    with _child(room, folder, desk, None, settings) as child:
        yield child


@contextmanager
def notebook_child(
    room: Room, folder: ModelFolder, desk: Desk, contents: Mapping[str, bytes], notebook: bytes
) -> Iterator[Child]:
    """Give a child that executes ``notebook``; its page is in the desk's ``out/`` afterwards.

    Args:
        room: where it runs.
        folder: of the model.
        desk: its own, so that another child of the room may run beside it.
        contents: path -> bytes of what the notebook finds in its working folder.
        notebook: ``notebook.ipynb``.
    """
    shutil.rmtree(desk.base, ignore_errors=True)
    _lay_out(desk, contents)
    for name in ("work", "out"):
        (desk.base / name).mkdir()
    (desk.base / "work" / NOTEBOOK).write_bytes(notebook)
    settings = {"max_output_bytes": MAX_PAGE_BYTES, "file_bytes": SCRATCH_FILE_BYTES}
    with _child(room, folder, desk, desk.base / "out", settings) as child:
        yield child


def collect_artifact(environment: Environment, model: str) -> dict[str, bytes]:
    """Return what the training child saved, path -> content; links and devices are refused.

    Raises:
        ChildError: it saved nothing, too much, or something that is no plain file.
    """
    root = environment.folder / "out"
    found: dict[str, bytes] = {}
    size = 0
    for base, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(base) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ChildError(model, f"saved {name!r}, which is no plain file")
        for name in names:
            path = Path(base) / name
            size += path.stat().st_size
            if size > MAX_ARTIFACT_BYTES:
                raise ChildError(model, f"saved more than {MAX_ARTIFACT_BYTES >> 30} GiB")
            found[path.relative_to(root).as_posix()] = path.read_bytes()
    if not found:
        raise ChildError(model, "saved nothing; save must write into the folder it is given")
    return found


def _scripts(folder: ModelFolder) -> dict[str, bytes]:
    return {
        path: data
        for path, data in folder.files.items()
        if path.endswith(".py") and not path.startswith(FOLDER)
    }


def _program_files(folder: ModelFolder) -> dict[str, bytes]:
    return {path: data for path, data in folder.files.items() if path.startswith(FOLDER)}


def _lay_out(desk: Desk, contents: Mapping[str, bytes], executable: str | None = None) -> None:
    """Write the files the child reads, fresh for each one."""
    root = desk.base / "model"
    shutil.rmtree(root, ignore_errors=True)
    for path, data in contents.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    if executable is not None:
        (root / executable).chmod(0o755)


@contextmanager
def _child(
    room: Room,
    folder: ModelFolder,
    desk: Desk,
    out: Path | None,
    settings: Mapping[str, Any],
) -> Iterator[Child]:
    environment, work = room.environment, desk.base / "work"
    compiled = f"{environment.lock_digest[:16]}-{interpreter()}{desk.name}".replace(" ", "-")
    bytecode = room.home.bytecode / compiled
    places = Places(
        environment=environment.folder / "env",
        model=desk.base / "model",
        work=work,
        out=out,
        bytecode=bytecode if bytecode.is_dir() else None,
        tools=desk.tools,
    )
    launch = _launch(room.tier, places, desk, settings)
    control = os.pipe()
    facts = dict(settings) | {
        "model": launch.model,
        "artifact": f"{launch.model}/{ARTIFACT.rstrip('/')}",
        "out": launch.out,
        "work": launch.work,
        "tools": launch.tools,
        "control_fd": control[1],
        "outputs": dict(folder.spec.predictions),
    }
    (work / "settings.json").write_text(json.dumps(facts), "utf-8")
    child = Child(folder.spec.name, launch, control, folder.spec.budget.deadline_s)
    with child:
        yield child
        child.finish()
    if not desk.command:
        imported = child.usage.imported
        compile_bytecode(room.tier, environment.folder / "env", bytecode, imported, desk.tools)


def _launch(tier: Tier, places: Places, desk: Desk, settings: Mapping[str, Any]) -> Launch:
    if desk.command:
        limits = settings["memory_bytes"], settings["file_bytes"]
        return launch_program(tier, places, desk.command, *limits)
    path = PurePath(desk.program)
    program = package_files(__package__).joinpath(*path.parts).read_bytes()
    (places.work / path.name).write_bytes(program)
    return launch_python(tier, places, path.name)
