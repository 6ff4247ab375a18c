"""Static files: caching, and vendored files that equal those of their packages."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest

VENDOR = files("runstead.web") / "static" / "vendor"
ROWS = re.findall(
    r"^\| `([^`]+)` \| `([^`]+)` \| (\S+) \| `([0-9a-f]{64})` \|$",
    (VENDOR / "README.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize(("name", "package", "licence", "digest"), ROWS, ids=[row[0] for row in ROWS])
def test_a_vendored_file_is_the_packages_own(name, package, licence, digest):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert (VENDOR / f"{name.partition('.')[0]}.LICENSE").is_file()


def test_every_vendored_file_is_accounted_for():
    there = {file.name for file in VENDOR.iterdir() if file.name.endswith((".js", ".css"))}
    assert there == {row[0] for row in ROWS}


@pytest.fixture(scope="module")
def page(server):
    with httpx2.Client(base_url=server.url) as client:
        yield client.get("/ui/sign-in").text


def test_files_are_kept_for_ever_at_an_address_that_changes_with_them(server, page):
    for address in re.findall(r'(?:href|src)="(/ui/static/[^"]+)"', page):
        answer = httpx2.get(server.url + address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["nothing.js", "../text.py", "%2e%2e/text.py", "vendor/../../text.py"])
def test_nothing_else_is_served(server, name):
    assert httpx2.get(f"{server.url}/ui/static/0123456789abcdef/{name}").status_code in (303, 404)


def test_no_attribute_holds_the_markup_that_the_filter_short_makes():
    """Its quotes would end the attribute, and what follows could add others."""
    templates = Path(str(files("runstead.web") / "templates"))
    found = {path.name: re.findall(r'="[^"]*\|short', path.read_text()) for path in templates.rglob("*.html")}
    assert {name: places for name, places in found.items() if places} == {}
