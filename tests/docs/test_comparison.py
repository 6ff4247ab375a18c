"""The figures of the comparison are those of the code that its pages show."""

import ast
import io
import re
import tokenize

import pytest

from .pages import blocks, name, table, text

PAGE, CLAIMS = "docs/comparison/invoice.md", "docs/comparison/README.md"
ENGINES = ("DBOS", "Temporal", "Restate")


def lines_of_code(source):
    """The number of lines that hold code: no blank lines, comments and docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = {line for token in tokens if token.type not in layout and token.string for line in _rows(token)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def _rows(token):
    return range(token.start[0], token.end[0] + 1)


def figures(row):
    (cells,) = [cells for cells in table(PAGE, "figure") if cells[0] == row]
    return cells[1:]


def sources(file):
    """The files that a row of the table counts, in its order."""
    own = text(f"examples/invoice/{file}")
    shown = {
        engine: [
            block.text for block in blocks("py") if name(block.page) == f"docs/comparison/{engine.lower()}.md"
        ]
        for engine in ENGINES
    }
    return [own, *(shown[engine][("app.py", "test_app.py").index(file)] for engine in ENGINES)]


@pytest.mark.parametrize("file", ["app.py", "test_app.py"])
def test_the_lines_of_the_comparison_are_those_of_the_code(file):
    assert figures(f"lines of {file}") == [str(lines_of_code(source)) for source in sources(file)]


def test_each_system_proves_the_same_points():
    tests = [source.count("\nasync def test_") for source in sources("test_app.py")]
    assert len(set(tests)) == 1


@pytest.mark.parametrize("row", table(CLAIMS, "system"), ids=lambda row: row[0])
def test_every_claim_about_another_system_has_a_source(row):
    claims = [claim for cell in row[1:] for claim in cell.split("<br>")]
    assert len(claims) >= 3
    assert [claim for claim in claims if not re.search(r"\]\(https://", claim)] == []


def test_the_comparison_has_the_systems_that_it_promises_and_a_date():
    systems = [row[0] for row in table(CLAIMS, "system")]
    chosen = {row[0].strip("*") for row in table(CLAIMS, "choose")}
    assert chosen == {*systems, "Runstead"}
    assert len(systems) == 8
    assert re.search(r"as of 20\d\d-\d\d-\d\d", text(CLAIMS))
