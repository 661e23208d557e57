"""Markup is well-formed, whatever is put into it."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pilotline.tasks.report.plots.markup import Markup, join, tag


@given(st.text())
def test_any_text_comes_back_out_of_an_element_and_its_attribute(text: str) -> None:
    element = ElementTree.fromstring(tag("p", text, title=text))
    # XML 1.0, 2.11 and 3.3.3: a line's end in an attribute is a space. The others are replaced.
    shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    assert (element.text or "") == shown
    assert element.get("title") == shown.replace("\n", " ").replace("\t", " ")


def test_markup_is_kept_and_other_text_escaped() -> None:
    assert tag("p", tag("b", "a"), "<b>") == "<p><b>a</b>&lt;b&gt;</p>"


def test_a_child_or_attribute_that_is_none_is_left_out() -> None:
    assert tag("p", None, "a", class_=None, aria_label="x") == '<p aria-label="x">a</p>'


def test_only_elements_without_contents_close_themselves() -> None:
    assert join(tag("br"), tag("td"), Markup("&amp;")) == "<br/><td></td>&amp;"
