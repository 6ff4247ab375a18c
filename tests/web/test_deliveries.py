"""Deliveries that arrive, as the page of their webhook tells of them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.server import Server
from tests.support.until import until

from .plain_browser import PlainBrowser
from .web_client import words

PAGE = "/ui/projects/default/webhooks"


@pytest.fixture
def server(tmp_path):
    """One that may call this machine."""
    started = Server(tmp_path, tmp_path / "runstead.db", RUNSTEAD_ALLOW_PRIVATE_EGRESS="true").start()
    yield started
    started.kill()


@pytest.fixture
def receiver():
    """Where webhooks go: `status` is what it answers, `got` the bodies that came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            kept.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(kept.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""

    kept = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.got, kept.status = [], 200
    kept.address = f"http://127.0.0.1:{kept.server_port}/hook"
    threading.Thread(target=kept.serve_forever, daemon=True).start()
    yield kept
    kept.shutdown()
    kept.server_close()


def test_a_test_arrives_and_is_sent_again(server, receiver, api):
    with PlainBrowser(server.url, server.key) as browser:
        browser.send(PAGE, "/webhooks", {"url": receiver.address, "events": "*"})
        (hook,) = api.get("/projects/default/webhooks")["data"]
        mine = f"{PAGE}/{hook['id']}"

        def told(status="delivered"):
            return words(browser.get(f"{mine}?status={status}"))

        browser.told(browser.send(mine, "/test"))
        until(lambda: "webhook.test" in told(), "the test to arrive")
        assert " 200 " in told()
        assert "arrived" in told()
        assert [body["type"] for body in receiver.got] == ["webhook.test"]
        browser.told(browser.send(mine, "/redeliver"))
        until(lambda: len(receiver.got) == 2, "the same once more")
        assert receiver.got[0] == receiver.got[1]
        receiver.status = 503
        browser.told(browser.send(mine, "/redeliver"))
        until(lambda: " 503 " in told("pending"), "the refusal to be told")
        assert "next try" in told("pending")
        assert "failing" in words(browser.get(mine))
