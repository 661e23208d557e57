"""The registry is light: it is useful in a notebook without the factory around it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from registry import __file__ as package

EVERYTHING = """
import importlib, json, pkgutil, sys
import registry
for module in pkgutil.iter_modules(registry.__path__, "registry."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def test_importing_the_registry_pulls_in_nothing_heavy(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(package).parents[1])},
    )
    loaded = set(json.loads(said.stdout))
    assert "registry.promotions" in loaded
    heavy = {"prefect", "pandas", "great_expectations", "numpy", "pyarrow", "deltalake", "alembic"}
    assert loaded & (heavy | {"tasks", "flows", "boto3", "fastapi"}) == set()
    assert list(tmp_path.iterdir()) == []  # and made nothing
