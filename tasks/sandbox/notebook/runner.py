# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "ipykernel>=7,<8",
#     "nbclient>=0.11,<0.12",
#     "nbconvert>=7.17,<8",
# ]
# ///
"""The program that executes a notebook: one file that needs the notebook tools only.

It starts a kernel, runs the cells one after another and writes them as HTML. The tools stand before
the model's packages here and after them in the kernel, so neither side changes the other.
Like the harness it talks in JSON lines on the control fd; the log is fd 2.
"""

import ast
import asyncio
import json
import os
import resource
import sys
import tempfile
from typing import Any

NOTEBOOK = "notebook.ipynb"
PAGE = "notebook.html"
TRACE_LINES = 12
REPLY_S = 5.0  # how long a kernel may take to say what it imported
# Scripts, widgets and formulas would need a library from elsewhere; a cell's text stands in.
SHOWN = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain"]
IMPORTED = (
    "'\\n'.join(sorted({m.__file__ for m in list(__import__('sys').modules.values())"
    " if (getattr(m, '__file__', None) or '').endswith('.py')}))"
)


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    control = os.fdopen(settings["control_fd"], "w", encoding="utf-8", buffering=1)
    os.set_inheritable(settings["control_fd"], False)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (settings["file_bytes"],) * 2)

    def tell(event: str, **facts: Any) -> None:
        control.write(json.dumps({"event": event, **facts}) + "\n")

    status = 1
    try:
        tell("ready")
        cells = _read_cells(os.path.join(settings["work"], NOTEBOOK))
        imported = asyncio.run(_execute(settings, cells))
        _write_page(cells, os.path.join(settings["out"], PAGE))
        tell("done", stream=0)
        tell("bye", modules=sorted({*imported, *_imported()}))
        status = 0
    except CellError as err:
        tell("error", where=err.where, type=err.kind, message=err.said, traceback=err.trace)
    except BaseException as err:
        tell("error", where="executing it", type=type(err).__name__, message=str(err)[:2000])
    sys.stderr.flush()
    os._exit(status)


class CellError(Exception):
    """A cell did not run to its end."""

    def __init__(self, number: int, kind: str, said: str, trace: str = "") -> None:
        self.where = f"code cell {number}"
        self.kind = kind
        self.said = said[:2000]
        self.trace = trace[-4000:] + "\n" if trace else ""
        super().__init__(said)


def be_kernel(tools: str) -> None:
    """Be the kernel: the model's packages first, then the tools, then nothing."""
    _end_with_parent()
    sys.path.insert(0, os.getcwd())
    sys.path.append(tools)
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(sys.argv[3:])
    app.start()


def _end_with_parent() -> None:
    # A kernel is in a session of its own, where what ends its parent does not reach it.
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)


def _read_cells(path: str) -> list[dict[str, Any]]:
    """Return the cells without outputs, numbered, so that the same text gives the same page."""
    with open(path, encoding="utf-8") as file:
        notebook = json.load(file)
    cells = []
    for number, cell in enumerate(notebook["cells"], 1):
        found = {key: cell.get(key, {}) for key in ("metadata", "attachments")}
        found |= {"cell_type": cell["cell_type"], "id": f"cell-{number}"}
        found["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found |= {"outputs": [], "execution_count": None}
        cells.append(found)
    return cells


async def _execute(settings: dict[str, Any], cells: list[Any]) -> list[str]:
    """Run the code cells in ``cells``, which then hold their outputs; return what was imported."""
    sys.path.insert(0, settings["tools"])
    scratch = _lay_out_scratch(settings["model"])
    os.environ |= {
        "JUPYTER_PATH": os.path.join(settings["tools"], "share", "jupyter"),
        "JUPYTER_CONFIG_DIR": scratch,
        "JUPYTER_RUNTIME_DIR": scratch,
        "IPYTHONDIR": os.path.join(scratch, ".ipython"),
        "IPYKERNEL_CELL_NAME": NOTEBOOK,  # else warnings name a file by the process's number
    }
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    # Attributes of the cells are read as cell.outputs, so they must be nbformat's own kind of dict.
    cells[:] = nbformat.from_dict(cells)
    notebook = nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}
    )
    client = NotebookClient(
        notebook,
        km=_kernel(settings, scratch),
        shutdown_kernel="immediate",
        store_widget_state=False,
        record_timing=False,
    )
    number = size = 0
    async with client.async_setup_kernel(cwd=scratch, cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            number += 1
            print(f"{NOTEBOOK}: code cell {number}", file=sys.stderr, flush=True)
            try:
                cells[index] = await client.async_execute_cell(cell, index)
            except CellExecutionError as err:
                trace = "\n".join(err.traceback.splitlines()[-TRACE_LINES:])
                raise CellError(number, err.ename, err.evalue, trace) from err
            except DeadKernelError as err:
                raise CellError(number, "DeadKernelError", "the kernel died") from err
            size += len(json.dumps(cells[index].outputs))
            if size > settings["max_output_bytes"]:
                raise CellError(number, "ValueError", f"the outputs so far have {size:,} bytes")
            cells[index].outputs = _join_streams(cells[index].outputs)
        return await _imported_by_kernel(client)


def _lay_out_scratch(model: str) -> str:
    """Return a working folder of its own that shows what is in the read-only ``model``."""
    scratch = os.path.join(tempfile.gettempdir(), "notebook")
    os.mkdir(scratch)
    for name in sorted(os.listdir(model)):
        os.symlink(os.path.join(model, name), os.path.join(scratch, name))
    os.mkdir(os.path.join(scratch, ".sockets"))
    os.chdir(scratch)
    return scratch


def _kernel(settings: dict[str, Any], scratch: str) -> Any:
    """Return the manager of a kernel that is reached by sockets in ``scratch``, not over TCP."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    # -I would leave PYTHONHASHSEED out, and with it sets would print in another order each time.
    python = [sys.executable, "-s", "-P", "-B"]
    if sys.pycache_prefix:
        python += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    program = [os.path.abspath(__file__), "kernel", settings["tools"], "-f", "{connection_file}"]
    options = ["--HistoryManager.enabled=False", "--InteractiveShell.colors=nocolor"]
    folder = os.path.join(scratch, ".sockets", "kernels", "model")
    os.makedirs(folder)
    with open(os.path.join(folder, "kernel.json"), "w", encoding="utf-8") as file:
        argv = [*python, *program, *options]
        json.dump({"argv": argv, "display_name": "model", "language": "python"}, file)
    known = KernelSpecManager(kernel_dirs=[os.path.dirname(folder)], ensure_native_kernel=False)
    return AsyncKernelManager(
        kernel_name="model",
        kernel_spec_manager=known,
        transport="ipc",
        ip=".sockets/s",  # relative: the path of a socket may have 107 bytes (unix(7))
        connection_file=os.path.join(scratch, ".sockets", "kernel.json"),
    )


def _join_streams(outputs: list[Any]) -> list[Any]:
    """Return the outputs with neighbouring texts joined, what went to stdout first.

    How a text was cut, and which stream came first, differs from run to run. nbclient 0.11 can
    join too (coalesce_streams), in time that grows with the square of a line's length.
    """
    joined: list[Any] = []
    run: dict[str, Any] = {}
    for output in outputs:
        if output.output_type != "stream":
            joined += [*(run[name] for name in sorted(run, reverse=True)), output]
            run = {}
        elif output.name in run:
            run[output.name].text += output.text
        else:
            run[output.name] = output
    return joined + [run[name] for name in sorted(run, reverse=True)]


async def _imported_by_kernel(client: Any) -> list[str]:
    """Return the source files the kernel imported; a notebook that hides them is only slower."""
    try:
        reply = await client.kc.execute(
            "", silent=True, user_expressions={"m": IMPORTED}, reply=True, timeout=REPLY_S
        )
        text = reply["content"]["user_expressions"]["m"]["data"]["text/plain"]
        return [str(line) for line in ast.literal_eval(text).splitlines()]
    except (TimeoutError, LookupError, SyntaxError, ValueError, AttributeError):
        return []


def _imported() -> list[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return [file for file in files if file and file.endswith(".py")]


def _write_page(cells: list[dict[str, Any]], path: str) -> None:
    import nbformat
    from nbconvert.exporters.html import HTMLExporter

    notebook = nbformat.from_dict(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"language_info": {"name": "python", "pygments_lexer": "ipython3"}},
            "cells": cells,
        }
    )
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    exporter.config.NbConvertBase.display_data_priority = SHOWN
    body, _ = exporter.from_notebook_node(notebook)
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(body)


if __name__ == "__main__":
    if sys.argv[1] == "kernel":
        be_kernel(sys.argv[2])
    else:
        main()
