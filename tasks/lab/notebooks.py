"""The notebook of a model folder, read but never run."""

import json
from pathlib import Path
from typing import Any

from pilotline.tasks.errors import LabError

NOTEBOOK = "notebook.ipynb"
PAGE = "notebook.html"  # what executing it gives
MAX_NOTEBOOK_BYTES = 8 << 20  # with outputs cleared a notebook is a few KiB; pictures may be inside
MAX_PAGE_BYTES = 32 << 20  # a page larger than this is read by no browser with pleasure
CELL_TYPES = ("code", "markdown", "raw")
CLEAR = "Clear its outputs and save it again."
REWRITE = "Save it again with Jupyter as notebook format 4."


def read_notebook(path: Path, where: str) -> bytes:
    """Return the notebook at ``path``, checked: format 4, cells as they must be, for Python.

    Raises:
        LabError: it is something else, or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_NOTEBOOK_BYTES + 1)
    except OSError as err:
        raise LabError(where, f"cannot be read ({err.strerror})", "Make it a plain file.") from err
    if len(data) > MAX_NOTEBOOK_BYTES:
        raise LabError(where, f"larger than {MAX_NOTEBOOK_BYTES >> 20} MiB", CLEAR)
    try:
        facts: Any = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise LabError(where, f"not JSON ({str(err)[:160]})", REWRITE) from err
    found = facts.get("nbformat") if isinstance(facts, dict) else None
    if found != 4:
        raise LabError(where, f"its nbformat is {found!r}, expected 4", REWRITE)
    _check_cells(facts.get("cells"), where)
    _check_language(facts.get("metadata", {}), where)
    return data


def _check_cells(cells: object, where: str) -> None:
    if not isinstance(cells, list):
        raise LabError(where, "it has no list of cells", REWRITE)
    for number, cell in enumerate(cells, 1):
        if not isinstance(cell, dict) or cell.get("cell_type") not in CELL_TYPES:
            raise LabError(where, f"cell {number} is no cell", f"Types: {', '.join(CELL_TYPES)}.")
        source = cell.get("source")
        lines = source if isinstance(source, list) else [source]
        if not all(isinstance(line, str) for line in lines):
            raise LabError(where, f"the source of cell {number} is no text", REWRITE)
        if not all(isinstance(cell.get(key, {}), dict) for key in ("metadata", "attachments")):
            raise LabError(where, f"the metadata of cell {number} are no table", REWRITE)


def _check_language(metadata: object, where: str) -> None:
    """Refuse a kernel that says it is for another language; one that says nothing runs."""
    said = metadata if isinstance(metadata, dict) else {}
    for table, key in (("kernelspec", "language"), ("language_info", "name")):
        facts = said.get(table)
        language = facts.get(key) if isinstance(facts, dict) else None
        if language is not None and str(language).casefold() != "python":
            raise LabError(
                where, f"its kernel is for {str(language)[:40]!r}", "Choose a Python kernel."
            )
