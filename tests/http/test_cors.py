"""Pages of other origins can call the API only if the operator allows them."""

import httpx2
import pytest

from runstead.http.framework.cors import with_cors
from runstead.server import settings

PAGE = "https://app.example.com"


@pytest.fixture
def browser(api):
    def open_page(*origins):
        transport = httpx2.ASGITransport(with_cors(origins, api.http_app))
        return httpx2.AsyncClient(transport=transport, base_url="http://runstead.test")

    return open_page


def asks(method, *headers, origin=PAGE):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return {**asked, "Access-Control-Request-Headers": ", ".join(headers)} if headers else asked


async def test_without_the_setting_no_origin_is_allowed(browser):
    async with browser() as page:
        answer = await page.get("/healthz", headers={"Origin": PAGE})
        assert "access-control-allow-origin" not in answer.headers
        assert (await page.options("/runs", headers=asks("POST"))).status_code == 405


async def test_an_allowed_origin_may_send_credentials_and_resume_a_stream(browser):
    async with browser(PAGE) as page:
        answer = await page.options(
            "/runs/r/stream",
            headers=asks("GET", "authorization", "last-event-id", "x-api-key", "idempotency-key"),
        )
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE


async def test_other_origins_are_refused(browser):
    async with browser(PAGE) as page:
        answer = await page.options("/runs", headers=asks("POST", origin="https://evil.example"))
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers


async def test_an_allowed_origin_reads_errors_and_the_headers_it_needs(browser):
    async with browser("*") as page:
        answer = await page.get("/runs/nothing", headers={"Origin": PAGE})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Location" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "message", ["app.example.com", "https://a.example/path", "https://a.example https://b.example"]
)
def test_malformed_origins_are_refused_at_start(message):
    with pytest.raises(settings.SettingError, match="RUNSTEAD_CORS_ORIGINS must list origins"):
        settings.load({"RUNSTEAD_CORS_ORIGINS": message})


def test_several_origins_are_separated_by_commas():
    loaded = settings.load({"RUNSTEAD_CORS_ORIGINS": f"{PAGE}, http://localhost:3000"})
    assert loaded.cors_origins == (PAGE, "http://localhost:3000")
