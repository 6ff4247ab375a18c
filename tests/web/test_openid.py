"""Sign-in with a certified OpenID provider (npm oidc-provider), in Chromium and step by step."""

import base64
import json
import os
import signal
import socket
import subprocess
from contextlib import contextmanager
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from playwright.sync_api import expect

from tests.interop import node
from tests.support.server import Server

from .browser import Tab

SECRET = "the secret & of the client"
BUTTON = "Sign in with the provider"


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Provider:
    def __init__(self, folder, ports):
        # A bound socket keeps the port while the provider is down: other servers could get it.
        self.kept = socket.socket()
        self.kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.kept.bind(("127.0.0.1", 0))
        self.port = self.kept.getsockname()[1]
        self.issuer = f"http://localhost:{self.port}"
        self.folder = folder
        self.redirects = [f"http://127.0.0.1:{port}/ui/sign-in/openid/callback" for port in ports]
        self.process = None

    def start(self):
        given = {"issuer": self.issuer, "port": self.port, "secret": SECRET, "redirects": self.redirects}
        self.process = subprocess.Popen(
            ["node", "openid_provider.mjs"],
            cwd=self.folder,
            env=os.environ | {"PROVIDER": json.dumps(given)},
            stdout=subprocess.PIPE,
            stderr=(self.folder / "provider.log").open("a"),
            text=True,
            start_new_session=True,  # `node` may be a script that starts Node.js
        )
        assert self.process.stdout.readline() == "ready\n", (self.folder / "provider.log").read_text()

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def provider(tmp_path_factory, port):
    try:
        modules = node.modules()
    except node.MissingError as reason:
        if node.required():
            pytest.fail(str(reason))
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("provider")
    (folder / "node_modules").symlink_to(modules)
    script = "openid_provider.mjs"
    (folder / script).write_bytes((node.HERE / "drivers" / script).read_bytes())
    made = Provider(folder, [port])
    made.start()
    yield made
    made.stop()


def settings_for(provider, port, **more):
    return {
        "RUNSTEAD_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "RUNSTEAD_OIDC_ISSUER": provider.issuer,
        "RUNSTEAD_OIDC_CLIENT_ID": "runstead",
        "RUNSTEAD_OIDC_CLIENT_SECRET": SECRET,
        "RUNSTEAD_OIDC_NAME": "the provider",
        "RUNSTEAD_OIDC_SCOPES": "openid profile email groups",
        "RUNSTEAD_OIDC_ROLES": "ops=default:admin, everyone=default:viewer, everyone=nowhere:admin",
        **more,
    }


@contextmanager
def running(folder, provider, port, **more):
    server = Server(folder, folder / "runstead.db", **settings_for(provider, port, **more))
    server.port = port
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory, provider, port):
    with running(tmp_path_factory.mktemp("web"), provider, port) as server:
        yield server


@pytest.fixture
def page(chromium, server):
    context = chromium.new_context(base_url=server.url)
    yield context.new_page()
    context.close()


def at_provider(page, login):
    """Sign in on the provider's pages, and consent."""
    page.get_by_placeholder("Enter any login").fill(login)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_a_user_signs_in_with_the_provider_and_gets_the_roles_of_the_groups(page, server):
    page.goto("/ui/projects/default/access")
    page.get_by_role("link", name=BUTTON).click()
    at_provider(page, "ops-ada")
    expect(page).to_have_url(f"{server.url}/ui/projects/default/access")  # the page that was asked for
    expect(page.get_by_role("button", name="Revoke bootstrap")).to_be_visible()  # admin, by the group ops
    (session,) = [each for each in page.context.cookies() if each["name"] == "runstead_session"]
    assert (session["httpOnly"], session["sameSite"], session["path"]) == (True, "Strict", "/ui")
    assert "runstead_openid" not in {
        each["name"] for each in page.context.cookies(f"{server.url}/ui/sign-in/openid")
    }
    page.get_by_text("Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name=BUTTON)).to_be_visible()
    page.goto("/ui/projects/default/runs")
    expect(page.get_by_label("API key or token")).to_be_visible()


def test_a_group_gives_its_role_and_no_more(page, server):
    page.goto("/ui")
    page.get_by_role("link", name=BUTTON).click()
    at_provider(page, "bob")
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    page.goto("/ui/projects/default/access")
    expect(page.get_by_role("button", name="Revoke bootstrap")).to_have_count(0)
    page.goto("/ui/projects/default/webhooks")
    assert "FORBIDDEN" in page.content() or "admin" in page.content()


def test_a_key_signs_in_beside_the_provider(page, server):
    page.goto("/ui/sign-in")
    expect(page.get_by_role("link", name=BUTTON)).to_be_visible()
    page.get_by_label("API key or token").fill(server.key)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


def test_the_pages_of_the_sign_in_are_accessible_at_narrow_width(chromium, server):
    tab = Tab(chromium.new_context(base_url=server.url, viewport={"width": 320, "height": 640}), server.url)
    for path in ("/ui/sign-in", "/ui/sign-in/openid/callback?code=x"):
        tab.open(path)
        assert tab.accessibility_violations() == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 320
    tab.close()


# Step by step: the browser is this client, which may change what it sends.


class Steps:
    """A browser without scripts that signs in, and stops before the callback."""

    def __init__(self, server):
        self.server = server
        self.browser = httpx2.Client(base_url=server.url, headers={"Accept": "text/html"})

    def begin(self, to="/ui"):
        answer = self.browser.get("/ui/sign-in/openid", params={"next": to})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def callback_for(self, login):
        """The address of the callback that the provider sends the browser to."""
        address = self.begin()
        at_provider = httpx2.Client(follow_redirects=False)
        address = self._followed(at_provider, at_provider.get(address))
        for body in ({"prompt": "login", "login": login, "password": "any"}, {"prompt": "consent"}):
            answer = at_provider.post(address, data=body)
            address = self._followed(at_provider, answer)
            if address.startswith(self.server.url):
                return address
        raise AssertionError(address)

    def _followed(self, client, answer):
        while answer.is_redirect:
            address = str(answer.request.url.join(answer.headers["location"]))
            if address.startswith(self.server.url):
                return address
            answer = client.get(address)
        assert answer.status_code == 200, answer.text
        return str(answer.request.url)

    def pending(self):
        value = self.browser.cookies.get("runstead_openid")
        return json.loads(base64.urlsafe_b64decode(value.strip('"')))

    def change(self, **members):
        value = base64.urlsafe_b64encode(json.dumps(self.pending() | members).encode()).decode()
        self.browser.cookies.clear()
        self.browser.cookies.set("runstead_openid", value, domain="127.0.0.1", path="/ui/sign-in/openid")


@pytest.fixture
def steps(server):
    return Steps(server)


def refused(answer, message, status=403):
    assert answer.status_code == status, answer.text
    assert message in answer.text, answer.text
    assert "Try again" in answer.text
    assert "Sign in with an API key" in answer.text
    assert "runstead_session" not in answer.headers.get("set-cookie", "")


def test_the_request_has_state_nonce_and_pkce(steps, provider):
    address = urlsplit(steps.begin())
    query = {name: value for name, (value,) in parse_qs(address.query).items()}
    assert f"{address.scheme}://{address.netloc}" == provider.issuer
    assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
    assert len({query["state"], query["nonce"], query["code_challenge"], steps.pending()["verifier"]}) == 4
    assert query["redirect_uri"] == provider.redirects[0]


def test_a_wrong_nonce_is_refused(steps):
    callback = steps.callback_for("ops-ada")
    steps.change(nonce="another")
    refused(steps.browser.get(callback), "nonce")


def test_a_wrong_state_is_refused(steps):
    callback = steps.callback_for("ops-ada")
    steps.change(state="another")
    refused(steps.browser.get(callback), "does not belong to this sign-in")


def test_a_wrong_code_verifier_is_refused(steps):
    callback = steps.callback_for("ops-ada")
    steps.change(verifier="v" * 43)
    refused(steps.browser.get(callback), "did not accept the code")


def test_an_answer_of_another_provider_is_refused(steps):
    callback = urlsplit(steps.callback_for("ops-ada"))
    query = {name: value for name, (value,) in parse_qs(callback.query).items()}
    other = urlencode(query | {"iss": "https://other.example"})
    refused(steps.browser.get(f"{callback.path}?{other}"), "another provider")


def test_a_replayed_code_is_refused(steps):
    callback = steps.callback_for("ops-ada")
    kept = steps.browser.cookies.get("runstead_openid")
    answer = steps.browser.get(callback)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui"), answer.text
    refused(httpx2.get(callback), "opened again")  # the cookie is used up
    thief = httpx2.Client(headers={"Cookie": f"runstead_openid={kept}"})
    refused(thief.get(callback), "did not accept the code")


def test_an_unverified_mail_address_is_not_used_as_identity(provider, tmp_path):
    port = free_port()
    provider.redirects.append(f"http://127.0.0.1:{port}/ui/sign-in/openid/callback")
    provider.stop()
    provider.start()
    with running(tmp_path, provider, port, RUNSTEAD_OIDC_USER_CLAIM="email") as server:
        steps = Steps(server)
        callback = steps.callback_for("unverified-eve")
        refused(steps.browser.get(callback), "has not verified your mail address")
        steps = Steps(server)
        assert steps.browser.get(steps.callback_for("ops-ada")).status_code == 303
        shown = steps.browser.get("/ui/sessions")
        assert shown.status_code == 200
        assert "ops-ada@example.com" in shown.text


def test_a_provider_that_is_down_gets_a_page_with_a_retry_and_keys_still_work(chromium, provider, tmp_path):
    port = free_port()
    provider.redirects.append(f"http://127.0.0.1:{port}/ui/sign-in/openid/callback")
    provider.stop()
    with running(tmp_path, provider, port) as server:
        page = chromium.new_context(base_url=server.url).new_page()
        page.goto("/ui/sign-in")
        page.get_by_role("link", name=BUTTON).click()
        expect(page.get_by_role("alert")).to_contain_text("the provider cannot be reached")
        provider.start()
        page.get_by_role("link", name="Try again").click()
        at_provider(page, "ops-ada")
        expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        steps = Steps(server)
        callback = steps.callback_for("ops-ada")
        provider.stop()
        refused(steps.browser.get(callback), "cannot be reached", 503)
        answer = steps.browser.post("/ui/sign-in", data={"credential": server.key})
        assert answer.status_code == 303
        page.context.close()
    provider.start()
