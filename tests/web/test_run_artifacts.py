"""Artifacts on a run's page: images are shown inline, all others are downloads, never pages of this origin."""

import base64

import pytest
from playwright.sync_api import expect

from .run_pages import TaskRun
from .web_client import WebClient, page_text

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EVIL = b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='gone'</script></svg>"
PAGE = b"<!doctype html><script>document.title='gone'</script>"


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


@pytest.fixture
def run(api):
    return TaskRun(api)


def test_a_picture_is_shown_and_anything_else_is_a_link(web_client, run):
    run.artifact("chart.png", PIXEL, "image/png")
    run.artifact("rows.csv", b"a,b\n", "text/csv")
    run.artifact("logo.svg", EVIL, "image/svg+xml")
    run.artifact("page.html", PAGE, "text/html")
    page = web_client.get(run.page)
    assert page.text.count(f'<img src="{run.page}/artifacts/') == 1
    assert f'<img src="{run.page}/artifacts/chart.png"' in page.text
    for expected in ("chart.png", "rows.csv", "text/csv · 4 B", "logo.svg", "page.html"):
        assert expected in page_text(page)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("logo.svg", EVIL, "image/svg+xml"),
        ("page.html", PAGE, "text/html"),
        ("page.xhtml", PAGE, "application/xhtml+xml; charset=utf-8"),
        ("liar.png", PAGE, "image/png+html"),
        ("a b'\".csv", b"1", "text/csv"),
    ],
)
def test_active_content_is_only_ever_downloaded(web_client, run, name, content, kind):
    run.artifact(name.replace('"', "%22").replace(" ", "%20"), content, kind)
    answer = web_client.get(f"{run.page}/artifacts/{name}".replace('"', "%22"))
    assert answer.content == content
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_content_types_are_not_sniffed(web_client, run):
    run.artifact("liar.png", PAGE, "image/png")
    answer = web_client.get(f"{run.page}/artifacts/liar.png")
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["content-disposition"] == "inline"


def test_a_picture_is_not_sent_twice(web_client, run):
    run.artifact("chart.png", PIXEL, "image/png")
    first = web_client.get(f"{run.page}/artifacts/chart.png")
    again = web_client.http.get(
        f"{run.page}/artifacts/chart.png", headers={"If-None-Match": first.headers["etag"]}
    )
    assert again.status_code == 304


def test_an_artifact_that_is_stored_elsewhere_is_listed(web_client, api, run):
    run.complete(artifacts=[{"name": "big.bin", "uri": "javascript:alert(1)", "size": 5_000_000_000}])
    page = web_client.get(run.page)
    assert "big.bin stored elsewhere" in page_text(page)
    assert "5.0 GB" in page_text(page)
    assert 'href="javascript:' not in page.text
    web_client.get(f"{run.page}/artifacts/big.bin", 404)


def test_a_browser_shows_the_picture_and_keeps_the_rest(open_tab, run):
    run.artifact("chart.png", PIXEL, "image/png")
    run.artifact("logo.svg", EVIL, "image/svg+xml")
    page = open_tab(run.page).page
    picture = page.get_by_role("img", name="chart.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    with page.expect_download() as download:
        page.get_by_role("link", name="logo.svg").click()
    assert download.value.suggested_filename == "logo.svg"
    assert "gone" not in page.title()
