"""Canonical JSON against the samples printed in RFC 8785."""

import json
import struct
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotline.registry.form.canonical import canonical_json, digest_bytes, digest_json

# RFC 8785, appendix B: the bits of a double, and how it is printed.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
SAFE = 2**53 - 1
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "printed"), NUMBERS.items())
def test_a_double_is_printed_as_in_appendix_b(bits: str, printed: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == printed.encode()


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000", "fff0000000000000"])
def test_nan_and_the_infinities_are_refused(bits: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    with pytest.raises(ValueError, match=r"Expected a finite number, got -?(nan|inf)"):
        canonical_json(value)


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    # RFC 8785, section 3.2.3: the emoji's surrogate pair sorts before U+FB33.
    given_order = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(given_order)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_the_example_of_section_3_2_2_gives_its_printed_form() -> None:
    example = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    printed = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(example) == printed.encode()


@given(VALUES)
def test_any_json_reader_gets_the_value_back(value: object) -> None:
    # RFC 8785 numbers are doubles; json.loads would make exact integers of long ones.
    assert json.loads(canonical_json(value), parse_int=float) == value


@given(st.dictionaries(st.text(), LEAVES, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, object], random: Random) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_a_float_of_numpy_is_printed_as_its_value() -> None:
    assert canonical_json({"roc_auc": np.float64(0.75)}) == b'{"roc_auc":0.75}'


def test_an_integer_that_readers_would_round_is_refused() -> None:
    assert canonical_json(SAFE) == b"9007199254740991"
    with pytest.raises(ValueError, match=r"at most 2\*\*53 - 1, got 9007199254740992"):
        canonical_json(SAFE + 1)


@pytest.mark.parametrize("value", [b"abc", {1, 2}, object(), [np.int64(1)]])
def test_what_is_no_json_value_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="Expected a JSON value"):
        canonical_json(value)


def test_a_key_that_is_not_text_is_refused() -> None:
    with pytest.raises(TypeError, match="Expected a text key, got 1"):
        canonical_json({1: "one"})


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical_json("\ud83d")


def test_digests_are_those_of_fips_180_4() -> None:
    # FIPS 180-4 examples, SHA-256: the one-block message, and RFC 6234's empty one.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest_bytes(b"abc") == abc
    assert digest_bytes(b"") == empty


def test_the_digest_of_a_value_is_that_of_its_canonical_text() -> None:
    assert digest_json({"b": 1.0, "a": None}) == digest_bytes(b'{"a":null,"b":1}')
