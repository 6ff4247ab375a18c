"""Secrets that are shown once: the answer to the form holds them, and nothing else ever does."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest

from tests.support.server import Server

from .plain_browser import PlainBrowser

pytestmark = pytest.mark.postgres

PLACE = "/ui/projects/default"
#: What is made: the page of its form, where that goes, what is filled in, and the pages that tell of it afterwards.
MADE = {
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


def secret_in(answer):
    return answer.text.partition('<code id="secret" tabindex="0">')[2].partition("<")[0]


@pytest.mark.parametrize("what", MADE)
def test_a_secret_is_in_one_answer_and_nowhere_else(browser, server, what):
    path, action, filled, pages = MADE[what]
    to, ready = browser.form(path, action)
    filled = ready | filled | ({"slug": f"once-{what}"} if what == "project" else {})
    answer = browser.http.post(to, data=filled)
    assert answer.status_code == 200, answer.text
    secret = secret_in(answer)
    hidden = re.split("vf_[0-9a-f]{8}_|whsec_|vft_", secret)[-1]
    assert len(hidden) >= 32
    assert answer.text.count(hidden) == 1
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"
    again = browser.http.post(to, data=filled)
    assert again.status_code == 303
    for told in (answer, again, *map(browser.get, pages)):
        assert hidden not in unquote(str(told.url))
        assert hidden not in str(told.headers)
        assert told is answer or hidden not in told.text
    assert hidden not in str(list(browser.http.cookies.jar))
    assert hidden not in server.log
    assert not any(hidden in line for line in server.stdout)


def test_a_form_that_is_sent_again_to_another_replica_makes_nothing_more(server, api, browser, tmp_path):
    if "postgres" not in str(server.database):
        pytest.skip("SQLite has one server")
    to, ready = browser.form(f"{PLACE}/access", "/keys")
    filled = ready | {"name": "replicated", "scopes": "runs:read"}
    other = Server(tmp_path, server.database).start()
    try:
        assert secret_in(browser.http.post(to, data=filled)).startswith("vf_")
        again = browser.http.post(other.url + to, data=filled)
    finally:
        other.kill()
    assert again.status_code == 303
    assert [one["name"] for one in api.get("/projects/default/api-keys")["data"]].count("replicated") == 1


def test_a_button_pressed_often_at_once_makes_one(api, browser):
    to, ready = browser.form(f"{PLACE}/access", "/keys")
    filled = ready | {"name": "pressed", "scopes": "runs:read"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: browser.http.post(to, data=filled), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 303, 303, 303]
    assert [one["name"] for one in api.get("/projects/default/api-keys")["data"]].count("pressed") == 1
