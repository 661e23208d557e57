"""Canonical JSON after RFC 8785, and the SHA-256 digests taken over it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

MAX_SAFE_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: beyond it readers disagree


def canonical_json(value: object) -> bytes:
    """Return ``value`` as canonical UTF-8 JSON: the same value gives the same bytes.

    Raises:
        ValueError: a number is NaN, infinite or an integer beyond 2**53 - 1.
        TypeError: something is not a JSON value.

    Source:
        RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code units, numbers as
        ECMAScript prints them, no white space.
    """
    return _encode(value).encode("utf-8")


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data``, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of ``value`` as canonical JSON, 64 hex digits."""
    return digest_bytes(canonical_json(value))


def _encode(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise ValueError(f"Expected an integer of at most 2**53 - 1, got {value}.")
        return str(value)
    if isinstance(value, float):
        return _encode_float(value)
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: str(key).encode("utf-16-be"))
        return "{" + ",".join(f"{_encode_key(key)}:{_encode(value[key])}" for key in keys) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return "[" + ",".join(_encode(item) for item in value) + "]"
    raise TypeError(f"Expected a JSON value, got {type(value).__name__}.")


def _encode_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"Expected a text key, got {key!r}.")
    return json.dumps(key, ensure_ascii=False)


def _encode_float(value: float) -> str:
    """Return ``value`` as ECMAScript's Number::toString prints it (ECMA-262, 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise ValueError(f"Expected a finite number, got {value}.")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    # repr gives the shortest digits that read back as the same double, as ECMAScript asks.
    mantissa, _, exponent = repr(float(abs(value))).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"
