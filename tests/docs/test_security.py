"""The threat model names a test for each promise, and the tests exist."""

import re

import pytest

from .pages import ROOT, table, text

PAGE = "docs/security.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", text(ROOT / PAGE))))


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_holds_a_promise_exists(named):
    path, _, name = named.partition("::")
    source = (ROOT / path).read_text()
    assert not name or re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


def test_every_promise_has_a_test():
    rows = table(PAGE, "promise")
    assert len(rows) >= 30
    assert all("tests/" in row[1] for row in rows)
