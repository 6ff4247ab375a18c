"""The threat model and the concepts name a test for each promise, and the tests exist."""

import re

import pytest

from .pages import ROOT, table, text

PAGES = {"docs/security.md": 30, "docs/concepts.md": 15}  # with at least so many promises
NAMED = sorted(
    {named for page in PAGES for named in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", text(page))}
)


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_holds_a_promise_exists(named):
    path, _, name = named.partition("::")
    source = (ROOT / path).read_text()
    assert not name or re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)


@pytest.mark.parametrize(("page", "promises_min"), PAGES.items())
def test_every_promise_has_a_test(page, promises_min):
    rows = table(page, "promise")
    assert len(rows) >= promises_min
    assert all("tests/" in row[1] for row in rows)
