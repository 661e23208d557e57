"""Transient environments: built fresh from a lock with hashes, offline, and torn down."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from pilotline.registry.form import digest_bytes
from pilotline.tasks.certificates import trusting
from pilotline.tasks.errors import EnvironmentBuildError
from pilotline.tasks.sandbox.wheelhouse import Wheelhouse

BUILD_TIMEOUT_S = 900  # a cold build downloads about 130 MB
# uv obeys options and fetches what an address names, hashes or not: neither belongs in a lock.
_PIN = re.compile(
    r"[A-Za-z0-9][\w.-]*(\[[\w., -]*\])?\s*==\s*[\w.!+-]+\s*(;.*?)?(\s+--hash=\w+:[0-9a-f]+)+",
    re.ASCII,
)
_REMAKE = "Make the lock again: uv pip compile --universal --generate-hashes model.py."
ORIGINS = ("cache", "kept wheels", "index")  # asked in this order
SAID_CHARACTERS = 400
_HINTS = (
    ("no space left", "Free space on the disk of the scratch folder."),
    ("hash mismatch", "A package was changed at its source; make the lock again."),
    ("no solution", "A locked package is gone or has no wheel for this Python."),
    ("not found in the package registry", "A locked package is gone; make the lock again."),
    (
        "invalid peer certificate",
        "This machine does not trust the index: put its certificate into the system's store, or "
        "name its file in SSL_CERT_FILE.",
    ),
    ("error sending request", "No index answers, and not all wheels are kept; check the network."),
)


@dataclass(frozen=True)
class Environment:
    """One built environment and the scratch folder it stands in."""

    folder: Path  # scratch; holds env/, work/ and out/
    python: Path
    lock_digest: str
    build_s: float
    origin: str  # of its packages: one of ORIGINS
    teardown_s: list[float] = field(default_factory=list)  # filled when it is gone


def interpreter() -> str:
    """Return this interpreter as manifests name it."""
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


def machine() -> str:
    """Return this platform as manifests and verifications name it."""
    facts = os.uname()
    return f"{facts.sysname.lower()} {facts.machine}"


@contextmanager
def built_environment(
    scratch: Path,
    model: str,
    lock: bytes,
    *,
    walled: bool = True,
    wheelhouse: Wheelhouse | None = None,
) -> Iterator[Environment]:
    """Build an environment from ``lock``, give it, and tear it down in every case.

    The warm cache is asked first, then the wheels that the registry keeps, and the network only
    where a package is in neither; all check every hash, and no package is ever built from source.

    Args:
        scratch: where its folder is made.
        model: for messages.
        lock: ``requirements.lock``.
        walled: whether the child sees it read-only. If not, its files are copies: as links into
            into uv's cache, a write in one would change every later environment, past all hashes.
        wheelhouse: the wheels that are kept.

    Raises:
        EnvironmentBuildError: a package is gone, has another hash or no wheel.
    """
    started = time.perf_counter()
    folder = _make_scratch(scratch)
    environment: Environment | None = None
    try:
        (folder / "work").mkdir()
        (folder / "out").mkdir()
        lock_path = folder / "requirements.lock"
        lock_path.write_bytes(lock)
        origin = _build(folder, model, lock_path, "hardlink" if walled else "copy", wheelhouse)
        environment = Environment(
            folder=folder,
            python=folder / "env" / "bin" / "python",
            lock_digest=digest_bytes(lock),
            build_s=time.perf_counter() - started,
            origin=origin,
        )
        yield environment
    finally:
        started = time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        if environment is not None:
            environment.teardown_s.append(time.perf_counter() - started)


def install_tools(environment: Environment, model: str, lock: bytes, *, walled: bool) -> Path:
    """Install what ``lock`` pins into a folder beside the environment and return that folder.

    The environment itself stays what the model's own lock says.

    Raises:
        EnvironmentBuildError: a package is gone, has another hash or no wheel.
    """
    path, target = environment.folder / "tools.lock", environment.folder / "tools"
    path.write_bytes(lock)
    install = ["pip", "install", "--python", str(environment.python), "--target", str(target)]
    install += ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    install += ["--link-mode", "hardlink" if walled else "copy", "-r", str(path)]
    try:
        _uv(model, [*install, "--offline"])
    except EnvironmentBuildError:
        _uv(model, install)
    return target


def sweep_scratch(scratch: Path) -> int:
    """Remove what processes that died left in ``scratch``; return how many folders."""
    removed = 0
    for folder in scratch.glob("run-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not _runs(pid):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _runs(pid: str) -> bool:
    """Tell whether a process goes on; one that ended may stay listed until its parent asks."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's, where the system hides those
        return True
    return state not in (b"Z", b"X")


def _make_scratch(scratch: Path) -> Path:
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        if Path("/proc").is_dir():
            sweep_scratch(scratch)
        return Path(mkdtemp(dir=scratch, prefix=f"run-{os.getpid()}-"))
    except OSError as err:
        raise EnvironmentBuildError(
            str(scratch), f"no scratch folder ({err.strerror})", "Free space or fix its rights."
        ) from err


def _build(
    folder: Path, model: str, lock: Path, link_mode: str, wheelhouse: Wheelhouse | None
) -> str:
    """Build ``folder/env`` and return where its packages came from."""
    _refuse_strange(model, lock.read_bytes())
    env = folder / "env"
    base = getattr(sys, "_base_executable", sys.executable)
    _uv(model, ["venv", "--no-project", "--offline", "--python", str(base), str(env)])
    sync = ["pip", "sync", "--python", str(env), "--require-hashes", "--only-binary", ":all:"]
    sync += ["--link-mode", link_mode]
    with suppress(EnvironmentBuildError):
        _uv(model, [*sync, "--offline", str(lock)])
        return "cache"
    if wheelhouse is not None:
        with TemporaryDirectory(dir=folder) as wheels, suppress(EnvironmentBuildError):
            if wheelhouse.lay_out(lock.read_bytes(), Path(wheels)):
                _uv(model, [*sync, "--offline", "--no-index", "--find-links", wheels, str(lock)])
                return "kept wheels"
    _uv(model, [*sync, str(lock)])
    return "index"


def _refuse_strange(model: str, lock: bytes) -> None:
    """Do nothing if the lock is a list of packages, each with its version and hashes."""
    for line in lock.decode("utf-8", "replace").replace("\\\n", " ").splitlines():
        entry = line.partition(" #")[0].strip()
        if entry and not entry.startswith("#") and not _PIN.fullmatch(entry):
            raise EnvironmentBuildError(
                model, f"its lock says {entry[:80]!r}, expected name==version and hashes", _REMAKE
            )


def _uv(model: str, arguments: list[str]) -> None:
    import uv

    command = [uv.find_uv_bin(), "--quiet", "--no-python-downloads", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=trusting(os.environ),
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise EnvironmentBuildError(
            model, f"uv did not finish in {BUILD_TIMEOUT_S} s", "Check the network."
        ) from err
    if done.returncode:
        raise EnvironmentBuildError(model, *_explain(done.stderr))


def _explain(stderr: str) -> tuple[str, str]:
    lines = [line.strip(" ×╰─▶│├") for line in stderr.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("warning")]
    said = " ".join(lines) or "uv gave no reason"
    if len(said) > SAID_CHARACTERS:  # what failed comes first, and why last
        half = SAID_CHARACTERS // 2
        said = f"{said[:half]} ... {said[-half:]}"
    lowered = said.casefold()
    for sign, remedy in _HINTS:
        if sign in lowered:
            return said, remedy
    return said, _REMAKE
