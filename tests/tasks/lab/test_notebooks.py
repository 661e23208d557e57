"""Notebooks of model folders: what is refused without running any of it."""

import json
from pathlib import Path

import pytest

from pilotline.tasks.errors import LabError
from pilotline.tasks.lab.notebooks import read_notebook

CELL = {"cell_type": "code", "metadata": {}, "source": ["x = 1\n", "x"], "outputs": []}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "notebook.ipynb"
    path.write_text(text)
    return path


@pytest.mark.parametrize("language", ["python", "Python", None])
def test_a_notebook_for_python_is_read_as_it_is(tmp_path: Path, language: str | None) -> None:
    metadata = {"kernelspec": {"name": "any", "language": language}}
    text = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [CELL]})
    assert read_notebook(written(tmp_path, text), "x") == text.encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            r"^lab/n\.ipynb: not JSON \(.*\)\. Save it again with Jupyter as notebook format 4\.",
        ),
        ("[" * 200_000, r"not JSON"),
        ("[]", r"its nbformat is None, expected 4"),
        ('{"nbformat": 3, "worksheets": []}', r"its nbformat is 3, expected 4"),
        ('{"nbformat": 4}', r"it has no list of cells"),
        ('{"nbformat": 4, "cells": [5]}', r"cell 1 is no cell\. Types: code, markdown, raw"),
        ('{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}', r"source of cell 1 is"),
        (
            '{"nbformat": 4, "cells": [{"cell_type": "raw", "source": "", "metadata": 1}]}',
            r"cell 1",
        ),
        (
            '{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "R"}}}',
            r"its kernel is for 'R'\. Choose a Python kernel\.",
        ),
        ("\N{WHITE MEDIUM STAR}" * (3 << 20), r"larger than 8 MiB\. Clear its outputs"),
    ],
)
def test_anything_else_is_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        read_notebook(written(tmp_path, text), "lab/n.ipynb")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"cannot be read \(Is a directory\)"):
        read_notebook(tmp_path, "lab/n.ipynb")
