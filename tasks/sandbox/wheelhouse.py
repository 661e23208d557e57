"""The wheels of a lock, kept as blobs: the same environment without a cache or an index."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from pilotline.registry import Registry
from pilotline.registry.record import Wheel, find_wheels, put_wheel, read_lock
from pilotline.tasks.errors import EnvironmentBuildError

DOWNLOAD_TIMEOUT_S = 900


@dataclass(frozen=True)
class Locked:
    """One package of a lock that this machine needs."""

    requirement: str  # name==version, without marker
    hashes: frozenset[str]  # SHA-256 of the files it may come from


class Wheelhouse:
    """The wheels that a registry keeps, and how more come to be kept.

    Args:
        registry: keeps them.
        scratch: folder in which downloads lie until they are kept.
    """

    def __init__(self, registry: Registry, scratch: Path) -> None:
        self._registry = registry
        self._scratch = scratch

    def lay_out(self, lock: bytes, folder: Path) -> int:
        """Write the kept wheels of ``lock`` into ``folder``, hashed again; return how many.

        What is kept under a name of another package is not among them.

        Raises:
            MissingBlobError, DigestMismatchError: the blob store is damaged.
            EnvironmentBuildError: the folder cannot be written.
        """
        kept = self._kept(lock)
        for wheel in kept:
            data = self._registry.blobs.get(wheel.sha256)
            try:
                (folder / wheel.filename).write_bytes(data)
            except OSError as err:
                raise EnvironmentBuildError(
                    wheel.filename,
                    f"no room to lay it out in {str(folder)!r} ({err.strerror})",
                    "Free space on the disk of the scratch folder.",
                ) from err
        return len(kept)

    def missing(self, lock: bytes) -> list[Locked]:
        """Return the packages of ``lock`` that this machine needs and no kept wheel gives."""
        tags = frozenset(sys_tags())
        fitting = {wheel.sha256 for wheel in self._kept(lock) if _fits(wheel.filename, tags)}
        return [package for package in locked_packages(lock) if not package.hashes & fitting]

    def keep(self, lock: bytes, model: str, say: Callable[[str], None]) -> int:
        """Download what is missing of ``lock``, check its hashes and keep it; return how many.

        Raises:
            EnvironmentBuildError: a package is gone, has another hash or no wheel, or there is no
                index.
            StoreError: the blob store cannot be written.
        """
        missing = self.missing(lock)
        if not missing:
            return 0
        self._scratch.mkdir(parents=True, exist_ok=True)
        prefix = f"run-{os.getpid()}-wheels-"  # swept like any scratch folder of the dead
        with TemporaryDirectory(dir=self._scratch, prefix=prefix) as folder:
            _download(model, missing, Path(folder))
            wheels = sorted(Path(folder).glob("*.whl"))
            size = sum(path.stat().st_size for path in wheels)
            self._put(wheels)
        say(f"keeping {len(wheels)} wheels of its lock, {size / 1e6:,.0f} MB")
        return len(wheels)

    def _put(self, wheels: list[Path]) -> None:
        kept = []
        for path in wheels:
            data = path.read_bytes()
            digest = self._registry.blobs.put(data)
            kept.append(Wheel(sha256=digest, filename=path.name, size=len(data)))
        with self._registry.write() as session:
            for wheel in kept:
                put_wheel(session, wheel)

    def _kept(self, lock: bytes) -> list[Wheel]:
        with self._registry.read() as session:
            return find_wheels(session, lock)


def locked_packages(lock: bytes) -> list[Locked]:
    """Return the packages of ``lock`` whose marker holds on this machine.

    What is no requirement with hashes is passed over: the build refuses it with its own words.
    """
    found = []
    for package in read_lock(lock):
        wanted = package.requirement
        if wanted.marker is None or wanted.marker.evaluate():
            found.append(Locked(f"{wanted.name}{wanted.specifier}", package.hashes))
    return found


def _fits(filename: str, tags: frozenset[Tag]) -> bool:
    try:
        return not tags.isdisjoint(parse_wheel_filename(filename)[3])
    except InvalidWheelFilename:
        return False


def _download(model: str, packages: list[Locked], folder: Path) -> None:
    """Let pip fetch exactly these files: uv installs, but has no command that downloads."""
    lines = []
    for package in packages:
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in sorted(package.hashes))
        lines.append(f"{package.requirement} {hashes}\n")
    wanted = folder / "wanted.txt"
    wanted.write_text("".join(lines))
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=_index_settings(),
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise EnvironmentBuildError(
            model, f"pip did not finish in {DOWNLOAD_TIMEOUT_S} s", "Check the network."
        ) from err
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise EnvironmentBuildError(
            model,
            " ".join(said)[:400] or f"pip ended with status {done.returncode}",
            "Its wheels are not kept; check the index, or set [environment] keep_wheels = false.",
        )


def _index_settings() -> dict[str, str]:
    """Return this process's variables; where only uv is told of an index, pip is told of it too."""
    variables = dict(os.environ)
    for named in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if variables.get(named):
            variables.setdefault("PIP_INDEX_URL", variables[named])
    return variables
