"""A model's process seen from the parent: streams in and out, control, log, deadline, usage."""

import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader, BufferedWriter
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from pilotline.tasks.errors import ChildError
from pilotline.tasks.sandbox.pipes import ChildPipe, Feeder
from pilotline.tasks.sandbox.strays import MARK, end_marked, list_tree
from pilotline.tasks.sandbox.walls import Launch

BUFFER = 1 << 20  # pyarrow's reads from an unbuffered pipe come back short
LOG_TAIL_BYTES = 64 * 1024  # the last of the child's log that is kept
LOG_TAIL_LINES = 12
CONTROL_LINE_BYTES = 1 << 20  # a longer line is no message of ours
MAX_AMOUNT = 1e9  # seconds or MiB; the child is not trusted to be sane
EXIT_WAIT_S = 5.0  # how long a child may take to end after its input ended
REPLY_WAIT_S = 10.0  # how long after its last byte a child may take to say how it went
STREAM_MARK = b"\xff\xff\xff\xff"  # what every message of an Arrow IPC stream begins with
SHOWN_BYTES = 40
MAX_PROCESSES = 256  # a model with one thread a library has a handful
COUNT_S = 0.1  # a bomb makes some hundreds meanwhile; a count takes 0.1 ms


@dataclass
class Usage:
    """What a child used; the kernel's own account of a walled child ends with bubblewrap."""

    cpu_s: float = 0.0  # as the child says
    peak_mib: float = 0.0  # as the child says
    start_s: float = 0.0  # from spawn to ready
    predict_s: float = 0.0  # inside predict, as the child says
    bytes_in: int = 0
    bytes_out: int = 0
    imported: list[str] = field(default_factory=list)  # source files, as the child says


class Child:
    """A running model. Use it in a ``with`` statement, in the thread that makes it.

    bubblewrap's ``--die-with-parent`` fires when the spawning *thread* ends, so the thread that
    opens a child must live as long as it does.
    """

    def __init__(self, model: str, launch: Launch, control: tuple[int, int], deadline_s: float):
        self.model = model
        self.usage = Usage()
        self._launch = launch
        self._control_read, self._control_write = control
        self._deadline_s = deadline_s
        self._ended = threading.Event()
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._log = bytearray()
        self._mark = secrets.token_hex(16)
        self._overdue = False
        self._crowded = False  # ended by us, as it started too many processes
        self._stream = 0
        self._ready = False
        self._stopped = False  # ended by us, as it went on after it should have ended

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            self._launch.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._control_write,),
            env=self._launch.variables | {MARK: self._mark},
            start_new_session=True,
            bufsize=0,
        )
        os.close(self._control_write)
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._pipes = [
            ChildPipe(os.dup(pipe.fileno()), self._gone)
            for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        ]
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()
        self._pipes.append(ChildPipe(self._control_read, self._gone))
        source, sink, log, control = self._pipes
        self._source, self._sink = BufferedWriter(source, BUFFER), BufferedReader(sink, BUFFER)
        self._threads = [
            threading.Thread(target=self._read_control, args=(control,), daemon=True),
            threading.Thread(target=self._read_log, args=(log,), daemon=True),
            threading.Thread(target=self._watch_processes, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._kill()
            self._pipes[0].cut()  # what was not written yet never will be
        with contextlib.suppress(OSError):
            self._source.close()
        self._reap()
        self._ended.set()
        with contextlib.suppress(OSError):
            self._sink.close()
        for thread in self._threads:
            thread.join(timeout=1.0)
        for pipe in self._pipes:
            pipe.cut()

    def score(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, outputs: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        """Yield one batch of predictions for each batch of features, in order.

        Ends normally only when the child said it is done and as many rows came out as went in:
        the end of a stream proves nothing.

        Args:
            batches: features, in the columns and types of ``schema``.
            schema: of the input.
            outputs: the columns the contract promises.

        Raises:
            ChildError: the child failed, took too long, or gave something else.
        """
        stream, self._stream = self._stream, self._stream + 1
        feeder = Feeder(self._source, batches, schema)
        feeder.start()
        try:
            with self._within_deadline():
                rows = yield from self._receive(outputs)
                feeder.join(timeout=REPLY_WAIT_S)
                if feeder.error is not None:
                    raise feeder.error
                self._settle(stream, feeder.rows, rows)
        except (pa.ArrowException, OSError, EOFError) as err:
            if feeder.error is not None:
                raise feeder.error from err
            raise self._failure(stream, str(err)) from err
        finally:
            if feeder.is_alive():
                self._kill()
                feeder.join(timeout=REPLY_WAIT_S)
            self.usage.bytes_in += feeder.bytes

    def train(self, rows: pa.Table) -> None:
        """Feed ``rows`` to a training child and wait until it is done.

        Raises:
            ChildError: training failed or took too long.
        """
        self._feed(0, rows)

    def measure(self, rows: pa.Table) -> dict[str, Any]:
        """Return what a judging child says of ``rows``; nothing it says is trusted yet.

        Raises:
            ChildError: it failed or took too long.
        """
        stream, self._stream = self._stream, self._stream + 1
        said = self._feed(stream, rows).get("metrics")
        return said if isinstance(said, dict) else {}

    def execute(self) -> None:
        """Wait until a child that is fed nothing, one that executes a notebook, is done.

        Raises:
            ChildError: it failed or took too long.
        """
        self._await_done(0)

    def finish(self) -> None:
        """Close the input and wait for a clean end.

        Raises:
            ChildError: the child did not end with status 0.
        """
        with contextlib.suppress(OSError):
            self._source.close()
        # One that was asked nothing may be starting still.
        self._next_event(-1, timeout_s=EXIT_WAIT_S if self._ready else self._deadline_s)
        self._reap()
        if self._process.returncode != 0:
            raise self._failure(-1, "it went on after the end of its input")

    @property
    def pid(self) -> int:
        """The process that was started: bubblewrap's, or the model's own."""
        return self._process.pid

    def log_tail(self) -> str:
        """Return the last lines of the child's log."""
        text = bytes(self._log).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])

    @contextlib.contextmanager
    def _within_deadline(self) -> Iterator[None]:
        """End the child if what is done here takes longer than it may."""
        watchdog = threading.Timer(self._deadline_s, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def _feed(self, stream: int, rows: pa.Table) -> dict[str, Any]:
        """Give the child ``rows`` and return its word that it is done with them."""
        feeder = Feeder(self._source, rows.to_batches(), rows.schema)
        feeder.start()
        try:
            return self._await_done(stream)
        finally:
            if feeder.is_alive():
                self._kill()
            self.usage.bytes_in += feeder.bytes

    def _await_done(self, stream: int) -> dict[str, Any]:
        with self._within_deadline():
            event = self._next_event(stream, timeout_s=self._deadline_s + REPLY_WAIT_S)
            if event is None or event["event"] != "done":
                raise self._failure(stream, "it ended before it was done", event)
        return event

    def _receive(self, outputs: pa.Schema) -> Generator[pa.RecordBatch, None, int]:
        rows = 0
        self._check_beginning()
        with pa.ipc.open_stream(self._sink) as reader:
            if reader.schema != outputs:
                raise ChildError(self.model, _describe_columns(reader.schema, outputs))
            for batch in reader:
                rows += batch.num_rows
                self.usage.bytes_out += batch.nbytes
                yield batch
        return rows

    def _check_beginning(self) -> None:
        """Refuse text at once: read as Arrow its first letters are a length, and waited for."""
        found = self._sink.peek(SHOWN_BYTES)[:SHOWN_BYTES]
        if not found.startswith(STREAM_MARK[: len(found)]):
            raise ChildError(
                self.model,
                f"wrote {found!r} to fd 1 where an Arrow stream must begin",
                self.log_tail(),
            )

    def _settle(self, stream: int, rows_in: int, rows_out: int) -> None:
        event = self._next_event(stream, REPLY_WAIT_S)
        if event is None or event["event"] != "done":
            raise self._failure(stream, "its stream ended before it said it was done", event)
        if not self._ready:
            raise ChildError(self.model, "said done before ready", self.log_tail())
        if not rows_in == rows_out == event.get("rows_in") == event.get("rows_out"):
            said = f"{event.get('rows_out')!r:.40} for {event.get('rows_in')!r:.40}"
            problem = f"gave {rows_out} rows for {rows_in}, and said it was {said}"
            raise ChildError(self.model, problem, self.log_tail())
        self.usage.predict_s += _sane(event.get("predict_s")) or 0.0

    def _failure(
        self, stream: int, fallback: str, event: dict[str, Any] | None = None
    ) -> ChildError:
        """Return the best account of what went wrong: its own words, its end, or ours."""
        event = event or self._next_event(stream, timeout_s=1.0)
        if event is not None and event["event"] == "error":
            where = event.get("where", "its code")
            tail = str(event.get("traceback", "")) + self.log_tail()
            return ChildError(
                self.model, f"{where} raised {event.get('type')}: {event.get('message')}", tail
            )
        if self._crowded:
            problem = f"started more than {MAX_PROCESSES} processes"
            return ChildError(self.model, problem, self.log_tail())
        if self._overdue:
            problem = f"did not finish within its deadline of {self._deadline_s:g} s"
            return ChildError(self.model, problem, self.log_tail())
        self._reap()
        if self._stopped:
            return ChildError(self.model, f"broke the protocol: {fallback}", self.log_tail())
        status = self._process.returncode
        ends = {
            -signal.SIGKILL: "was killed, perhaps for memory",
            128 + signal.SIGKILL: "was killed, perhaps for memory",
            -signal.SIGSEGV: "crashed with a segmentation fault",
            128 + signal.SIGSEGV: "crashed with a segmentation fault",
            0: f"ended early: {fallback}",
        }
        return ChildError(
            self.model, ends.get(status, f"ended with status {status}"), self.log_tail()
        )

    def _next_event(self, stream: int, timeout_s: float) -> dict[str, Any] | None:
        """Return the message about ``stream``, None when there is none in time or ever."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            if event is None:
                self._events.put(None)  # the channel is closed: also for whoever asks next
                return None
            if event["event"] == "ready" and not self._ready:
                self._ready = True
                self.usage.start_s = event["at"] - self._started
                continue
            self._note_usage(event)
            if event["event"] in ("error", "bye") or event.get("stream") == stream:
                return event

    def _note_usage(self, event: dict[str, Any]) -> None:
        for name in ("cpu_s", "peak_mib"):
            value = _sane(event.get(name))
            if value is not None:
                setattr(self.usage, name, value)
        modules = event.get("modules")
        if isinstance(modules, list):
            self.usage.imported = [str(name) for name in modules]

    def _read_control(self, pipe: ChildPipe) -> None:
        with BufferedReader(pipe) as file:
            while line := file.readline(CONTROL_LINE_BYTES):
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # not a message of the harness
                if isinstance(event, dict) and isinstance(event.get("event"), str):
                    event["at"] = time.perf_counter()
                    self._events.put(event)
        self._events.put(None)

    def _read_log(self, pipe: ChildPipe) -> None:
        with pipe:
            while data := pipe.read(BUFFER):
                self._log += data
                del self._log[:-LOG_TAIL_BYTES]

    def _watch_processes(self) -> None:
        while not self._ended.wait(COUNT_S):
            # One more than the limit: the child itself is among them.
            if len(list_tree(self._process.pid, MAX_PROCESSES + 1)) > MAX_PROCESSES + 1:
                self._crowded = True
                self._expire()

    def _gone(self) -> bool:
        """Tell whether the process has ended, without taking its status from whoever waits."""
        if self._process.returncode is not None:
            return True
        try:
            ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, ended) is not None
        except ChildProcessError:
            return True

    def _expire(self) -> None:
        self._overdue = True
        self._kill()
        for pipe in self._pipes[:2]:
            pipe.cut()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Wait for the process, ending it where it does not end by itself."""
        if self._process.returncode is not None:
            return
        until = time.monotonic() + EXIT_WAIT_S
        while self._process.poll() is None:
            if time.monotonic() > until:
                self._stopped = True
                self._kill()
            time.sleep(0.005)
        # What it left behind in its group ends too; an empty group is gone, which is fine.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._launch.variables:  # not walled: who left the group is still there
            end_marked(self._mark)


def _describe_columns(found: pa.Schema, wanted: pa.Schema) -> str:
    if found.names != wanted.names:
        return f"gave columns {found.names}, expected {wanted.names}"
    pairs = zip(found, wanted, strict=True)
    wrong = [
        f"{want.name!r} as {gave.type}{'' if gave.nullable else ' not null'}, expected {want.type}"
        for gave, want in pairs
        if not gave.equals(want)
    ]
    return f"gave {'; '.join(wrong)}"


def _sane(value: object) -> float | None:
    """Return an amount a child named, None for anything that is no plausible number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_AMOUNT:
        return float(value)
    return None
