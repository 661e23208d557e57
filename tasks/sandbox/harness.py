"""The program a model runs in: one file that needs the standard library and pyarrow only.

It is copied beside the model and started by the runner with the path of its settings. Arrow IPC
streams come in on fd 0 and go out on fd 1, one after another; the log is fd 2; JSON lines about
each stream go to the control fd. docs/reference/protocol.md describes it.
"""

import importlib
import importlib.util
import json
import os
import queue
import resource
import sys
import threading
import time
import traceback
from typing import Any

BUFFER = 1 << 20  # pyarrow's reads from an unbuffered pipe come back short
TRACE_LINES = 12
DRAWS = 200  # of a model's own metrics; the ends of an interval move little from there on
MIN_DRAWS = 50
DRAWN_ROWS = 5_000_000  # in all draws together: a second or two of a simple metric
MIN_ROWS = 30  # as for every other interval


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    control = os.fdopen(settings["control_fd"], "w", encoding="utf-8", buffering=1)
    os.set_inheritable(settings["control_fd"], False)
    source, sink = _take_streams()
    _limit(settings)

    def tell(event: str, **facts: Any) -> None:
        control.write(json.dumps({"event": event, **facts}) + "\n")

    try:
        module = _import_model(settings["model"])
        if settings["mode"] == "train":
            _train(settings, module, source, tell)
        elif settings["mode"] == "metrics":
            _measure(settings, module, source, tell)
        else:
            _score(settings, module, source, sink, tell)
    except BaseException as err:
        tell("error", **_describe(err, settings["mode"]))
        _end(1)
    _end(0)


def _end(status: int) -> None:
    # Threads a library left behind must not hold the process up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _take_streams() -> tuple[Any, Any]:
    """Move fd 0 and 1 out of reach before any import, so that print cannot touch the stream."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return os.fdopen(source, "rb", BUFFER), os.fdopen(sink, "wb", BUFFER)


def _limit(settings: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if settings.get("memory_bytes"):
        limit = settings["memory_bytes"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if settings.get("file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (settings["file_bytes"],) * 2)


def _import_model(folder: str) -> Any:
    sys.path.insert(0, folder)
    path = os.path.join(folder, "model.py")
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model"] = module
    spec.loader.exec_module(module)
    return module


def _train(settings: dict[str, Any], module: Any, source: Any, tell: Any) -> None:
    import pyarrow as pa

    with pa.ipc.open_stream(source) as reader:
        data = reader.read_pandas()
    tell("ready")
    rows = len(data)
    if hasattr(module, "features"):
        truth = {name: data.pop(name) for name in list(data.columns) if name == settings["target"]}
        data = _features(module, data).assign(**truth)
    model = module.train(data, settings["params"])
    folder = settings["out"]
    if hasattr(module, "save"):
        module.save(model, folder)
    else:
        import joblib

        joblib.dump(model, os.path.join(folder, "model.joblib"))
    tell("done", stream=0, rows_in=rows, rows_out=0, predict_s=0.0)
    tell("bye", modules=_imported(), **_usage())


def _score(settings: dict[str, Any], module: Any, source: Any, sink: Any, tell: Any) -> None:
    importlib.import_module("pandas")  # part of starting up, not of the first stream
    folder = settings["artifact"]
    if hasattr(module, "load"):
        model = module.load(folder)
    else:
        import joblib

        model = joblib.load(os.path.join(folder, "model.joblib"))
    tell("ready")
    stream = 0
    while source.peek(1):
        _score_stream(settings, module, model, source, sink, tell, stream)
        stream += 1
    tell("bye", modules=_imported(), **_usage())


def _score_stream(
    settings: dict[str, Any],
    module: Any,
    model: Any,
    source: Any,
    sink: Any,
    tell: Any,
    stream: int,
) -> None:
    import pyarrow as pa

    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in settings["outputs"].items()])
    rows_in = rows_out = 0
    seconds = 0.0
    error = None
    with pa.ipc.open_stream(source) as reader, pa.ipc.new_stream(sink, schema) as writer:
        for batch in _read_ahead(reader):
            if error is not None:
                continue  # read on to the end of this stream: the next one may be fine
            started = time.perf_counter()
            try:
                out = _predict(module, model, batch, schema)
            except Exception as err:
                error = err
                continue
            seconds += time.perf_counter() - started
            rows_in += batch.num_rows
            rows_out += out.num_rows
            writer.write_batch(out)
    sink.flush()
    if error is not None:
        tell("error", stream=stream, **_describe(error, "predict"))
    else:
        facts = {"rows_in": rows_in, "rows_out": rows_out, "predict_s": seconds}
        tell("done", stream=stream, **facts, **_usage())


def _measure(settings: dict[str, Any], module: Any, source: Any, tell: Any) -> None:
    import pyarrow as pa

    tell("ready")
    stream, marker = 0, settings["marker"]
    while source.peek(1):
        with pa.ipc.open_stream(source) as reader:
            rows = reader.read_pandas()
        said = [name for name in rows.columns if name.startswith(marker)]
        predictions = rows[said].rename(columns=lambda name: name[len(marker) :])
        try:
            found = _metrics(module, rows.drop(columns=said), predictions)
        except Exception as err:
            tell("error", stream=stream, **_describe(err, "metrics"))
        else:
            tell("done", stream=stream, metrics=found)
        stream += 1
    tell("bye", modules=_imported(), **_usage())


def _metrics(module: Any, actuals: Any, predictions: Any) -> dict[str, Any]:
    """Return name -> value, low, high; the latter two by drawing the rows again and again.

    Percentile bootstrap, Efron (1979), Annals of Statistics 7(1), with a fixed seed.
    """
    import numpy as np

    found = {str(name): float(value) for name, value in _call(module, actuals, predictions).items()}
    rows = len(actuals)
    draws = min(DRAWS, DRAWN_ROWS // max(1, rows)) if rows >= MIN_ROWS else 0
    if draws < MIN_DRAWS:
        return {name: [value, None, None] for name, value in found.items()}
    random, drawn = np.random.default_rng(0), []
    for _ in range(draws):
        taken = random.integers(rows, size=rows)
        drawn.append(
            _call(
                module,
                actuals.iloc[taken].reset_index(drop=True),
                predictions.iloc[taken].reset_index(drop=True),
            )
        )
    facts: dict[str, Any] = {}
    for name, value in found.items():
        values = np.array([float(one.get(name, np.nan)) for one in drawn])
        values = values[np.isfinite(values)]
        ends = np.quantile(values, [0.025, 0.975]).tolist() if len(values) == draws else [None] * 2
        facts[name] = [value, *ends]
    return facts


def _call(module: Any, actuals: Any, predictions: Any) -> dict[str, Any]:
    found = module.metrics(actuals, predictions)
    if not isinstance(found, dict):
        raise TypeError(f"metrics gave {type(found).__name__}, expected a dict of numbers")
    return found


def _read_ahead(reader: Any) -> Any:
    """Yield batches, the next one read while the last is predicted.

    A batch is ten times what a pipe holds, so it takes as many turns of both processes.
    """
    ahead: Any = queue.Queue(1)

    def read() -> None:
        try:
            for batch in reader:
                ahead.put((batch, None))
        except BaseException as err:
            ahead.put((None, err))
        else:
            ahead.put((None, None))

    threading.Thread(target=read, daemon=True).start()
    while True:
        batch, error = ahead.get()
        if error is not None:
            raise error
        if batch is None:
            return
        yield batch


def _predict(module: Any, model: Any, batch: Any, schema: Any) -> Any:
    import pyarrow as pa

    data = _features(module, batch.to_pandas())
    out = module.predict(model, data)
    if len(out) != batch.num_rows:
        raise ValueError(f"predict gave {len(out)} rows for {batch.num_rows}")
    if list(out.columns) != schema.names:
        raise ValueError(f"predict gave columns {list(out.columns)}, expected {schema.names}")
    if not out.index.equals(data.index):
        raise ValueError("predict changed the order of rows; keep the index of its input")
    found = pa.RecordBatch.from_pandas(out, preserve_index=False)
    for name in schema.names:
        kind, wanted = found.schema.field(name).type, schema.field(name).type
        if kind != wanted and not (pa.types.is_large_string(kind) and pa.types.is_string(wanted)):
            raise ValueError(f"predict gave {name!r} as {kind}, expected {wanted}")
    # Column by column: batches have no cast of their own before pyarrow 16.
    columns = [column.cast(field.type) for column, field in zip(found.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _features(module: Any, data: Any) -> Any:
    """Return what train and predict get: the columns of the contract, through ``features``.

    It never sees the target, so that it cannot do in training what it could not do later.
    """
    if not hasattr(module, "features"):
        return data
    index = data.index
    made = module.features(data)
    if type(made) is not type(data):
        raise TypeError(f"features gave {type(made).__name__}, expected a {type(data).__name__}")
    if not made.index.equals(index):
        raise ValueError(f"features gave {len(made)} rows for {len(index)}, or in another order")
    return made


def _arrow_type(name: str) -> Any:
    import pyarrow as pa

    return {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }[name]


def _describe(error: BaseException, where: str) -> dict[str, Any]:
    lines = traceback.format_exception(error)[-TRACE_LINES:]
    return {
        "where": where,
        "type": type(error).__name__,
        "message": str(error)[:2000],
        "traceback": "".join(lines)[-4000:],
    }


def _usage() -> dict[str, float]:
    """Return CPU seconds and peak memory in MiB."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak_kib = float(own.ru_maxrss)  # on Linux it also counts the parent before exec: VmHWM
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    peak_kib = float(line.split()[1])
    return {"cpu_s": seconds, "peak_mib": peak_kib / 1024}


def _imported() -> list[str]:
    """Return the source files of everything imported, for compiling them ahead of the next run."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return sorted({file for file in files if file and file.endswith(".py")})


if __name__ == "__main__":
    main()
