"""Secrets that are shown once: only the response to the form contains them."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest

from tests.support.server import Server

from .plain_browser import PlainBrowser

pytestmark = pytest.mark.postgres

PLACE = "/ui/projects/default"
#: What a form creates: its page, its action, its fields, and pages that show the result.
FORMS = {
    "key": (f"{PLACE}/access", "/keys", {"name": "made", "scopes": "runs:read"}, [f"{PLACE}/access"]),
    "webhook": (
        f"{PLACE}/webhooks",
        "/webhooks",
        {"url": "https://example.com/in", "events": "*"},
        [f"{PLACE}/webhooks"],
    ),
    "trigger": (f"{PLACE}/webhooks", "/triggers", {"target": "task:a"}, [f"{PLACE}/webhooks"]),
    "project": ("/ui/new-project", "/new-project", {"slug": "another"}, ["/ui/system"]),
}


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for kind in ("webhooks", "triggers", "api-keys"):
        for one in api.get(f"/projects/default/{kind}")["data"]:
            if one.get("name") != "bootstrap":
                api.http.delete(f"/projects/default/{kind}/{one['id']}").raise_for_status()


def secret_in(first):
    return first.text.partition('<code id="secret" tabindex="0">')[2].partition("<")[0]


@pytest.mark.parametrize("what", FORMS)
def test_a_secret_is_in_one_answer_and_nowhere_else(browser, server, what):
    path, action, filled, pages = FORMS[what]
    to, ready = browser.form(path, action)
    filled = ready | filled | ({"slug": f"once-{what}"} if what == "project" else {})
    first = browser.http.post(to, data=filled)
    assert first.status_code == 200, first.text
    secret = secret_in(first)
    hidden = re.split("vf_[0-9a-f]{8}_|whsec_|vft_", secret)[-1]
    assert len(hidden) >= 32
    assert first.text.count(hidden) == 1
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["referrer-policy"] == "same-origin"
    second = browser.http.post(to, data=filled)
    assert second.status_code == 303
    for response in (first, second, *map(browser.get, pages)):
        assert hidden not in unquote(str(response.url))
        assert hidden not in str(response.headers)
        assert response is first or hidden not in response.text
    assert hidden not in str(list(browser.http.cookies.jar))
    assert hidden not in server.log
    assert not any(hidden in line for line in server.stdout)


def test_a_form_that_is_sent_again_to_another_replica_creates_nothing(server, api, browser, tmp_path):
    if "postgres" not in str(server.database):
        pytest.skip("SQLite has one server")
    to, ready = browser.form(f"{PLACE}/access", "/keys")
    filled = ready | {"name": "replicated", "scopes": "runs:read"}
    other = Server(tmp_path, server.database).start()
    try:
        assert secret_in(browser.http.post(to, data=filled)).startswith("vf_")
        second = browser.http.post(other.url + to, data=filled)
    finally:
        other.kill()
    assert second.status_code == 303
    assert [one["name"] for one in api.get("/projects/default/api-keys")["data"]].count("replicated") == 1


def test_concurrent_submissions_of_a_form_create_one_key(api, browser):
    to, ready = browser.form(f"{PLACE}/access", "/keys")
    filled = ready | {"name": "pressed", "scopes": "runs:read"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: browser.http.post(to, data=filled), range(4)))
    assert sorted(first.status_code for first in answers) == [200, 303, 303, 303]
    assert [one["name"] for one in api.get("/projects/default/api-keys")["data"]].count("pressed") == 1
