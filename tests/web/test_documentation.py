"""`/docs`: files of the built site over ASGI, and one page of routes and error codes where no site was built."""

import gzip
import re

import httpx2
import pytest
from starlette.routing import Route, Router

from runstead.core.errors import CODES, RUN_CODES
from runstead.http.framework.app import operations
from runstead.web.documentation.site import PATHS, POLICY, Documentation
from runstead.web.framework.app import _Open

PAGE = "<h1>Runstead</h1>" * 100
FILES = {
    "index.html": PAGE,
    "errors/index.html": PAGE,
    "llms.txt": "# Runstead",
    "assets/javascripts/bundle.0123abcd.min.js": "1;" * 1000,
    "images/run.png": "\x00" * 3000,
}


def client(root):
    open_route = _Open(Documentation(root).respond)
    app = Router([Route(path, open_route) for path in PATHS], redirect_slashes=False)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://site")


@pytest.fixture
async def site(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    root = tmp_path / "site"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    async with client(root) as found:
        yield found


@pytest.fixture
async def unbuilt(tmp_path):
    async with client(tmp_path / "nothing") as found:
        yield found


@pytest.mark.parametrize("path", ["/docs/", "/docs/errors/", "/docs/index.html"])
async def test_a_page_has_the_policy_of_pages_and_is_compressed(site, path):
    answer = await site.get(path)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    whole = await site.get(path, headers={"Accept-Encoding": "identity"})
    assert whole.text == PAGE
    assert whole.headers["vary"] == answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("path", "target"), [("/docs", "/docs/"), ("/docs/errors", "/docs/errors/")])
async def test_a_folder_without_its_slash_is_redirected(site, path, target):
    """Links of pages are relative. A browser keeps the fragment of `/docs#CODE`."""
    answer = await site.get(path)
    assert (answer.status_code, answer.headers["location"]) == (307, target)


async def test_a_browser_that_has_a_file_gets_304(site):
    for encoding in ("gzip", "identity"):
        first = await site.get("/docs/", headers={"Accept-Encoding": encoding})
        for tag in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
            again = await site.get("/docs/", headers={"If-None-Match": tag, "Accept-Encoding": encoding})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
    assert (await site.get("/docs/", headers={"If-None-Match": '"other"'})).status_code == 200


async def test_a_name_with_a_digest_is_cached_for_ever_and_others_are_compared(site):
    script = await site.get("/docs/assets/javascripts/bundle.0123abcd.min.js")
    assert "immutable" in script.headers["cache-control"]
    for path in ("/docs/", "/docs/images/run.png", "/docs/llms.txt"):
        assert (await site.get(path)).headers["cache-control"] == "no-cache"


async def test_pictures_are_not_compressed(site):
    answer = await site.get("/docs/images/run.png")
    assert answer.headers["content-type"] == "image/png"
    assert "content-encoding" not in answer.headers


async def test_programs_find_the_list_of_pages_at_the_root(site):
    answer = await site.get("/llms.txt")
    assert (answer.text, answer.headers["content-type"]) == ("# Runstead", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/docs/none",
        "/docs/none/",
        "/docs/..%2Fsecret.txt",
        "/docs/%2e%2e/secret.txt",
        "/docs//etc/passwd",
        "/docs/images",
    ],
)
async def test_nothing_else_is_served(site, path):
    answer = await site.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace(path, "")


async def test_head_has_the_headers_of_get_and_other_methods_are_refused(site):
    head, get = await site.head("/docs/"), await site.get("/docs/")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers
    assert (await site.post("/docs/")).status_code == 405


async def test_a_file_is_compressed_once(site, monkeypatch):
    calls = []
    real = gzip.compress
    monkeypatch.setattr(gzip, "compress", lambda *args, **options: calls.append(1) or real(*args, **options))
    for _ in range(3):
        await site.get("/docs/errors/")
    assert calls == [1]


async def test_without_a_site_the_page_has_every_route_and_every_error_code(unbuilt):
    for path in ("/docs", "/docs/"):
        answer = await unbuilt.get(path)
        assert answer.status_code == 200
        assert "<code>make docs</code>" in answer.text
        assert set(re.findall(r'<tr id="(\w+)">', answer.text)) == {*CODES, *RUN_CODES}
        assert all(f"<code>{one.method} {one.path}</code>" in answer.text for one in operations())
    for path in ("/docs/errors/", "/llms.txt"):
        assert (await unbuilt.get(path)).status_code == 404
