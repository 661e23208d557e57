"""Run the quick tests on every Python that pilotline supports and uv finds on this machine."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.places import ROOT

VERSIONS = ("3.11", "3.12", "3.13", "3.14")  # requires-python in pyproject.toml
UV = Path(sys.executable).with_name("uv")


def main() -> int:
    """Run them one after the other and return 1 if any failed."""
    failed = []
    for version in VERSIONS:
        asked = [str(UV), "python", "find", "--no-python-downloads", "--no-project", version]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode:
            print(f"Python {version}: not installed, not tried", flush=True)
        elif not _passes(found.stdout.strip()):
            failed.append(version)
    if failed:
        print(f"Failed on Python {', '.join(failed)}.", file=sys.stderr)
    return int(bool(failed))


def _passes(interpreter: str) -> bool:
    """Tell whether the quick tests pass in a new environment of ``interpreter``."""
    print(f"== {interpreter}", flush=True)
    with tempfile.TemporaryDirectory(prefix="pilotline-python-") as folder:
        python = Path(folder) / "bin" / "python"
        lock = ["--require-hashes", "-r", "requirements-dev.lock"]
        into = ["--python", str(python)]
        ours = ["--no-deps", "--no-build-isolation"]  # setuptools is in the lock
        steps: list[list[str | Path]] = [
            [UV, "venv", "--quiet", "--python", interpreter, "--no-python-downloads", folder],
            [UV, "pip", "install", "--quiet", *into, *lock],
            [UV, "pip", "install", "--quiet", *ours, *into, "--editable", "."],
            [python, "-m", "tests.support.suite.run", "quick"],
        ]
        return all(subprocess.run(step, cwd=ROOT, check=False).returncode == 0 for step in steps)


if __name__ == "__main__":
    sys.exit(main())
