"""Executing a notebook: its page holds what the cells say, the same each time, and nothing else."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from typing import Protocol

import pyarrow as pa
import pytest

from pilotline.registry import Registry
from pilotline.registry.record.versions import get_version
from pilotline.tasks.errors import ChildError
from pilotline.tasks.home import Home
from pilotline.tasks.lab.bundle import load_bundle
from pilotline.tasks.lab.models import load_model_folder
from pilotline.tasks.sandbox.environments import built_environment
from pilotline.tasks.sandbox.launching import Room
from pilotline.tasks.sandbox.notebook.executing import running_notebook
from pilotline.tasks.sandbox.walls import Tier
from pilotline.tasks.score.job import Job
from pilotline.tasks.train.contents import Request
from pilotline.tasks.train.training import train_version
from tests.support.places import ROOT
from tests.support.tasks.children import require_ended
from tests.support.waiting import stretched

MODEL = "flight-delay"
ROWS = pa.table({"hour": [6, 18, 22], "late": [0, 1, 1]})
EXAMPLE = ROOT / "lab" / "models" / MODEL / "notebook.ipynb"


class Show(Protocol):
    """Runs a notebook with these cells."""

    def __call__(self, *cells: str, tier: Tier = ..., deadline_s: float | None = None) -> str:
        """Return its page."""


def notebook(*cells: str, **facts: object) -> bytes:
    """Return a notebook; a cell that starts with # is markdown."""
    made: list[dict[str, object]] = [
        {
            "cell_type": "markdown" if text.startswith("#") else "code",
            "metadata": {},
            "source": text,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": "stored before"}],
        }
        for text in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "cells": made, **facts}).encode()


@pytest.fixture(scope="module")
def rooms(blank: Home) -> Iterator[Callable[[Tier], Room]]:
    """Return a maker of rooms around one environment."""
    lock = load_model_folder(blank.lab, MODEL).files["requirements.lock"]
    with built_environment(blank.scratch, MODEL, lock) as environment:
        yield lambda tier: Room(blank, environment, tier)


@pytest.fixture
def show(rooms: Callable[[Tier], Room], tier: Tier) -> Show:
    """Return a function that gives the page of a notebook with these cells."""

    def shown(*cells: str, tier: Tier = tier, deadline_s: float | None = None) -> str:
        room = rooms(tier)
        folder = load_model_folder(room.home.lab, MODEL)
        budget = replace(folder.spec.budget, deadline_s=deadline_s or stretched(60))
        spec = replace(folder.spec, budget=budget)
        files = {**folder.files, "notebook.ipynb": notebook(*cells)}
        folder = replace(folder, spec=spec, files=files)
        with running_notebook(room, folder, {"weights": b"7"}, ROWS) as page:
            made = page()
        assert made is not None
        return made.decode()

    return shown


def test_the_page_holds_what_the_cells_say_about_rows_and_model(show: Show) -> None:
    page = show(
        "# A heading & more",
        "import pandas, model\nrows = pandas.read_parquet('train.parquet')\nrows",
        "print(rows['late'].sum(), 'late,', model.TARGET)",
        "print(open('artifact/weights').read() * 3, '[model]' in open('model.toml').read())",
    )
    assert "A heading &amp; more</h1>" in page
    assert "<td>22</td>" in page
    assert "2 late, late" in page
    assert "777 True" in page
    assert "stored before" not in page
    assert page.startswith("<!doctype html>")


def test_the_same_inputs_give_the_same_bytes_under_every_tier(show: Show, bubblewrap: Tier) -> None:
    cells = (
        "# Sets and warnings",
        "import sys, warnings\nprint({'a', 'b', 'c', 'd', 'e'})\nprint('note', file=sys.stderr)",
        "warnings.warn('old', FutureWarning)\nprint(sorted(__import__('os').listdir()))",
    )
    once = show(*cells, tier=bubblewrap)
    assert "FutureWarning: old" in once
    assert show(*cells, tier=bubblewrap) == once
    assert show(*cells, tier=Tier("C", "asked for by the test")) == once


def test_a_page_loads_and_runs_nothing(show: Show) -> None:
    page = show(
        "# Data by the [bureau](https://www.bts.gov)",
        "from IPython.display import HTML\nHTML('<script>fetch(\"https://example.org\")</script>')",
    )
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert page.index("Content-Security-Policy") < page.index("<script>fetch")
    assert "<script src" not in page
    assert "<link" not in page


@pytest.mark.parametrize(
    "loaded",
    [
        '<img src="https://example.org/a.png">',
        '<script src="//example.org/a.js"></script>',
        "<style>p { background: url(https://example.org/a.png) }</style>",
    ],
)
def test_a_page_that_would_load_from_elsewhere_is_refused(show: Show, loaded: str) -> None:
    with pytest.raises(ChildError, match=r"its page would load '(https:)?//example\.org/a\.\w+'"):
        show(f"from IPython.display import HTML\nHTML({loaded!r})")


def test_a_cell_that_fails_is_named_with_its_error(show: Show) -> None:
    with pytest.raises(ChildError) as caught:
        show("x = 1", "# between", "x / 0")
    said = str(caught.value)
    assert said.startswith(
        "Model 'flight-delay': notebook.ipynb: code cell 2 raised ZeroDivisionError: division by"
    )
    assert "x / 0" in caught.value.log_tail


def test_a_kernel_that_dies_is_named_with_its_cell(show: Show) -> None:
    with pytest.raises(ChildError, match=r"notebook\.ipynb: code cell 1 raised DeadKernelError"):
        show("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")


@pytest.mark.parametrize("name", ["A", "C"])
def test_a_cell_that_hangs_ends_with_the_deadline_and_its_kernel_too(
    show: Show,
    name: str,
    request: pytest.FixtureRequest,
    rooms: Callable[[Tier], Room],
) -> None:
    tier = request.getfixturevalue("bubblewrap") if name == "A" else Tier("C", "asked for")
    with pytest.raises(ChildError, match=r"notebook\.ipynb: did not finish within its dead") as err:
        show("x = 1", "while True: pass", tier=tier, deadline_s=stretched(8))
    assert "code cell 2" in err.value.log_tail
    require_ended(rooms(tier).environment.folder)


def test_walled_cells_see_no_network_and_no_home(show: Show, bubblewrap: Tier) -> None:
    home = str(ROOT)
    page = show(
        "import os, socket\nprint('interfaces', [name for _, name in socket.if_nameindex()])",
        f"print('there' if os.path.exists({home!r}) else 'not there', os.path.expanduser('~'))",
        "try:\n    open('/tools/x', 'w')\nexcept OSError as err:\n    print('tools', err.strerror)",
        "try:\n    open('model.py', 'a')\nexcept OSError as err:\n    print('rows', err.strerror)",
        tier=bubblewrap,
    )
    assert "interfaces ['lo']" in page
    assert "not there /tmp" in page
    assert "tools Read-only file system" in page
    assert "rows Read-only file system" in page


def test_the_models_own_packages_win_over_the_tools(show: Show) -> None:
    page = show("import dateutil, pandas\nprint('from', dateutil.__file__)")
    assert "/env/lib" in page  # the tools' lock holds another version of it
    assert "/tools/dateutil" not in page


def test_a_page_that_is_too_large_is_refused(show: Show) -> None:
    with pytest.raises(ChildError, match=r"code cell 1 raised ValueError: the outputs so far have"):
        show("print('x' * (33 << 20))")


def test_a_version_carries_notebook_and_page_and_says_when_it_changed(
    home: Home, registry: Registry, job: Job, tier: Tier
) -> None:
    path = home.lab / "models" / MODEL / "notebook.ipynb"

    def train(data: bytes) -> tuple[str, dict[str, str], str]:
        path.write_bytes(data)
        with registry.read() as session:
            parent = load_bundle(registry, get_version(session, MODEL, numbers[-1]))
        request = Request(load_model_folder(home.lab, MODEL), date(2013, 1, 13), "", parent, None)
        number = train_version(registry, home, tier, request, print).number
        with registry.read() as session:
            bundle = load_bundle(registry, get_version(session, MODEL, number))
        roles = {file.path: file.role for file in bundle.manifest.files}
        assert bundle.folder.files["notebook.ipynb"] == data  # what a retraining will execute
        assert (
            b"AUC" in bundle.files["notebook.html"] or b"trained" in bundle.files["notebook.html"]
        )
        return number, roles, bundle.files["notes.md"].decode()

    numbers = ["1.0.0"]
    number, roles, notes = train(EXAMPLE.read_bytes())
    assert number == "1.0.1"
    assert (roles["notebook.ipynb"], roles["notebook.html"]) == ("notebook", "notebook-html")
    assert "notebook.ipynb added." in notes
    numbers.append(number)
    number, _, notes = train(notebook("print('trained')"))
    assert number == "1.0.2"
    assert "notebook.ipynb changed." in notes


def test_a_folder_without_a_notebook_has_no_page(rooms: Callable[[Tier], Room], tier: Tier) -> None:
    folder = load_model_folder(rooms(tier).home.lab, MODEL)
    with running_notebook(rooms(tier), folder, {}, ROWS) as page:
        assert page() is None
