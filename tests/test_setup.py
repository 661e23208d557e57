"""``make setup`` on a machine that has nothing but Python, make and a certificate in its store."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from tests.support.places import ROOT
from tests.support.servers.company import (
    STORE,
    WITH_STORE,
    company_index,
    make_wheel,
    wheel_of_installed,
)
from tests.support.servers.programs import own_mounts, require

FILES = ("Makefile", "pyproject.toml", "README.md", "LICENSE", "tasks/certificates.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of packages without contents, in a path with a space."""
    folder = tmp_path / "a checkout"
    (folder / "pilotline").mkdir(parents=True)
    (folder / "pilotline" / "__init__.py").touch()
    for package in ("flows", "tasks", "registry"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").touch()
        (folder / "pilotline" / package).symlink_to(f"../{package}")
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_setup_needs_only_path_and_home_behind_a_companys_certificate(
    checkout: Path, tmp_path: Path
) -> None:
    make = require("make")
    if not STORE.is_dir():
        pytest.skip(f"this system keeps no certificates in {STORE}")
    tool = make_wheel("housetool", "1.0", {"housetool.py": "made = 'in house'\n"})
    # It comes over the same line as the real one does, which has 20 MB.
    ours = make_wheel("uv", "0.0.1", {"bin/uv": f'#!/bin/sh\nexec "{uv.find_uv_bin()}" "$@"\n'})
    builder = wheel_of_installed("setuptools")  # builds the editable install
    (checkout / "requirements.lock").write_text(tool.locked + ours.locked + builder.locked)
    home, store = tmp_path / "home", tmp_path / "store"
    home.mkdir()
    store.mkdir()
    with company_index(tmp_path, tool, ours, builder) as company:
        (store / "ca-certificates.crt").write_bytes(company.certificate)
        python = getattr(sys, "_base_executable", sys.executable)
        done = subprocess.run(
            [*own_mounts(), "sh", "-c", WITH_STORE, "sh", store, make, "setup", f"PYTHON={python}"],
            # The last three only lead to this index instead of the public one.
            env={
                "PATH": os.defpath,
                "HOME": str(home),
                "UV_DEFAULT_INDEX": company.index,
                "PIP_INDEX_URL": company.index,
                "PIP_CONFIG_FILE": os.devnull,
            },
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.endswith("Ready: .venv/bin/pilotline --help\n"), done.stdout + done.stderr
    code = "import housetool, pilotline.registry as ours; print(housetool.made, ours.__file__)"
    said = subprocess.run(
        [checkout / ".venv/bin/python", "-I", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said == f"in house {checkout}/pilotline/registry/__init__.py\n"
