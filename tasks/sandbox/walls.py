"""Isolation of a model's process: tier A under bubblewrap, tier C without."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pilotline.registry.gates import TIERS
from pilotline.tasks.errors import IsolationError
from pilotline.tasks.lab import FOLDER, SEARCHED

NO_BOUNDARY = "tier C is a convenience, no boundary: the model's code runs as this user"
# One thread a child: two were 3.5 times slower on a busy machine, and bytes must not depend on it.
CHILD_VARIABLES = {
    "PATH": SEARCHED,
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "LOKY_MAX_CPU_COUNT": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve memory that the limit counts
}
MAX_SOURCES = 20_000
SCRATCH_BYTES = 1 << 30  # of a walled child's own /tmp
SHARED_BYTES = 64 << 20  # of its /dev/shm
SYSTEM_FOLDERS = ("usr", "lib", "lib32", "lib64", "bin", "sbin")
# The harness limits itself; for any other program a shell does it and then becomes that program.
# POSIX counts data in KiB and files in blocks of 512 bytes.
LIMITED = 'cd "$1" && ulimit -c 0 && ulimit -d "$2" && ulimit -f "$3" && shift 3 && exec "$@"'


@dataclass(frozen=True)
class Tier:
    """How well a child is kept apart here, found out by running."""

    name: str  # A or C
    why: str

    @property
    def walled(self) -> bool:
        """Whether it is a boundary."""
        return self.name == "A"


@dataclass(frozen=True)
class Places:
    """The folders a child may see."""

    environment: Path
    model: Path  # the version's files, read-only
    work: Path  # the harness and its settings, read-only
    out: Path | None  # writable; for training only
    bytecode: Path | None  # compiled imports, read-only
    tools: Path | None = None  # packages beside the environment's, read-only


@dataclass(frozen=True)
class Launch:
    """A command line, its variables, and where the child finds its places."""

    command: list[str]
    variables: dict[str, str]
    model: str
    work: str
    out: str | None
    tools: str | None = None


@cache
def probe_isolation() -> Tier:
    """Return the tier this machine gives, by starting a child in it."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Tier("C", "bubblewrap is not installed")
    command = [bwrap, *_wall(), *_system(), "--", "/bin/sh", "-c", "exit 0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Tier("C", f"bubblewrap cannot start here ({done.stderr.strip()[:160]})")
    return Tier("A", "bubblewrap: no network, read-only system, own processes")


def require_isolation(minimum: str) -> Tier:
    """Return this machine's tier if it is at least ``minimum``.

    Raises:
        IsolationError: it is weaker.
    """
    tier = probe_isolation()
    if TIERS.index(tier.name) > TIERS.index(minimum):
        raise IsolationError(tier.name, minimum, tier.why)
    return tier


def launch_python(tier: Tier, places: Places, program: str = "harness.py") -> Launch:
    """Return how to start ``program``, a file of the work folder, in ``places`` under ``tier``.

    Under A the folders stand at fixed paths, so that compiled bytecode fits every run.
    """
    if tier.name == "A":
        return _launch_walled(places, program)
    command = [str(places.environment / "bin" / "python"), "-I", "-B"]
    variables = CHILD_VARIABLES | {"HOME": str(places.work), "TMPDIR": str(places.out or "/tmp")}
    return Launch(
        [*command, str(places.work / program), str(places.work / "settings.json")],
        variables,
        str(places.model),
        str(places.work),
        str(places.out) if places.out else None,
        str(places.tools) if places.tools else None,
    )


def launch_program(
    tier: Tier, places: Places, command: Sequence[str], memory_bytes: int, file_bytes: int
) -> Launch:
    """Return how to start a model's own scoring program in its folder under ``tier``.

    It gets the path of its settings as the last argument, and sees no Python environment.

    Args:
        tier: how well it is kept apart.
        places: where the version's files and the settings lie.
        command: the program and its arguments.
        memory_bytes: the most data it may hold.
        file_bytes: the largest file it may write.
    """
    walled = tier.name == "A"
    model, work = ("/model", "/work") if walled else (str(places.model), str(places.work))
    limited = ["/bin/sh", "-c", LIMITED, "sh", f"{model}/{FOLDER}"]
    limited += [str(memory_bytes >> 10), str(file_bytes >> 9)]
    words = [*limited, *command, f"{work}/settings.json"]
    if not walled:
        variables = CHILD_VARIABLES | {"HOME": str(places.work), "TMPDIR": "/tmp"}
        return Launch(words, variables, model, work, None)
    binds = ["--ro-bind", str(places.model), model, "--ro-bind", str(places.work), work]
    # Debian's /usr/bin/java and others are links through there.
    binds += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"]
    return Launch([*_walled(binds), *words], {}, model, work, None)


def _launch_walled(places: Places, program: str) -> Launch:
    binds = ["--ro-bind", str(places.environment), "/env", "--ro-bind", str(places.model), "/model"]
    binds += ["--ro-bind", str(places.work), "/work"]
    python = ["/env/bin/python", "-I", "-B"]
    if places.out:
        binds += ["--bind", str(places.out), "/out"]
    if places.tools:
        binds += ["--ro-bind", str(places.tools), "/tools"]
    if places.bytecode:
        binds += ["--ro-bind", str(places.bytecode), "/bytecode"]
        python += ["-X", "pycache_prefix=/bytecode"]
    return Launch(
        [*_walled(binds), *python, f"/work/{program}", "/work/settings.json"],
        {},
        "/model",
        "/work",
        "/out" if places.out else None,
        "/tools" if places.tools else None,
    )


def _walled(binds: Sequence[str]) -> list[str]:
    """Return the words in front of a command that runs behind the wall, with ``binds`` in it."""
    variables = CHILD_VARIABLES | {"HOME": "/tmp"}
    settings = [word for item in variables.items() for word in ("--setenv", *item)]
    bwrap = shutil.which("bwrap") or "bwrap"
    words = [bwrap, *_wall(), *_system(), *binds, "--remount-ro", "/"]
    return [*words, *settings, "--chdir", "/tmp", "--"]


def compile_bytecode(
    tier: Tier,
    environment: Path,
    target: Path,
    sources: Sequence[str],
    tools: Path | None = None,
) -> None:
    """Compile ``sources`` into ``target``, which the children of one lock then read.

    Only source text is read, by an interpreter without site packages: no model code runs, so
    what is compiled can be trusted as far as the packages' hashes. Each file carries the hash of
    its source, which the importing interpreter checks.

    Args:
        tier: A only; without fixed paths bytecode fits no second run.
        environment: the built environment.
        target: folder to make; it appears whole or not at all.
        sources: paths as the child saw them.
        tools: the packages beside the environment's, where the child had some.
    """
    if tier.name != "A" or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f"{target.name}.{os.getpid()}")
    building.mkdir(exist_ok=True)
    script = (
        "import py_compile, sys\n"
        "mode = py_compile.PycInvalidationMode.CHECKED_HASH\n"
        "for line in sys.stdin:\n"
        "    try:\n"
        "        py_compile.compile(line.rstrip('\\n'), doraise=True, invalidation_mode=mode)\n"
        "    except (OSError, py_compile.PyCompileError):\n"
        "        pass\n"
    )
    command = [shutil.which("bwrap") or "bwrap", *_wall(), *_system()]
    command += ["--ro-bind", str(environment), "/env", "--bind", str(building), "/bytecode"]
    command += ["--ro-bind", str(tools), "/tools"] if tools else []
    command += ["--", "/env/bin/python", "-I", "-S", "-X", "pycache_prefix=/bytecode", "-c", script]
    # The list is the child's word: nothing else is read.
    known = ("/env/", "/tools/", f"{sys.base_prefix}/")
    listed = "\n".join(path for path in sources[:MAX_SOURCES] if path.startswith(known))
    done = subprocess.run(
        command, input=listed, text=True, capture_output=True, env={}, check=False
    )
    if done.returncode == 0:
        with contextlib.suppress(OSError):  # another run was first
            building.rename(target)
    shutil.rmtree(building, ignore_errors=True)


def _wall() -> list[str]:
    return [
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
        "--hostname",
        "pilotline",
    ]


def _system() -> list[str]:
    """Return the read-only system: libraries, and the interpreter the environment points at."""
    words = []
    for name in SYSTEM_FOLDERS:
        folder = Path("/") / name
        if folder.is_symlink():
            words += ["--symlink", os.readlink(folder), str(folder)]
        elif folder.is_dir():
            words += ["--ro-bind", str(folder), str(folder)]
    words += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        words += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    # These are memory that no limit of the process counts.
    words += ["--proc", "/proc", "--dev", "/dev"]
    words += ["--size", str(SHARED_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    return [*words, "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp"]
