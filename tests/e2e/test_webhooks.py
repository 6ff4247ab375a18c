"""Webhooks and triggers with the real program and a receiver on a port, also with a server that is killed."""

import base64
import hmac
import json
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.until import until

ALLOW = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "true"}


class Receiver:
    """A receiver that records every call with a valid signature. While `free` is not set, it does not answer."""

    def __init__(self):
        self.secret, self.calls, self.forged = "", [], 0
        self.free = threading.Event()
        self.free.set()
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
                mac = hmac.digest(base64.b64decode(mine.secret.removeprefix("whsec_")), signed, "sha256")
                if self.headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}":
                    payload = json.loads(body)
                    mine.calls.append(
                        (payload["type"], payload["data"].get("run_id"), self.headers["webhook-id"])
                    )
                else:
                    mine.forged += 1
                mine.free.wait(30)
                try:
                    self.send_response(204)
                    self.end_headers()
                except OSError:  # the caller has closed the connection
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/in"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.free.set()
        self._server.shutdown()
        self._server.server_close()

    def hook(self, api, *events):
        made = api.post("/projects/default/webhooks", {"url": self.url, "events": list(events) or ["*"]})
        self.secret = made["secret"]
        return f"/projects/default/webhooks/{made['webhook']['id']}"


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.close()


def end_leases(server):
    """End the minute that an attempt of a delivery may take."""
    with closing(sqlite3.connect(server.database)) as store, store:
        store.execute("UPDATE webhook_deliveries SET next_attempt_at = 0 WHERE status = 'pending'")


def test_every_acknowledged_completion_is_delivered_although_the_server_is_killed(new_server, receiver):
    server = new_server(**ALLOW).start()
    with server.api() as api:
        receiver.hook(api, "run.completed")
        project = api.project_id()
        runs = [api.create(project)["run_id"] for _ in range(30)]
        for run_id in runs:
            api.complete(run_id)
    server.kill()
    end_leases(server)
    server.start()
    until(lambda: {call[1] for call in receiver.calls} == set(runs), "every end")
    assert receiver.forged == 0
    names = {(run_id, name) for _, run_id, name in receiver.calls}
    assert len(names) == 30, "a repeat has the id of the first call"


def test_a_server_killed_between_call_and_answer_calls_again_with_the_same_id(new_server, receiver):
    server = new_server(**ALLOW).start()
    receiver.free.clear()
    with server.api() as api:
        path = receiver.hook(api)
        api.post(f"{path}/test")
        until(lambda: receiver.calls, "the first call")
    server.kill()
    receiver.free.set()
    end_leases(server)
    server.start()
    until(lambda: len(receiver.calls) == 2, "the second call")
    with server.api() as api:
        (shown,) = until(
            lambda: [one for one in api.get(f"{path}/deliveries")["data"] if one["status"] == "delivered"],
            "the delivery to be recorded",
        )
    assert (shown["attempts"], shown["last_status_code"]) == (2, 204)
    assert [call[2] for call in receiver.calls] == [shown["id"]] * 2
    assert receiver.forged == 0


def test_a_server_stops_at_once_while_a_receiver_hangs(new_server, receiver):
    server = new_server(**ALLOW).start()
    receiver.free.clear()
    with server.api() as api:
        api.post(f"{receiver.hook(api)}/test")
        until(lambda: receiver.calls, "the call")
    assert server.terminate() == 0


def test_a_trigger_starts_a_run_whose_completion_a_webhook_delivers(new_server, receiver):
    server = new_server(**ALLOW).start()
    with server.api() as api:
        receiver.hook(api, "run.completed")
        made = api.post("/projects/default/triggers", {"target": "task:e2e"})
        started = api.http.post(
            f"/triggers/{made['token']}", json={"n": 1}, headers={"Authorization": ""}
        ).raise_for_status()
        run_id = started.json()["run_id"]
        claimed = api.claim(api.register("w"))
        assert claimed["run_id"] == run_id
        api.complete(run_id)
        until(lambda: receiver.calls, "the event")
    assert [call[:2] for call in receiver.calls] == [("run.completed", run_id)]
    server.terminate()
    assert made["token"] not in server.log
    assert receiver.secret not in server.log
