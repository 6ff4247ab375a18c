"""The project's pages as the tests read them: texts, tables, code blocks, headings, links."""

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(
    r"(?:^[ ]*<!-- type: (?P<type>[\w.]+) -->\n)?^(?P<indent>[ ]*)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    page: Path
    language: str
    type: str | None  # named in a comment right above it
    text: str


def name(page):
    return str(page.relative_to(ROOT))


def text(page):
    return (ROOT / page).read_text()


def prose(page):
    """The text without its code blocks."""
    return _FENCE.sub("", text(page))


def blocks(*languages):
    return [
        Block(page, found["language"], found["type"], dedent(found["text"]))
        for page in PAGES
        for found in _FENCE.finditer(text(page))
        if found["language"] in languages
    ]


def files(page):
    """The Python files of a page by name: each block of Python is under a line that ends in "`orders.py`:"."""
    found = dict(
        re.findall(r"`(\w+\.py)`[^`\n]*:\n\n```python\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)
    )
    assert len(found) in {0, text(page).count("```python\n")}, (
        f"{page} has a block of Python without a file name"
    )
    return found


def table(page, head):
    """The rows, as lists of cells, of every table whose first header cell reads `head`."""
    rows, taking = [], False
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            taking = False
        elif taking:
            rows.append(cells)
        elif cells[0] == head:
            taking = True
    return [cells for cells in rows if not set("".join(cells)) <= set("-: ")]


def ticked(cell):
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def section(page, heading):
    """What stands under a heading, up to the next one of its level or above."""
    level = heading.split(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text(page), re.DOTALL | re.MULTILINE
    )
    assert found, f"{name(ROOT / page)} has no heading {heading!r}"
    return found[1]


def anchors(page):
    """What a link may point to within a page: its headings, as they are written in addresses."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page):
    return re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(page))


def each_page(test):
    """Call a test with every page. An error names its page."""

    def on_every_page():
        for page in PAGES:
            try:
                test(page)
            except BaseException as error:
                error.add_note(f"on {name(page)}")
                raise

    on_every_page.__name__ = test.__name__
    return on_every_page
