"""The protocol seen from the parent, spoken by small programs that keep it or break it."""

import os
import sys
from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa
import pytest

from pilotline.tasks.errors import ChildError
from pilotline.tasks.sandbox.child import Child
from pilotline.tasks.sandbox.walls import Launch
from tests.support.waiting import stretched

ROWS = pa.table({"x": [1.0, 2.0, 3.0]})
OUTPUTS = pa.schema([("probability", pa.float64())])
PROGRAM = """
import json, os, sys
import pyarrow as pa
control = int(sys.argv[1])
def tell(event, **facts):
    os.write(control, (json.dumps({"event": event, **facts}) + chr(10)).encode())
source, sink = os.fdopen(0, "rb", 1 << 20), os.fdopen(1, "wb", 1 << 20)
tell("ready")
def answer(schema, rows):
    with pa.ipc.open_stream(source) as reader:
        read = reader.read_all()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([0.5] * rows)], schema=schema))
    sink.flush()
    return read.num_rows
schema = pa.schema([("probability", pa.float64())])
BODY
"""


class Speak(Protocol):
    """Gives three rows to a program."""

    def __call__(self, body: str, deadline_s: float | None = None) -> list[pa.RecordBatch]:
        """Return its answer."""


@pytest.fixture
def speak() -> Speak:
    """Return a function that gives three rows to a program and returns its answer."""

    def spoken(body: str, deadline_s: float | None = None) -> list[pa.RecordBatch]:
        control = os.pipe()
        command = [sys.executable, "-c", PROGRAM.replace("BODY", body), str(control[1])]
        launch = Launch(command, {"PATH": "/usr/bin:/bin"}, "", "", None)
        with Child("churn", launch, control, deadline_s or stretched(20)) as child:
            answer = list(child.score(ROWS.to_batches(), ROWS.schema, OUTPUTS))
            child.finish()
        assert child.usage.start_s > 0
        return answer

    return spoken


def test_a_program_that_keeps_the_protocol_is_heard(speak: Speak) -> None:
    body = "n = answer(schema, 3); tell('done', stream=0, rows_in=n, rows_out=3, predict_s=0.5)"
    assert [batch.num_rows for batch in speak(body)] == [3]


def test_lines_that_are_no_messages_are_passed_over(speak: Speak) -> None:
    body = (
        "os.write(control, b'noise' + bytes([10, 255, 10]) + b'[1]' + bytes([10]))\n"
        "n = answer(schema, 3); tell('done', stream=0, rows_in=n, rows_out=3)"
    )
    assert [batch.num_rows for batch in speak(body)] == [3]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("answer(schema, 3)", r"ended early: its stream ended before it said it was done"),
        (
            "n = answer(schema, 2); tell('done', stream=0, rows_in=3, rows_out=3)",
            r"gave 2 rows for",
        ),
        (
            "n = answer(schema, 4); tell('done', stream=0, rows_in=3, rows_out=4)",
            r"gave 4 rows for",
        ),
        (
            "n = answer(schema, 3); tell('done', stream=0, rows_in=2, rows_out=3)",
            r"gave 3 rows for",
        ),
        ("n = answer(schema, 3); tell('done', stream=1, rows_in=3, rows_out=3)", r"ended early"),
        ("answer(pa.schema([('p', pa.float64())]), 3)", r"gave columns \['p'\], expected \['proba"),
        ("os.write(1, b'no arrow at all' * 9)", r"wrote b'no arrow.*' to fd 1 where an Arrow "),
        ("sys.exit(3)", r"ended with status 3\."),
        (
            "n = answer(schema, 3); tell('done', stream=0, rows_in=3, rows_out=3); sys.exit(4)",
            r"ended with status 4\.",
        ),
        (
            "tell('error', stream=0, where='load', type='KeyError', message='x')",
            r"load raised KeyE",
        ),
        ("import time; time.sleep(600)", r"did not finish within its deadline of 2 s"),
    ],
)
def test_a_program_that_breaks_the_protocol_is_an_error(
    speak: Speak, body: str, message: str
) -> None:
    with pytest.raises(ChildError, match=rf"^Model 'churn': .*{message}"):
        speak(body, deadline_s=2.0 if "sleep" in body else None)


def test_an_error_in_what_is_fed_comes_back_as_itself() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from ROWS.to_batches()
        raise LookupError("the table is gone")

    control = os.pipe()
    body = "n = answer(schema, 3); tell('done', stream=0, rows_in=n, rows_out=3)"
    command = [sys.executable, "-c", PROGRAM.replace("BODY", body), str(control[1])]
    launch = Launch(command, {}, "", "", None)
    with (
        pytest.raises(LookupError, match="the table is gone"),
        Child("churn", launch, control, stretched(20)) as child,
    ):
        list(child.score(batches(), ROWS.schema, OUTPUTS))
