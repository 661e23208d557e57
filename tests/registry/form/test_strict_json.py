"""JSON from outside: canonical, and no more of it than memory holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotline.registry.form.canonical import canonical_json
from pilotline.registry.form.strict_json import decode_strictly

WHOLE = 2**53 - 1  # RFC 8785 section 3.2.2.3
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-WHOLE, WHOLE) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_canonical_json_gives_its_value(value: Any) -> None:
    assert decode_strictly(canonical_json(value)) == value


@given(VALUES)
def test_any_other_spelling_is_refused(value: Any) -> None:
    data = json.dumps(value, indent=1).encode() + b" "
    with pytest.raises(ValueError, match="another spelling"):
        decode_strictly(data)


@pytest.mark.parametrize("data", [b'{"b":1,"a":1}', b"1.0", b"[1 ,2]", b'"\\u0061"', b"[1]\n"])
def test_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="another spelling"):
        decode_strictly(data)


def test_more_values_than_memory_holds_are_refused_before_they_are_decoded() -> None:
    # One list and its two million items are one value too many.
    with pytest.raises(ValueError, match="at most 2000000 values"):
        decode_strictly(b"[" + b"1," * 1_999_999 + b"1]")


def test_signs_in_texts_are_not_counted() -> None:
    text = "[{,:" * 600_000
    assert decode_strictly(json.dumps(text).encode()) == text


@pytest.mark.parametrize("text", [b'{"a":1,"a":1}', b'{"b":{"a":1,"a":2}}'])
def test_a_key_that_is_there_twice_is_named(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^expected each key once, got 'a' twice$"):
        decode_strictly(text)
