"""Our ends of the pipes to a child, which never hold us up once the child is gone."""

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterable
from io import RawIOBase
from typing import IO, TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

PIPE_BYTES = 1 << 20  # what Linux allows anyone; 16 times the usual, so fewer turns
LOOK_MS = 100  # how often an idle pipe is asked whether the child is there


class ChildPipe(RawIOBase):
    """A pipe that ends when the child does, or is cut.

    A process that the child left behind may hold the other end for ever, without a word: a plain
    read or write would wait for it, past every deadline.

    Args:
        fd: our end; it is closed with this.
        gone: tells whether the child has ended.
    """

    def __init__(self, fd: int, gone: Callable[[], bool]) -> None:
        self._fd, self._gone, self._cut = fd, gone, False
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError, AttributeError):  # a user has so many pages for pipes
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def cut(self) -> None:
        """End it now, whoever holds the other end."""
        self._cut = True

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer`` with what is there, after waiting for it; 0 at the end."""
        while not self._cut:
            try:
                return os.readv(self._fd, [buffer])
            except BlockingIOError:
                if not self._wait(select.POLLIN):
                    break
        return 0

    def write(self, data: "ReadableBuffer") -> int:
        """Write what fits of ``data``, after waiting for room.

        Raises:
            BrokenPipeError: the child is gone.
        """
        while not self._cut:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                if not self._wait(select.POLLOUT):
                    break
        raise BrokenPipeError("the process is gone")

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._fd)

    def _wait(self, event: int) -> bool:
        """Return whether something may be done, or whether there is nobody to wait for."""
        waiting = select.poll()
        waiting.register(self._fd, event)
        while not self._cut:
            gone = self._gone()  # asked first: what it wrote before its end is still read
            if waiting.poll(0 if gone else LOOK_MS):
                return True
            if gone:
                return False
        return False


class Feeder(threading.Thread):
    """Writes one stream to the child, so that the parent can read its answers meanwhile."""

    def __init__(self, sink: IO[bytes], batches: Iterable[pa.RecordBatch], schema: pa.Schema):
        super().__init__(daemon=True)
        self.rows = 0
        self.bytes = 0
        self.error: Exception | None = None
        self._sink, self._batches, self._schema = sink, batches, schema

    def run(self) -> None:
        """Write every batch; a child that is gone is the reader's to notice."""
        try:
            with pa.ipc.new_stream(self._sink, self._schema) as writer:
                for batch in self._batches:
                    writer.write_batch(batch)
                    self.rows += batch.num_rows
                    self.bytes += batch.nbytes
            self._sink.flush()
        except BrokenPipeError:
            return
        except Exception as err:
            self.error = err
            # The child would wait for ever for the rest: an early end lets it, and us, go on.
            with contextlib.suppress(OSError):
                self._sink.close()
