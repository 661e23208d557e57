"""The registry is light: it is useful in a notebook without the factory around it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.places import ROOT

EVERYTHING = """
import importlib, json, pkgutil, sys
import pilotline.registry
for module in pkgutil.walk_packages(pilotline.registry.__path__, "pilotline.registry."):
    if not module.name.startswith("pilotline.registry.migrations."):  # run where one is needed
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
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = set(json.loads(said.stdout))
    assert "pilotline.registry.gates.promotions" in loaded
    heavy = {"prefect", "pandas", "great_expectations", "numpy", "pyarrow", "deltalake", "alembic"}
    assert loaded & (heavy | {"boto3", "fastapi"}) == set()
    assert not [name for name in loaded if name.startswith(("pilotline.tasks", "pilotline.flows"))]
    assert list(tmp_path.iterdir()) == []  # and made nothing
