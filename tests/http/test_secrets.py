"""The value of a secret field is in no file, log or answer in plain text; the holder of the run's lease alone reads it."""

import io
import json
import logging
import sqlite3
from contextlib import closing

import pytest
import structlog

from runstead.engines.sqlite.runs import SqliteRuns
from runstead.server.telemetry import log_to_stderr

SECRET = "hunter2-correct-horse-battery"
NUMBER = 90210733101
FIELDS = [
    {"name": "user", "label": "User", "type": "text"},
    {"name": "password", "label": "Password", "type": "password", "required": True, "maxLength": 100},
    {"name": "pin", "label": "Pin", "type": "number", "secret": True},
    {"name": "spare", "label": "Spare", "type": "text", "secret": True},
]
VALUES = {"user": "ada", "password": SECRET, "pin": NUMBER, "spare": None}


async def ask(api, call="t1"):
    run, path = await api.agent_run()
    conversation = path.rpartition("/runs/")[0]
    body = {
        "run_id": run["run_id"],
        "tool_call_id": call,
        "kind": "form",
        "title": "Sign in",
        "fields": FIELDS,
    }
    made = await api.post(
        f"{conversation}/input-requests", {**body, "requested_responder_type": "human"}, 201
    )
    return run["run_id"], conversation, f"{conversation}/input-requests/{made['id']}"


async def test_a_secret_is_returned_as_null_and_its_field_as_withheld(api):
    run_id, _, path = await ask(api)
    answer = await api.post(f"{path}/responses", {"values": VALUES}, 201)
    assert answer["latest_response"]["values"] == {
        "user": "ada",
        "password": None,
        "pin": None,
        "spare": None,
    }
    assert answer["latest_response"]["withheld"] == ["password", "pin"]
    [event] = (await api.get(f"/runs/{run_id}/events"))["data"]
    content = event["payload"]["result"]
    assert (content["values"], content["withheld"]) == (
        answer["latest_response"]["values"],
        ["password", "pin"],
    )


async def test_a_repeated_secret_is_recognized_and_another_is_refused(api):
    _, _, path = await ask(api)
    first = await api.post(f"{path}/responses", {"values": VALUES}, 201)
    assert await api.post(f"{path}/responses", {"values": VALUES}, 201) == first
    other = {"values": {**VALUES, "password": "another"}}
    await api.refused(409, "INPUT_REQUEST_NOT_OPEN", "POST", f"{path}/responses", other)


async def test_the_same_secret_has_another_digest_in_every_request(api):
    digests = set()
    for _ in range(2):
        _, _, path = await ask(api)
        await api.post(f"{path}/responses", {"values": VALUES}, 201)
        digests.add((await api.store.inputs.get(path.rpartition("/")[2])).response.digest)
    assert len(digests) == 2


async def broken(_runs, key, _decide, _want, _seal):
    raise ZeroDivisionError(key)


class Stderr(io.StringIO):
    def __init__(self, *, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture(params=["terminal", "pipe"])
def stderr(request, monkeypatch):
    """The output of the server's log, configured as in the server."""
    stderr = Stderr(terminal=request.param == "terminal")
    configure = structlog.configure
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stderr)
        patched.setattr(
            structlog, "configure", lambda **how: configure(**how | {"cache_logger_on_first_use": False})
        )
        log_to_stderr()
    yield stderr
    structlog.reset_defaults()


async def test_a_secret_is_in_no_file_no_log_and_no_answer(live, stderr, capfd, caplog, monkeypatch):
    """Use a secret in every way on a real server, then search every byte that it wrote."""
    caplog.set_level(logging.DEBUG)
    seen = []

    async def send(method, path, **options):
        response = await live.client.request(
            method,
            f"{live.url}{path}",
            headers={**live.headers, **options.pop("headers", {})},
            **options,
        )
        seen.append(f"{dict(response.headers)} {response.text}")
        return response

    async def made(path, body):
        response = await send("POST", path, json=body)
        assert response.status_code in (201, 202), response.text
        return response.json()

    conversation = f"/conversations/{(await made('/conversations', {}))['id']}"
    owner = {"kind": "conversation", "id": conversation.rpartition("/")[2]}
    worker = {"implementation_kind": "claude", "worker_key": "reader"}
    worker = (await made("/agent-workers/projects/default/workers", worker))["worker"]["id"]
    asking = {"kind": "form", "requested_responder_type": "human", "title": "Sign in", "fields": FIELDS}
    paths, held = [], []
    for number in range(2):
        request = {"mode": "agent", "agent_id": "scribe", "implementation_kind": "claude"}
        run = (await made("/runs", {"kind": "agent", "owner": owner, "request": request}))["run"]
        claim = await send("POST", f"/agent-workers/workers/{worker}/claim", json={"kinds": ["agent"]})
        held.append(claim.json()["run"])
        body = {**asking, "run_id": run["run_id"], "tool_call_id": f"t{number}"}
        paths.append(
            f"{conversation}/input-requests/{(await made(f'{conversation}/input-requests', body))['id']}"
        )
    where = f"{paths[0]}/responses"
    good = json.dumps({"values": VALUES})
    bad = [
        good[:-2],  # cut off
        json.dumps({"values": {**VALUES, "password": SECRET * 9}}),  # too long
        json.dumps({"values": {**VALUES, "pin": SECRET}}),  # no number
        json.dumps({"values": {**VALUES, "user": [SECRET]}}),
        json.dumps({"values": {"password": {"is": SECRET}}}),
        json.dumps({"values": SECRET}),
        json.dumps(SECRET),
    ]
    for body in bad:
        assert (await send("POST", where, content=body)).status_code == 400
    for headers in ({"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}, {}):
        assert (await send("POST", where, content=good, headers=headers)).status_code == 201
    other = json.dumps({"values": {**VALUES, "spare": SECRET}})
    assert (await send("POST", where, content=other)).status_code == 409
    assert (await send("POST", where, content=other, headers={"Idempotency-Key": "k"})).status_code == 409
    # A request that fails in the server: the error is logged with its context.
    with monkeypatch.context() as patched:
        patched.setattr(SqliteRuns, "apply", broken)
        assert (await send("POST", f"{paths[1]}/responses", content=good)).status_code == 500
    assert (await send("POST", f"{paths[1]}/responses", content=good)).status_code == 201
    # The holder of the lease reads it, in an answer that nothing stores.
    for lease, path in zip(held, paths, strict=True):
        read = f"/runs/{lease['run_id']}/input-requests/{path.rpartition('/')[2]}/secrets"
        for headers in ({}, {"X-Lease-Token": lease["lease_token"], "Idempotency-Key": "read"}):
            response = await live.client.post(f"{live.url}{read}", headers={**live.headers, **headers})
            assert response.status_code == (200 if headers else 403)
        assert response.json() == {"values": {"password": SECRET, "pin": NUMBER}}
    body = {"status": "completed", "lease_token": held[0]["lease_token"]}
    assert (await send("POST", f"/runs/{held[0]['run_id']}/complete", json=body)).status_code == 200
    await send("GET", f"/runs/{held[0]['run_id']}/stream")
    await send("GET", "/projects/default/audit")
    with closing(sqlite3.connect(live.database)) as connection:
        connection.execute("VACUUM INTO ?", (f"{live.database}-backup",))
        [(kept,)] = connection.execute("SELECT secrets FROM input_secrets").fetchall()
    assert kept.startswith("encrypted:1:"), "of the run that has not ended"
    for path in (paths[0], f"{conversation}/input-requests", f"{conversation}/messages", "/runs"):
        assert (await send("GET", path)).status_code == 200
    for runs in (await send("GET", "/runs")).json()["data"]:
        await send("GET", f"{conversation}/runs/{runs['run_id']}/snapshot")
        await send("GET", f"/runs/{runs['run_id']}/events")
    await send("GET", "/metrics")
    files = {path.name: path.read_bytes() for path in live.database.parent.iterdir() if path.is_file()}
    assert any(name.endswith("-wal") and content for name, content in files.items()), (
        "the log is looked at too"
    )
    assert b"Sign in" in b"".join(files.values()), "what is no secret is found there"
    found = capfd.readouterr()
    logged = stderr.getvalue()
    assert "request failed" in logged
    assert "ZeroDivisionError" in logged
    haystacks = {**files, "answers": "".join(seen), "stdout": found.out, "stderr": found.err}
    haystacks |= {"log": logged, "records": caplog.text}
    for name, text in haystacks.items():
        content = text if isinstance(text, bytes) else text.encode()
        for secret in (SECRET, str(NUMBER)):
            assert secret.encode() not in content, f"{secret} is in {name}"
