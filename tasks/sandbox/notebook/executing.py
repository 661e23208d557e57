"""Executing a model's notebook on what was just trained: the same inputs give the same page."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files as package_files

import pyarrow as pa

from pilotline.registry.form import digest_bytes
from pilotline.tasks.errors import ChildError
from pilotline.tasks.lab import ARTIFACT, MAX_PAGE_BYTES, NOTEBOOK, PAGE, ModelFolder
from pilotline.tasks.sandbox.environments import install_tools
from pilotline.tasks.sandbox.launching import Desk, Room, notebook_child
from pilotline.tasks.sandbox.notebook.page import lay_out_page, list_loaded

TRAIN_ROWS = "train.parquet"
SETTINGS = "model.toml"


@contextmanager
def running_notebook(
    room: Room, folder: ModelFolder, artifact: Mapping[str, bytes], rows: pa.Table
) -> Iterator[Callable[[], bytes | None]]:
    """Start executing the folder's notebook, and give a function that waits for its page.

    Other children of the room may run meanwhile. In its working folder the notebook finds
    ``train.parquet``, ``model.py``, ``model.toml`` and ``artifact/``. The function returns None
    where the folder holds no notebook.

    Args:
        room: where it runs: the model's environment, with the notebook tools beside it.
        folder: of the model.
        artifact: what training saved.
        rows: what it was trained on.

    Raises:
        ChildError: a cell failed, or the page is not acceptable.
        EnvironmentBuildError: the notebook tools cannot be installed.
    """
    notebook = folder.files.get(NOTEBOOK)
    if notebook is None:
        yield lambda: None
        return
    model = folder.spec.name
    lock = package_files(__package__).joinpath("notebook.lock").read_bytes()
    tools = install_tools(room.environment, model, lock, walled=room.tier.walled)
    name = f"-notebook-{digest_bytes(lock)[:16]}"
    desk = Desk(room.environment.folder / "notebook", "notebook/runner.py", tools, name)
    contents = {path: folder.files[path] for path in ("model.py", SETTINGS)}
    contents |= {ARTIFACT + path: data for path, data in artifact.items()}
    contents[TRAIN_ROWS] = _parquet(rows)
    with notebook_child(room, folder, desk, contents, notebook) as child:

        def page() -> bytes:
            try:
                child.execute()
            except ChildError as err:
                raise ChildError(model, f"{NOTEBOOK}: {err.problem}", err.log_tail) from err
            return _collect_page(desk, model)

        yield page


def _parquet(rows: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(rows, sink)
    return sink.getvalue()


def _collect_page(desk: Desk, model: str) -> bytes:
    """Return the finished page; what the child wrote is only its body."""
    path = desk.base / "out" / PAGE
    if path.is_symlink() or not path.is_file():
        raise ChildError(model, f"{NOTEBOOK}: its page is no plain file")
    size = path.stat().st_size
    if size > MAX_PAGE_BYTES:
        raise ChildError(
            model, f"{NOTEBOOK}: its page has {size:,} bytes, at most {MAX_PAGE_BYTES:,} are kept"
        )
    body = path.read_bytes().decode("utf-8", "replace")
    loaded = list_loaded(body)
    if loaded:
        raise ChildError(
            model,
            f"{NOTEBOOK}: its page would load {loaded[0][:200]!r} from elsewhere; "
            "put pictures and styles into the notebook itself",
        )
    return lay_out_page(f"{model}: {NOTEBOOK}", body)
