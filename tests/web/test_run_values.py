"""Large and encoded values on a run's page: a link in place of a large one, and an endpoint that decodes."""

import hashlib
import json
import os
import socket
import threading

import pytest
import uvicorn
from playwright.sync_api import expect

from runstead.sdk.codec_endpoint import codec_endpoint
from runstead.sdk.codecs import AesGcm
from runstead.sdk.models.value import packed
from tests.support.server import Server
from tests.support.until import until

from .run_pages import TaskRun
from .web_client import WebClient, page_text

CODEC = AesGcm({"a": os.urandom(32)}, "a")


@pytest.fixture(scope="module")
def codec_socket():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture(scope="module")
def codec_url(codec_socket):
    return f"http://127.0.0.1:{codec_socket.getsockname()[1]}/decode"


@pytest.fixture(scope="module")
def server(codec_url, tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    settings = {"RUNSTEAD_CODEC_URL": codec_url, "RUNSTEAD_SQLITE_SYNCHRONOUS": "OFF"}
    started = Server(folder, folder / "runstead.db", **settings).start()
    yield started
    started.kill()


@pytest.fixture
def decoder(server, codec_socket):
    """The codec endpoint, which counts what it decodes."""
    requests = []

    async def authorize(request):
        requests.append(request)
        return True

    web = codec_endpoint(CODEC, origins=[server.url], authorize=authorize)
    serving = uvicorn.Server(uvicorn.Config(web, log_level="warning"))
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [codec_socket]}, daemon=True)
    thread.start()
    until(lambda: serving.started, "the endpoint")
    yield requests
    serving.should_exit = True
    thread.join(60)


@pytest.fixture
def web_client(server):
    web_client = WebClient(server)
    yield web_client
    web_client.close()


def encoded(value):
    return json.loads(bytes(packed(value, CODEC)))


def test_a_large_value_is_a_link_with_its_size(web_client, api):
    run = TaskRun(api)
    text = json.dumps("x" * 300_000).encode()
    digest = hashlib.sha256(text).hexdigest()
    name = f"runstead.value.{digest}"
    run.artifact(name, text, "application/json")
    place = {"name": name, "size": len(text), "sha256": digest, "media_type": "application/json"}
    reference = {"$artifact": place}
    run.step("fetch")
    run.end_step("fetch", result=reference)
    run.step("other", "2")
    run.end_step("other", "2", result={"$artifact": "mine"})
    run.complete(output=reference)
    page = web_client.get(run.page)
    assert "Output 300.0 kB, stored as an artifact Download" in page_text(page)
    assert "Artifacts" not in page_text(page)
    assert f'href="{run.page}/artifacts/{name}" download="{run.id}-output.json"' in page.text
    assert web_client.get(f"{run.page}/artifacts/{name}").content == text
    events = web_client.get(f"{run.page}?view=events")
    assert events.text.count(f'href="{run.page}/artifacts/{name}"') == 1
    assert "Result, 300.0 kB" in page_text(events)


def test_the_browser_decodes_values_at_the_codec_endpoint(
    open_tab, api, codec_url, decoder, web_client, server
):
    run = TaskRun(api, input=encoded({"to": "<b>Ada</b>"}))
    run.step("greet")
    run.end_step("greet", result=encoded("step result"))
    tab = open_tab(run.page)
    page = tab.page
    expect(page.locator("#text-input")).to_contain_text('"to": "<b>Ada</b>"')
    run.complete(output=encoded({"greeting": "Hello"}))
    expect(page.locator("#text-output")).to_contain_text('"greeting": "Hello"')
    expect(page.locator("#text-input")).to_contain_text('"to": "<b>Ada</b>"')
    expect(page.locator("#codec")).to_be_empty()
    tab.open(f"{run.page}?view=events")
    expect(page.locator("main")).to_contain_text('"result": "step result"')
    tab.errors[:] = [one for one in tab.errors if codec_url not in one]

    assert {request.headers["origin"] for request in decoder} == {server.url}
    assert "Hello" not in web_client.get(run.page).text


def test_a_page_says_why_values_stay_encoded(open_tab, api, codec_url):
    run = TaskRun(api, input=encoded("secret"))
    tab = open_tab(run.page)
    expect(tab.page.locator("#codec")).to_contain_text(f"{codec_url} did not decode them")
    expect(tab.page.locator("#text-input")).to_contain_text('"$encoded"')
    tab.errors[:] = [one for one in tab.errors if codec_url not in one and "ERR_CONNECTION" not in one]


def test_only_the_page_of_a_run_may_call_the_codec_endpoint(web_client, api, codec_url):
    origin = codec_url.removesuffix("/decode")
    policy = web_client.get(TaskRun(api).page).headers["content-security-policy"]
    assert f"connect-src 'self' {origin};" in policy
    assert origin not in web_client.get("/ui/projects/default/runs").headers["content-security-policy"]
