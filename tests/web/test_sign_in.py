"""Sign-in, sign-out and sessions."""

import httpx2
import pytest
from playwright.sync_api import expect

from runstead.core import limits
from runstead.core.identity.project import new_key
from runstead.web.framework.text import browser_name


@pytest.fixture
def visitor(server):
    """A browser without JavaScript and without a session."""
    with httpx2.Client(base_url=server.url, headers={"Accept": "text/html"}) as client:
        yield client


def signed_in(client, key):
    answer = client.post("/ui/sign-in", data={"credential": key})
    assert answer.status_code == 303, answer.text
    return answer


def csrf_in(page):
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


def test_signing_in_and_out(open_tab):
    tab = open_tab("/ui")
    expect(tab.page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    tab.page.get_by_text("Account").click()
    tab.page.get_by_role("button", name="Sign out").click()
    expect(tab.page.get_by_label("API key or token")).to_be_visible()
    tab.open("/ui/projects/default/runs")
    expect(tab.page.get_by_label("API key or token")).to_be_visible()


def test_a_browser_at_the_root_is_redirected_to_the_dashboard(visitor):
    assert visitor.get("/").headers["location"] == "/ui"
    assert visitor.get("/ui").headers["location"] == "/ui/sign-in"


def test_a_program_at_the_root_gets_the_api(server):
    assert httpx2.get(server.url).status_code == 404


def test_the_cookie_is_for_the_browser_alone(visitor, server):
    expected = signed_in(visitor, server.key).headers["set-cookie"]
    assert "HttpOnly" in expected
    assert "SameSite=strict" in expected
    assert "Path=/ui" in expected
    assert server.key not in expected


def test_the_cookie_is_secure_with_tls(visitor, server):
    answer = visitor.post(
        "/ui/sign-in", data={"credential": server.key}, headers={"X-Forwarded-Proto": "https"}
    )
    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("credential", ["", "nonsense", "vf_e2e_" + "0" * 64])
def test_an_invalid_credential_is_refused(visitor, credential):
    answer = visitor.post("/ui/sign-in", data={"credential": credential})
    assert answer.status_code in (400, 401)
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers


def test_signing_in_redirects_to_the_requested_page(visitor, server):
    asked = visitor.get("/ui/projects/default/runs?status=failed")
    assert asked.headers["location"] == "/ui/sign-in?next=/ui/projects/default/runs%3Fstatus%3Dfailed"
    to = {"credential": server.key, "next": "/ui/projects/default/runs?status=failed"}
    assert visitor.post("/ui/sign-in", data=to).headers["location"] == to["next"]


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example", "//evil.example", "/ui//evil.example", "/ui\\evil", "/\tui"]
)
def test_signing_in_never_redirects_to_another_site(visitor, server, elsewhere):
    answer = visitor.post("/ui/sign-in", data={"credential": server.key, "next": elsewhere})
    assert answer.headers["location"] == "/ui"


def test_a_link_from_another_site_keeps_its_session(visitor, server):
    signed_in(visitor, server.key)
    cookies = dict(visitor.cookies)
    visitor.cookies.clear()  # a browser withholds a strict cookie for a link from another site
    answer = visitor.get("/ui/system", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert 'http-equiv="refresh"' in answer.text
    visitor.cookies.update(cookies)
    assert visitor.get("/ui/sessions").status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [({}, 403), ({"csrf": "0" * 64}, 403)],
)
def test_a_change_needs_the_sessions_own_token(visitor, server, sent, status):
    signed_in(visitor, server.key)
    assert visitor.post("/ui/sign-out", data=sent).status_code == status
    assert visitor.get("/ui/sessions").status_code == 200


@pytest.mark.parametrize("sent", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_a_form_of_another_site_is_refused(visitor, server, sent):
    signed_in(visitor, server.key)
    token = csrf_in(visitor.get("/ui/sessions"))
    assert visitor.post("/ui/sign-out", data={"csrf": token}, headers=sent).status_code == 403
    assert visitor.post("/ui/sign-in", data={"credential": server.key}, headers=sent).status_code == 403


def test_a_session_can_be_ended_from_another_browser(visitor, server):
    signed_in(visitor, server.key)
    with httpx2.Client(base_url=server.url) as other:
        signed_in(other, server.key)
        page = other.get("/ui/sessions")
        ends = [part.partition('"')[0] for part in page.text.split('action="/ui/sessions/')[1:]]
        for end in ends:  # the newest belongs to `other`
            if "revoke-all" not in end and end != ends[0]:
                assert other.post(f"/ui/sessions/{end}", data={"csrf": csrf_in(page)}).status_code == 303
        assert other.get("/ui/sessions").status_code == 200
    assert visitor.get("/ui/sessions").headers["location"].startswith("/ui/sign-in")


def test_a_revoked_key_ends_its_sessions(visitor, api, server):
    made = api.post("/projects/default/api-keys", {"name": "short-lived", "scopes": ["runs:read"]})
    signed_in(visitor, made["key"])
    assert visitor.get("/ui/sessions").status_code == 200
    api.http.delete(f"/projects/default/api-keys/{made['id']}").raise_for_status()
    assert visitor.get("/ui/sessions").headers["location"].startswith("/ui/sign-in")


def test_every_page_has_security_headers(visitor, server):
    signed_in(visitor, server.key)
    for path in ("/ui/sign-in", "/ui/sessions", "/ui/projects/default/runs", "/ui/nowhere"):
        headers = visitor.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_credentials_cannot_be_guessed_at_the_form(visitor, server):
    """The last test of the file: afterwards, the address of all tests is throttled."""
    signed_in(visitor, server.key)
    statuses = [
        visitor.post("/ui/sign-in", data={"credential": new_key()}).status_code
        for _ in range(limits.authentication_failures_max + 40)
    ]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < limits.authentication_failures_max + 30
    refused = visitor.post("/ui/sign-in", data={"credential": new_key()})
    if refused.status_code == 429:
        assert refused.headers["retry-after"] == "1"
        assert "too many unknown credentials" in refused.text
    signed_in(visitor, server.key)  # it was valid before
    assert visitor.get("/ui/sessions").status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140 on Linux"),
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
                " Chrome/139.0.0.0 Safari/537.36 Edg/139.0.0.0"
            ),
            "Edge 139 on Windows",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
                " Version/18.5 Mobile/15E148 Safari/604.1"
            ),
            "Safari 18 on iOS",
        ),
        ("python-httpx/0.28.1", "python-httpx/0.28.1"),
        (None, "unknown"),
    ],
)
def test_a_session_names_its_browser(user_agent, name):
    assert browser_name(user_agent) == name
