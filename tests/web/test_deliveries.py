"""The page of a webhook shows deliveries to a real receiver."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.server import Server
from tests.support.until import until

from .plain_browser import PlainBrowser
from .web_client import page_text

PAGE = "/ui/projects/default/webhooks"


@pytest.fixture
def server(tmp_path):
    """A server that may call private addresses."""
    started = Server(tmp_path, tmp_path / "runstead.db", RUNSTEAD_ALLOW_PRIVATE_EGRESS="true").start()
    yield started
    started.kill()


@pytest.fixture
def receiver():
    """A receiver of webhooks: it responds with `status` and collects the bodies in `received`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            kept.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(kept.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Do not log."""

    kept = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.received, kept.status = [], 200
    kept.address = f"http://127.0.0.1:{kept.server_port}/hook"
    threading.Thread(target=kept.serve_forever, daemon=True).start()
    yield kept
    kept.shutdown()
    kept.server_close()


def test_a_test_delivery_arrives_and_is_redelivered(server, receiver, api):
    with PlainBrowser(server.url, server.key) as browser:
        browser.send(PAGE, "/webhooks", {"url": receiver.address, "events": "*"})
        (hook,) = api.get("/projects/default/webhooks")["data"]
        mine = f"{PAGE}/{hook['id']}"

        def deliveries(status="delivered"):
            return page_text(browser.get(f"{mine}?status={status}"))

        browser.flash_after(browser.send(mine, "/test"))
        until(lambda: "webhook.test" in deliveries(), "the test to arrive")
        assert " 200 " in deliveries()
        assert "delivered" in deliveries()
        assert [body["type"] for body in receiver.received] == ["webhook.test"]
        browser.flash_after(browser.send(mine, "/redeliver"))
        until(lambda: len(receiver.received) == 2, "the same once more")
        assert receiver.received[0] == receiver.received[1]
        receiver.status = 503
        browser.flash_after(browser.send(mine, "/redeliver"))
        until(lambda: " 503 " in deliveries("pending"), "the refusal to be told")
        assert "next attempt" in deliveries("pending")
        assert "failing" in page_text(browser.get(mine))
