"""Saved views of the list of runs."""

import pytest

from .plain_browser import PlainBrowser

pytestmark = pytest.mark.postgres
PAGE = "/ui/projects/default/runs"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


def key_with(api, *scopes):
    made = api.http.post("/projects/default/api-keys", json={"name": "k", "scopes": list(scopes)})
    return made.raise_for_status().json()["key"]


def test_filters_are_saved_for_oneself_and_for_the_project(browser, api, server):
    filters = f"{PAGE}?status=failed&q=%3Cb%3Ecard&label=team%3Ared"
    save = "/list/views"
    assert "was saved" in browser.flash_after(browser.send(filters, save, {"name": "<i>Mine</i>"}))
    assert "was saved" in browser.flash_after(
        browser.send(filters, save, {"name": "All see", "shared": "on"})
    )
    page = browser.page(PAGE)
    address = f"{PAGE}?status=failed&amp;label=team%3Ared&amp;q=%3Cb%3Ecard"
    assert f'<a href="{address}" class="hostile">&lt;i&gt;Mine&lt;/i&gt;</a>' in page
    assert "All see</a> <span" in page
    with PlainBrowser(server.url, key_with(api, "runs:read")) as other:
        seen = other.page(PAGE)
        assert "All see" in seen
        assert "Mine" not in seen
        refused = other.send(filters, save, {"name": "No", "shared": "on"})
        assert refused.status_code == 403
        delete = other.http.post(
            f"/ui/projects/default{save}/delete",
            data=other.form(PAGE, save)[1] | {"name": "All see", "shared": "on"},
        )
        assert delete.status_code == 403
        assert "was saved" in other.flash_after(other.send(PAGE, save, {"name": "Mine"}))
    # The same name replaces the view, and filters that are no filters are not kept.
    browser.send(f"{PAGE}?status=failed&status=nonsense&evil=1", save, {"name": "<i>Mine</i>"})
    page = browser.page(PAGE)
    assert page.count("&lt;i&gt;Mine&lt;/i&gt;</a>") == 1
    assert f'<a href="{PAGE}?status=failed" class="hostile">' in page
    for name, shared in (("<i>Mine</i>", ""), ("All see", "on")):
        browser.flash_after(browser.send(PAGE, f"{save}/delete", name=name, shared=shared))
    assert "All see" not in browser.page(PAGE)


def test_an_invalid_view_is_refused(browser):
    for name in ("", "x" * 81, "a\tb"):
        assert browser.send(f"{PAGE}?status=failed", "/list/views", {"name": name}).status_code == 400


def test_no_name_of_a_deleted_view_fills_the_cookies(browser):
    """A message is kept in a cookie for the next page. With 100 kB of them the server refuses every page."""
    assert "was saved" in browser.flash_after(
        browser.send(f"{PAGE}?status=failed", "/list/views", {"name": "Mine"})
    )
    for name in ("x" * 100_000, "a\0b"):
        refused = browser.send(PAGE, "/list/views/delete", {"name": name}, name="Mine", shared="")
        assert refused.status_code == 400
        assert "Mine" in browser.page(PAGE)
