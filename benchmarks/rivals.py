"""Other libraries, each in an environment of its own that uv makes under .venv."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pilotline.tasks.certificates import trusting

ROOT = Path(__file__).parent.parent
# What each needs beside itself: Evidently 0.7.23 cannot be imported beside pandas 3, and neither
# can NannyML 0.13, which imports statsmodels without asking for it.
EVIDENTLY = ("evidently>=0.7,<0.8", "pandas<3", "pyarrow")
NANNYML = ("nannyml>=0.13,<0.14", "pandas<3", "pyarrow", "statsmodels")


def make_environment(name: str, packages: tuple[str, ...]) -> Path:
    """Return the Python of the environment ``name``, with the packages in it.

    Raises:
        CalledProcessError: they cannot be installed.
    """
    uv, folder = Path(sys.executable).parent / "uv", ROOT / ".venv" / f"bench-{name}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, *packages]
    subprocess.run(install, env=trusting(os.environ), check=True)
    return python


def ask(python: Path, script: str, *words: str) -> dict[str, Any]:
    """Return the JSON that a script of this folder prints last when that Python runs it.

    Raises:
        RuntimeError: it failed.
    """
    # One thread each: more would compare machines, not ways. And nobody is told of our runs.
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "DO_NOT_TRACK"), "1")
    variables["NML_DISABLE_USAGE_LOGGING"] = "1"
    done = subprocess.run(
        [python, ROOT / "benchmarks" / script, *words],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT) if python == Path(sys.executable) else "",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
