"""The program of the concepts prints what its page and its picture show."""

import io
import re
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout

import pytest

from .pages import ROOT, blocks, links, name, text

PAGE = "docs/concepts.md"
PICTURES = sorted((ROOT / "docs/images").glob("concepts-*.svg"))


def shown():
    (output,) = [block.text for block in blocks("text") if name(block.page) == PAGE]
    return output


def test_the_program_prints_the_log_that_the_page_shows():
    (program,) = [block.text for block in blocks("python") if name(block.page) == PAGE]
    with redirect_stdout(io.StringIO()) as printed:
        exec(program, {"__name__": "refunds"})
    assert [line.rstrip() for line in printed.getvalue().splitlines()] == shown().splitlines()


def test_the_picture_of_a_run_stores_every_event_of_the_log_once_and_in_order():
    edges = [edge.get("data-events", "").split() for edge in ET.parse(PICTURES[-1]).getroot().iter()]
    drawn = [number for numbers in edges for number in numbers]
    assert PICTURES[-1].stem == "concepts-run"
    assert drawn == re.findall(r"^\d+", shown(), re.MULTILINE)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_shown_and_drawn_for_light_and_dark(picture):
    assert "prefers-color-scheme: dark" in picture.read_text()
    assert f"images/{picture.name}" in links(ROOT / PAGE)
    assert re.search(rf"!\[[^\]]{{60,}}\]\(images/{picture.name}\)", text(PAGE)), "an alternative text"
