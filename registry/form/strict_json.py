"""JSON from outside: read only if every reader would understand the same by it."""

import json
import re
from typing import Any

from pilotline.registry.form.canonical import canonical_json

MAX_DEPTH = 64
MAX_VALUES = 2_000_000  # a value takes some 100 bytes in memory; two hundred years of daily scoring
# The closing quote is optional so that a text without one is passed over once, not once a quote.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},:]', re.DOTALL)


def decode_strictly(data: bytes) -> Any:
    """Return the value of canonical JSON.

    Raises:
        ValueError: duplicate keys, NaN, nesting deeper than 64, more than two million values, or
            not canonical (RFC 8785).
    """
    _check_size(data)
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if _follow(value, data, 0) != len(data):
        raise _not_canonical()
    return value


def _check_size(data: bytes) -> None:
    """Count before anything is decoded: a small text may stand for many values."""
    depth, values = 0, 1
    for token in TOKEN.finditer(data):
        sign = token[0]
        if sign in (b"[", b"{"):
            depth += 1
            values += 1
        elif sign in (b"]", b"}"):
            depth -= 1
        elif sign in (b",", b":"):
            values += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"expected JSON nested at most {MAX_DEPTH} deep, got deeper")
        if values > MAX_VALUES:
            raise ValueError(f"expected JSON of at most {MAX_VALUES} values, got more")


def _follow(value: Any, data: bytes, at: int) -> int:
    """Return where the canonical spelling of ``value`` ends that begins at ``at``.

    It is followed piece by piece: spelling out the whole would take its memory again.

    Raises:
        ValueError: something else is there.
    """
    if isinstance(value, dict):
        at = _expect(b"{", data, at)
        for number, key in enumerate(sorted(value, key=lambda key: key.encode("utf-16-be"))):
            spelled = (b"," if number else b"") + canonical_json(key) + b":"
            at = _follow(value[key], data, _expect(spelled, data, at))
        return _expect(b"}", data, at)
    if isinstance(value, list):
        at = _expect(b"[", data, at)
        for number, item in enumerate(value):
            at = _follow(item, data, _expect(b",", data, at) if number else at)
        return _expect(b"]", data, at)
    return _expect(canonical_json(value), data, at)


def _expect(spelled: bytes, data: bytes, at: int) -> int:
    if not data.startswith(spelled, at):
        raise _not_canonical()
    return at + len(spelled)


def _not_canonical() -> ValueError:
    return ValueError("expected canonical JSON (RFC 8785), got another spelling")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected each key once, got {twice!r} twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"expected JSON, got {name}")
