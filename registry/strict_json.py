"""JSON from outside: read only if every reader would understand the same by it."""

import json
import re
from typing import Any

from registry.canonical import canonical_json

MAX_DEPTH = 64
# The closing quote is optional so that a text without one is passed over once, not once a quote.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


def decode_strictly(data: bytes) -> Any:
    """Return the value of canonical JSON.

    Raises:
        ValueError: duplicate keys, NaN, nesting deeper than 64, or not canonical (RFC 8785).
    """
    _check_depth(data)
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if canonical_json(value) != data:
        raise ValueError("expected canonical JSON (RFC 8785), got another spelling")
    return value


def _check_depth(data: bytes) -> None:
    depth = 0
    for token in TOKEN.finditer(data):
        if token[0] in b"[{":
            depth += 1
        elif token[0] in b"]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"expected JSON nested at most {MAX_DEPTH} deep, got deeper")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected each key once, got {twice!r} twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"expected JSON, got {name}")
