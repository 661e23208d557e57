"""The thread that writes one stream to a child, so that the parent can read meanwhile."""

import contextlib
import threading
from collections.abc import Iterable
from typing import IO

import pyarrow as pa


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
