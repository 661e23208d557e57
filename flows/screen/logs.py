"""Log lines as text or as JSON, each with the model, version, date and run that it is about.

Prefect imports this file while it is being imported itself, so nothing of it is imported here.
"""

import io
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Any, TextIO

from pilotline.tasks.errors import SettingsError
from pilotline.tasks.logs import NOTHING, Facts, present_facts

# Levels of lines for a person's screen.
CHAPTER = logging.INFO + 5  # a heading that stays on the screen
FACT = logging.INFO + 4  # a line that stays on the screen
COMMAND = logging.INFO + 3  # a command to copy: never broken in two

SETTING = "PILOTLINE_LOG"
WAYS = ("text", "json")
# Who else writes to a worker's output: Prefect's own command, a library's warning, a traceback.
OTHERS = "output"
# The names by which flows call what they are about.
PARAMETERS = {"model": "model", "version": "version", "date": "day"}

_of_runs: dict[str, Facts] = {}  # by Prefect's run


def way_of(environment: Mapping[str, str]) -> str:
    """Return how lines are to be written: ``text``, ``json``, or nothing where it is not said.

    Raises:
        SettingsError: the setting names another way.
    """
    way = environment.get(SETTING, "")
    if way and way not in WAYS:
        raise SettingsError(
            SETTING, f"{way!r} is no way to log; expected text or json", "Correct or unset it."
        )
    return way


def log_lines(way: str) -> None:
    """Write our lines to standard error from here on, in place of what a person watches."""
    log = logging.getLogger("pilotline")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(ToStream(way=way))


def lines_are_kept() -> bool:
    """Tell whether lines are written here in place of what a person watches."""
    log = logging.getLogger("pilotline")
    return any(isinstance(handler, ToStream) for handler in log.handlers)


class ToStream(logging.StreamHandler[Any]):
    """Writes lines to a stream, as text or as JSON."""

    def __init__(self, stream: Any = None, way: str | None = None, **_: Any) -> None:
        """Take what Prefect says to its own console too: styles, which a line has none of."""
        super().__init__(stream)
        self._way = os.environ.get(SETTING, "") if way is None else way

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return write_json_line(record) if self._way == "json" else write_text_line(record)


class JsonLines(io.TextIOWrapper):
    """Passes lines of JSON on to a stream, and makes such lines of all others."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream.buffer, "utf-8", "backslashreplace", line_buffering=True)
        self._stream = stream  # which would close its buffer when nobody holds it
        self._begun = ""

    def write(self, text: str) -> int:
        """Write the lines that are whole by now."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            super().write((line if _is_ours(line) else _wrap(line)) + "\n")
        return len(text)


def said_in(line: str) -> str:
    """Return the message of a line that is JSON of ours, and another line as it is."""
    return str(json.loads(line)["message"]) if _is_ours(line) else line


def _is_ours(line: str) -> bool:
    try:
        return line.startswith('{"time": ') and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _wrap(line: str) -> str:
    made = logging.LogRecord(OTHERS, logging.INFO, "", 0, line, None, None)
    return write_json_line(made)


def write_json_line(record: logging.LogRecord) -> str:
    """Return one record as one line of JSON, in ASCII, so that nothing in it ends the line."""
    facts = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": _level(record),
        "logger": record.name,
        "message": record.getMessage(),
        **asdict(facts_of(record)),
        "flow_run": _flow_run(record),
    }
    if record.exc_info:
        facts["error"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(facts, default=str)


def write_text_line(record: logging.LogRecord) -> str:
    """Return one record as text; further lines of it are indented, so that they pass for none."""
    moment = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
    where = getattr(record, "task_run_name", None) or getattr(record, "flow_run_name", None)
    parts = (moment, f"{_level(record):7}", where or record.name, write_message(record))
    return " | ".join(str(part) for part in parts)


def write_message(record: logging.LogRecord) -> str:
    """Return what a record is about, then what it says."""
    about = " ".join(f"{name}={value or '-'}" for name, value in vars(facts_of(record)).items())
    said = record.getMessage()
    if record.exc_info:
        said += "\n" + logging.Formatter().formatException(record.exc_info)
    shown = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in said)
    return f"{about} | " + shown.replace("\n", "\n    ")


def facts_of(record: logging.LogRecord) -> Facts:
    """Return what a record is about: what the code around it said, else what its flow was given.

    Prefect's last line of a run comes after the flow has ended, so what it was about is kept; of a
    run about one day also the version and the registry's run, which were found out on the way.
    """
    run, name = _flow_run_context(), _flow_run(record) or ""
    given = _given(run.parameters or {}) if run else NOTHING
    found = _fill(_fill(present_facts(), given), _of_runs.get(name, NOTHING))
    if run:
        _of_runs[name] = found if given.date else given
    return found


def _given(parameters: Mapping[str, Any]) -> Facts:
    """Return what a flow is about by its parameters."""
    given = {name: parameters.get(parameter) for name, parameter in PARAMETERS.items()}
    known = {name: str(v) for name, v in given.items() if v and isinstance(v, str | date)}
    return replace(NOTHING, **known)


def _fill(facts: Facts, others: Facts) -> Facts:
    """Return ``facts`` with what is not known taken from ``others``."""
    return Facts(**{name: value or getattr(others, name) for name, value in vars(facts).items()})


def _flow_run_context() -> Any:
    """Return Prefect's record of the flow around this, None outside a flow."""
    context = getattr(sys.modules.get("prefect.context"), "FlowRunContext", None)
    return context.get() if context else None


def _level(record: logging.LogRecord) -> str:
    """Return the level; headings and facts for a person's screen are information."""
    between = logging.INFO < record.levelno < logging.WARNING
    return "INFO" if between else record.levelname


def _flow_run(record: logging.LogRecord) -> str | None:
    found = getattr(record, "flow_run_id", None)
    run = None if found else _flow_run_context()
    if run is not None and run.flow_run is not None:
        found = run.flow_run.id
    return str(found) if found else None
