"""Write a request as pilotline does: one stream, one batch of two rows, the second hour missing."""

import sys

import pyarrow as pa

hours, carriers = pa.array([7, None], pa.int64()), pa.array(["AA", "é"])
rows = pa.record_batch({"hour": hours, "carrier": carriers})
with pa.ipc.new_stream(sys.stdout.buffer, rows.schema) as writer:
    writer.write_batch(rows)
