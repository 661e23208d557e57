"""What is printed for programs keeps every value and obeys no terminal."""

import json

import pytest

from pilotline.flows.screen.text import write_json


@pytest.mark.parametrize(
    "text",
    ["\x1b[2J", "\x7f", "\x9b31mred", "\u202eevil", "a\u200bb", "\ud800", "\U000e0041", "a\nb"],
)
def test_what_a_terminal_obeys_is_escaped_in_json_and_keeps_its_value(text: str) -> None:
    for indent in (None, 2):
        written = write_json({text: [text]}, indent)
        assert written.replace("\n", "").isprintable()
        assert json.loads(written) == {text: [text]}


def test_letters_stay_letters_in_json() -> None:
    assert write_json(["Jörg, 東京 😀"]) == '["Jörg, 東京 😀"]'
