"""Keys, members and limits of a project, and new projects."""

import pytest
from playwright.sync_api import Error as PageError, expect

from .plain_browser import PlainBrowser, refusal

PAGE = "/ui/projects/default/access"


@pytest.fixture
def browser(server):
    with PlainBrowser(server.url, server.key) as browser:
        yield browser


def new_key(browser, **fields):
    answer = browser.send(PAGE, "/keys", {"name": "made", "scopes": ["runs:read"]} | fields)
    assert answer.status_code == 200, answer.text
    return answer


def secret_in(answer):
    return answer.text.partition('<code id="secret" tabindex="0">')[2].partition("<")[0]


def keys(api, name="made"):
    """The keys of this name that are not revoked."""
    found = api.get("/projects/default/api-keys")["data"]
    return [one for one in found if one["name"] == name and one["revoked_at"] is None]


@pytest.fixture(autouse=True)
def nothing_left(api):
    yield
    for one in keys(api):
        api.http.delete(f"/projects/default/api-keys/{one['id']}").raise_for_status()
    api.http.put("/projects/default/concurrency-limits", json={"limits": []}).raise_for_status()


def test_a_key_is_shown_once_and_has_the_chosen_scopes(browser, api, server):
    answer = new_key(browser, name="made", scopes=["runs:read", "workers"], days="7", runs_per_minute="60")
    secret = secret_in(answer)
    (made,) = keys(api)
    assert made["scopes"] == ["runs:read", "workers"]
    assert made["expires_at"] is not None
    assert (made["runs_per_minute"], made["requests_per_minute"]) == (60, None)
    with server.api(secret) as other:
        assert other.get("/projects/default")["slug"] == "default"
    page = browser.page(PAGE)
    assert f"vf_{made['prefix']}_…" in page
    assert "60 new runs per minute" in page
    assert secret not in page


def test_a_form_that_is_sent_again_makes_no_other_key(browser, api):
    to, ready = browser.form(PAGE, "/keys")
    filled = ready | {"name": "made", "scopes": "runs:read"}
    secret = secret_in(browser.http.post(to, data=filled))
    again = browser.http.post(to, data=filled)
    assert secret not in again.text
    assert browser.flash_after(again).startswith("The key was created when the form was first sent.")
    assert len(keys(api)) == 1
    # Different fields create another key.
    assert secret_in(browser.http.post(to, data=filled | {"scopes": "workers"}))
    assert len(keys(api)) == 2


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"scopes": []}, "No scope is chosen"),
        ({"scopes": ["root"]}, "Invalid enum value"),
        ({"days": "2"}, "The expiry is not"),
        ({"runs_per_minute": "-1"}, "The number must be from 1"),
        ({"name": "x" * 256}, "The name is longer than 255"),
        ({"form_token": ""}, "The form token is missing"),
    ],
)
def test_an_invalid_key_is_rejected_at_its_form(browser, api, fields, sentence):
    answer = browser.send(PAGE, "/keys", {"name": "made", "scopes": ["runs:read"]} | fields)
    assert answer.status_code == 400
    assert sentence in refusal(answer)
    assert keys(api) == []


def test_a_revoked_key_stops_working_at_once(browser, api, server):
    secret = secret_in(new_key(browser))
    (made,) = keys(api)
    with server.api(secret) as other:
        other.get("/projects/default")
        flash = browser.flash_after(browser.send(PAGE, f"/keys/{made['id']}/revoke"))
        assert flash == "The key made was revoked. It no longer works."
        assert other.http.get("/projects/default").status_code == 401
    assert "revoked" in browser.page(PAGE)


def test_a_caller_without_admin_sees_members_and_limits_and_a_note(browser, api, server):
    secret = secret_in(new_key(browser))
    api.post("/projects/default/members", {"user_id": "bob", "role": "admin"})
    limits = {"limits": [{"target": "task:slow", "max_running": 3}]}
    api.http.put("/projects/default/concurrency-limits", json=limits).raise_for_status()
    with PlainBrowser(server.url, secret) as other:
        page = other.page(PAGE)
        for shown in ("does not have the scope", "bob", "task:slow"):
            assert shown in page
        assert "API keys" not in page
        assert 'method="post" action="/ui/projects' not in page
        _, fields = other.form(PAGE, "/ui/sign-out")
        for path, filled in (
            ("keys", {"scopes": "admin", "form_token": "x"}),
            ("members", {"user_id": "eve", "role": "admin"}),
            ("members/remove", {"user_id": "bob"}),
            ("limits", {"max_running": "1"}),
            ("limits/remove", {"target": "task:slow"}),
        ):
            answer = other.http.post(f"/ui/projects/default/{path}", data=fields | filled)
            assert answer.status_code == 403, path
    api.http.delete("/projects/default/members/bob").raise_for_status()


def test_members_are_added_changed_and_removed(browser, api):
    user = "team/<b>ann</b>"
    flash = browser.flash_after(browser.send(PAGE, "/members", {"user_id": user, "role": "viewer"}))
    assert flash == "team/&lt;b&gt;ann&lt;/b&gt; has the role viewer in the project."
    browser.flash_after(browser.send(PAGE, "/members", {"role": "member"}, user_id=user))
    assert [(one["user_id"], one["role"]) for one in api.get("/projects/default/members")["data"]] == [
        (user, "member")
    ]
    browser.flash_after(browser.send(PAGE, "/members/remove", user_id=user))
    assert api.get("/projects/default/members")["data"] == []
    assert refusal(browser.send(PAGE, "/members", {"user_id": "", "role": "member"}))


def test_limits_are_set_beside_each_other_and_removed(browser, api):
    def limits():
        found = api.get("/projects/default/concurrency-limits")["limits"]
        return {one["target"]: one["max_running"] for one in found}

    browser.flash_after(browser.send(PAGE, "/limits", {"max_running": "20"}))
    browser.flash_after(browser.send(PAGE, "/limits", {"target": "task:a", "max_running": "2"}))
    assert limits() == {None: 20, "task:a": 2}
    browser.flash_after(browser.send(PAGE, "/limits", {"max_running": "5"}, target="task:a"))
    assert limits() == {None: 20, "task:a": 5}
    rate = {"rate_limit": "100", "rate_period_seconds": "60", "target": "task:r"}
    flash = browser.flash_after(browser.send(PAGE, "/limits", rate))
    assert flash == "The limit of task:r is 100 starts in 60 seconds."
    browser.flash_after(
        browser.send(PAGE, "/limits", {"max_running": "7"}, target="task:r")
    )  # keeps the rate
    [kept] = [
        one for one in api.get("/projects/default/concurrency-limits")["limits"] if one["target"] == "task:r"
    ]
    assert (kept["max_running"], kept["rate"]["limit"], kept["rate"]["per_key"]) == (7, 100, False)
    flash = browser.flash_after(browser.send(PAGE, "/limits", rate | {"rate_unit": "tokens"}))
    assert flash == "The limit of task:r is 100 tokens in 60 seconds."
    assert "100 tokens in 60 s, 100 left" in browser.get(PAGE).text
    browser.flash_after(browser.send(PAGE, "/limits", {"max_running": "8"}, target="task:r"))
    [kept] = [one for one in api.get("/projects/default/concurrency-limits")["limits"] if "rate" in one]
    assert (kept["max_running"], kept["rate"]["unit"]) == (8, "tokens")
    answer = browser.send(PAGE, "/limits", {"rate_limit": "5"})
    assert "A rate needs a number of runs or tokens, and of seconds" in refusal(answer)
    answer = browser.send(PAGE, "/limits", rate | {"rate_limit": "1000001", "rate_unit": "runs"})
    assert "A rate of runs has a limit of 1,000,000 at most" in refusal(answer)
    browser.flash_after(browser.send(PAGE, "/limits/remove", target="task:r"))
    browser.flash_after(browser.send(PAGE, "/limits/remove", target=""))
    assert limits() == {"task:a": 5}
    for wrong in ("", "-1", "many", "10001", "²"):
        answer = browser.send(PAGE, "/limits", {"max_running": wrong})
        assert answer.status_code == 400
        assert "The number must be from 0 to 10,000" in refusal(answer)


def test_a_project_requires_a_proof_of_the_attempt(browser, api):
    for value in (True, False):
        _, ready = browser.form(PAGE, "/settings")
        flash = browser.flash_after(browser.send(PAGE, "/settings", ready))
        assert ("must prove" in flash) is value
        assert api.get("/projects/default")["require_attempt"] is value


def test_a_project_lets_searches_read_inputs_and_outputs(browser, api):
    for value in (True, False):
        to, ready = browser.form(PAGE, "/settings", search_values="on" if value else "")
        flash = browser.flash_after(browser.http.post(to, data=ready))
        assert ("from now on" in flash) is value
        assert api.get("/projects/default")["search_values"] is value


def test_a_key_makes_a_project_whose_first_key_is_shown_once(browser, api, server):
    slug = "made-by-a-key"
    to, ready = browser.form("/ui/new-project", "/new-project")
    filled = ready | {"slug": slug, "name": "Made <here>"}
    answer = browser.http.post(to, data=filled)
    secret = secret_in(answer)
    with PlainBrowser(server.url, secret) as other:
        assert "Access to Made &lt;here&gt;" in other.page(f"/ui/projects/{slug}/access")
    assert browser.flash_after(browser.http.post(to, data=filled)).startswith("The project was created")
    again = browser.send("/ui/new-project", "/new-project", {"slug": slug})
    assert again.status_code == 409
    assert f'value="{slug}"' in again.text
    assert "The short name has 1 to 63" in refusal(
        browser.send("/ui/new-project", "/new-project", {"slug": "No!"})
    )
    with PlainBrowser(server.url, secret_in(new_key(browser))) as reader:
        assert "Only users, and keys with the scope" in reader.page("/ui/new-project")


def test_a_key_is_created_and_revoked_in_a_browser(open_tab, api):
    tab = open_tab(PAGE)
    page = tab.page
    page.get_by_text("New key").click()
    page.get_by_label("Name").fill("made")
    page.get_by_label("everything in the project, including keys").check()
    page.get_by_role("button", name="Create the key").click()
    expect(page.locator("#secret")).to_contain_text("vf_")
    assert tab.accessibility_violations() == []
    page.get_by_role("link", name="I have stored it").click()
    page.once("dialog", lambda asked: asked.dismiss())
    page.get_by_role("button", name="Revoke made").click()
    assert len(keys(api)) == 1
    page.once("dialog", lambda asked: asked.accept())
    page.get_by_role("button", name="Revoke made").click()
    expect(page.locator(".flash")).to_contain_text("The key made was revoked")
    assert keys(api) == []


def test_going_back_shows_no_secret(open_tab):
    page = open_tab(PAGE).page
    page.get_by_text("New key").click()
    page.get_by_label("Name").fill("made")
    page.get_by_role("button", name="Create the key").click()
    page.get_by_role("link", name="I have stored it").click()
    expect(page.get_by_role("heading", name="Members")).to_be_visible()
    with pytest.raises(PageError, match="ERR_CACHE_MISS"):  # the browser did not cache the page
        page.go_back()
