"""Values as text: as a person reads them, and as JSON that no terminal obeys."""

import json
import re
from datetime import date, datetime
from typing import Any

BEYOND_ASCII = re.compile(r"[^\n -~]")


def write_json(value: Any, indent: int | None = None) -> str:
    """Return ``value`` as JSON in which letters are letters, and what a terminal obeys is not."""
    text = json.dumps(value, indent=indent, default=_plain, ensure_ascii=False)
    return BEYOND_ASCII.sub(_escape, text)


def show(value: object) -> str:
    """Return ``value`` as a person reads it: local time, thousands, control characters escaped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def local(text: str) -> str:
    """Return an ISO moment in the user's own zone."""
    return show(datetime.fromisoformat(text))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    raise TypeError(f"{type(value).__name__} is no JSON value")
