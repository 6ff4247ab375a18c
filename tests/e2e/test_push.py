"""Push services with the real program and a service on a port, also with a server that is killed."""

import json
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.server import KEY, SHORT_LEASE, runstead
from tests.support.until import until

ALLOW = {"RUNSTEAD_ALLOW_PRIVATE_EGRESS": "true"}


class Service:
    """A push service that records every call. While `free` is not set, it does not answer. It reports known runs."""

    def __init__(self):
        self.calls, self.runs = [], set()
        self.free = threading.Event()
        self.free.set()
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                run_id = body["durableRootRun"]["runId"]
                duplicate = run_id in mine.runs
                mine.runs.add(run_id)
                mine.calls.append(("POST", run_id, duplicate, self.headers))
                mine.free.wait(30)
                self.reply({"accepted": True, "duplicate": duplicate})

            def do_DELETE(self):
                mine.calls.append(("DELETE", self.path.rpartition("/")[2], False, self.headers))
                self.reply({"accepted": True})

            def reply(self, value):
                content = json.dumps(value).encode()
                try:
                    self.send_response(202)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:  # the caller has closed the connection
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self.free.set()
        self._server.shutdown()
        self._server.server_close()

    def called(self, method="POST"):
        return [call[1:3] for call in self.calls if call[0] == method]


@pytest.fixture
def service():
    made = Service()
    yield made
    made.close()


def register(api, service):
    project = api.get("/projects/default")["id"]
    body = {"service_name": "s", "service_key": "s", "scope_kind": "project", "project_id": project}
    body |= {"base_url": service.url, "invoke_url": f"{service.url}/runs"}
    return api.post("/agent-runtimes/push-services", body)["service"]


def start(api, run_id):
    """Start a run in the two steps of published clients. Return the conversation's id."""
    conversation = api.post("/conversations", {})["id"]
    owner = {"kind": "conversation", "id": conversation}
    body = {"kind": "agent", "owner": owner, "public_id": run_id}
    request = {"mode": "agent", "agent_id": "scribe"}
    api.post("/runs", body | {"request": request | {"initial_status": "pending"}})
    shown = api.get(f"/conversations/{conversation}/runs/{run_id}")
    root = {"run_id": run_id, "message_id": shown["message_id"]}
    api.post("/runs", body | {"request": request | {"input": {"messages": [], "durable_root_run": root}}})
    return conversation


def test_a_two_step_start_reaches_the_service_which_completes_it(new_server, service):
    server = new_server(**ALLOW).start()
    with server.api() as api:
        register(api, service)
        conversation = start(api, "run_1")
        until(lambda: service.calls, "the call")
        bearer = service.calls[0][3]["Authorization"]
        until(lambda: api.run("run_1")["status"] == "running", "the run to be taken")
        headers = {"Authorization": bearer}
        path = f"/conversations/{conversation}/runs/run_1/events"
        events = {"events": [{"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hi"}]}
        assert api.http.post(path, json=events, headers=headers).status_code == 200
        done = api.http.post("/runs/run_1/complete", json={"status": "completed"}, headers=headers)
        assert done.json()["completed"] is True


def test_a_server_killed_between_claim_and_answer_sends_the_run_again(new_server, service):
    server = new_server(limits=SHORT_LEASE, **ALLOW).start()
    service.free.clear()
    with server.api() as api:
        register(api, service)
        start(api, "run_1")
        until(lambda: service.called() == [("run_1", False)], "the first call")
    server.kill()
    service.free.set()
    with closing(sqlite3.connect(server.database)) as store, store:
        # As if the lease of that dispatch had expired meanwhile.
        ended = (
            "UPDATE runs SET lease_expires_at = created_at, due_at = created_at WHERE lease_token IS NOT NULL"
        )
        assert store.execute(ended).rowcount == 1
    server.start()
    with server.api() as api:
        until(lambda: service.called() == [("run_1", False), ("run_1", True)], "the second call")
        until(lambda: api.run("run_1")["status"] == "running", "the run to be taken")
        outcomes = [one["outcome"] for one in api.attempts("run_1")]
        assert outcomes == ["lease_expired", "running"]


def test_a_cancel_that_was_not_sent_before_a_kill_is_sent_after_it(new_server, service):
    server = new_server(limits=SHORT_LEASE, **ALLOW).start()
    with server.api() as api:
        register(api, service)
        start(api, "run_1")
        until(lambda: api.run("run_1")["status"] == "running", "the run to be taken")
    server.kill()
    with closing(sqlite3.connect(server.database)) as store, store:
        # What a cancel commits, just before its server dies.
        cancel = (
            "UPDATE runs SET status = 'cancelled', cancel_requested_at = updated_at, version = version + 1"
        )
        store.execute(cancel)
    server.start()
    with server.api() as api:
        until(lambda: service.called("DELETE") == [("run_1", False)], "the stop")
        until(lambda: api.run("run_1")["cancellation"]["stopped_at"], "stopped_at")
        assert service.called("DELETE") == [("run_1", False)]  # sent once, and not again


def test_a_server_stops_at_once_while_a_service_hangs(new_server, service):
    server = new_server(**ALLOW).start()
    service.free.clear()
    with server.api() as api:
        register(api, service)
        start(api, "run_1")
        until(service.called, "the call")
    assert server.terminate() == 0


def test_a_private_address_is_refused_unless_it_is_allowed(server, service):
    body = {"service_name": "s", "service_key": "s", "scope_kind": "global", "base_url": service.url}
    with server.api() as api:
        refused = api.http.post("/agent-runtimes/push-services", json=body | {"invoke_url": service.url})
    assert refused.status_code == 400
    assert "RUNSTEAD_ALLOW_PRIVATE_EGRESS" in refused.json()["detail"]


def test_the_keys_of_a_store_and_of_a_file(new_server, tmp_path):
    file = tmp_path / "keys.pem"
    code, stdout, stderr = runstead("keys", "signing", "--out", str(file), "--json", cwd=tmp_path)
    assert (code, json.loads(stdout), stderr) == (0, {"file": str(file)}, "")
    server = new_server(RUNSTEAD_SIGNING_KEY_FILE=str(file)).start()
    settings = {"RUNSTEAD_DATABASE_URL": f"sqlite:///{server.database}"}
    with server.api() as api:
        served = api.get("/.well-known/jwks.json")
    _, stdout, _ = runstead(
        "keys", "signing", "--json", cwd=tmp_path, RUNSTEAD_SIGNING_KEY_FILE=str(file), **settings
    )
    keys = json.loads(stdout)
    assert keys["jwks"] == served
    assert "PRIVATE" not in stdout
    code, _, stderr = runstead(
        "keys", "signing", "--rotate", cwd=tmp_path, RUNSTEAD_SIGNING_KEY_FILE=str(file), **settings
    )
    assert (code, "--out" in stderr) == (1, True)
    first = json.loads(runstead("keys", "signing", "--json", cwd=tmp_path, **settings)[1])
    assert json.loads(runstead("keys", "signing", "--json", cwd=tmp_path, **settings)[1]) == first
    second = json.loads(runstead("keys", "signing", "--rotate", "--json", cwd=tmp_path, **settings)[1])
    assert len(second["jwks"]["keys"]) == 4
    assert second["tokens"] != first["tokens"]
    plain = runstead("keys", "signing", cwd=tmp_path, **settings)[1]
    assert second["tokens"] in plain
    assert second["control_plane"] in plain


def test_an_invalid_key_file_prevents_the_start(tmp_path):
    database = f"sqlite:///{tmp_path / 'x.db'}"
    settings = {"RUNSTEAD_SIGNING_KEY_FILE": "missing.pem", "RUNSTEAD_BOOTSTRAP_KEY": KEY}
    code, _, stderr = runstead("serve", "--port", "0", "--database", database, cwd=tmp_path, **settings)
    assert (code, "missing.pem cannot be read" in stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_flag_is_true_or_false(tmp_path):
    code, _, stderr = runstead("serve", "--port", "0", cwd=tmp_path, RUNSTEAD_ALLOW_PRIVATE_EGRESS="maybe")
    assert (code, "must be true or false" in stderr) == (1, True)
