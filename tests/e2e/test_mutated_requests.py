"""Mutated requests of every route, as bytes over a socket to the real server: no 5xx, no hang, no dead server.

Requests have a fixed seed: RUNSTEAD_MUTATIONS_SEED changes it. A failure names the request, which fails again.
"""

import json
import os
import random
import re
import socket
from urllib.parse import quote

import httpx2
import pytest

from runstead.http.framework.app import operations
from runstead.http.framework.endpoint import Nothing
from runstead.http.openapi.examples import EXAMPLES
from tests.support.server import PROJECT

SHORT, LONG = 2_000, 30_000
SEED = int(os.environ.get("RUNSTEAD_MUTATIONS_SEED", "13"))
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")

#: Values that have broken parsers and stores.
VALUES = (
    None, True, False, 0, -1, 1.5, 1e308, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, "", " ", "a" * 300, "\0", "a\0b",
    "\ud7ff", "\uffff", "\U0001f600", "\u202e", "'", '"', "%00", "../..", "1; DROP TABLE runs", "NaN", "{}", [], {}, [[]],
    [None], {"": None}, {"a": {"b": [1, {"c": None}]}}, ["x"] * 200, "2026-13-45T99:99:99Z", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "task:", "* * * * *", "http://[::1", "P1D",
)  # fmt: skip
BYTES = (
    b"\x00", b"\r\n", b"\n", b"\xff\xfe", b"%00", b"%ff", b"%2f", b"%", b"?", b"#", b"&", b"=", b";", b" ", b"\t", b'"',
    b"{", b"[", b"}", b"]", b",", b"\\u0000", b"\\ud800", b"1e999", b"-", b"/", b"//", b"..", b"a" * 2_000, b"\xc3\x28",
)  # fmt: skip
HEADERS = (
    b"Content-Length: 0", b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip", b"Expect: 100-continue", b"Upgrade: websocket", b"Connection: close", b"If-Match: *",
    b'If-Match: "1.2.3"', b"If-Match: x", b'If-None-Match: "1"', b"Last-Event-ID: 99999999999999999999", b"Range: bytes=-0",
    b"Range: bytes=9-1", b"Accept-Encoding: gzip;q=x", b"Accept-Encoding: *", b"X-Request-Id: \xff", b"Content-Type: text/xml",
    b"Idempotency-Key: k", b"Idempotency-Key: ", b"X-Lease-Token: x", b"Authorization: Basic x", b"X-API-Key: vf_a_b",
    b"Origin: null", b"X-Forwarded-For: x", b"Cookie: runstead_session=\xff", b"Accept: text/html", b"Host: ",
)  # fmt: skip
_prompt_s = 0.1  # a complete request is answered in this time, unless the machine is busy


class Mutator:
    """Makes valid requests of every route, and mutates them."""

    def __init__(self, seed, key, names):
        self.random = random.Random(seed)
        self._key = key
        self._names = names
        self._operations = operations()

    def request(self, number):
        """Return the route and the bytes of one request. Every route has its turn."""
        one, chance = self._operations[number % len(self._operations)], self.random
        path = re.sub(r"\{(\w+)\}", lambda match: self._name(match[1]), one.path)
        if chance.random() < 0.4:
            path += "?" + self._query(one)
        body = b""
        if one.body is not Nothing:
            example = chance.choice(list(EXAMPLES[one.body.__name__].values()))
            example = self._localized(example)
            for _ in range(chance.choice((0, 1, 1, 2, 4))):
                example = self._mutated(example)
            body = json.dumps(example).encode("utf-8", "surrogatepass")
        elif one.streamed:
            body = b"some bytes"
        lines = [f"{one.method} {path} HTTP/1.1".encode(), b"Host: a", b"Content-Type: application/json"]
        if chance.random() < 0.95:
            lines.append(f"Authorization: Bearer {self._key}".encode())
        if body and chance.random() < 0.5:  # before the length, so that it is right
            body = self._spoiled(body)
        lines.append(b"Content-Length: %d" % len(body))
        if chance.random() < 0.3:
            lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(HEADERS))
        data = b"\r\n".join([*lines, b"", body])
        if chance.random() < 0.2:
            data = self._spoiled(data)
        return f"{one.method} {one.path}", data

    def _name(self, name):
        chance = self.random
        if chance.random() < 0.75:
            return quote(chance.choice(self._names.get(name, ["none"])), safe="")
        return quote(str(chance.choice(VALUES))[:400], safe="", errors="surrogatepass")

    def _query(self, one):
        names = [*getattr(one.query, "__struct_fields__", ()), "limit", "cursor", "project", "unknown"]
        pairs = []
        for _ in range(self.random.randrange(1, 4)):
            value = str(self.random.choice((*VALUES, 1, 5, "created_at", "running")))[:400]
            pairs.append(f"{self.random.choice(names)}={quote(value, safe='', errors='surrogatepass')}")
        return "&".join(pairs)

    def _localized(self, example):
        """Name the objects that exist, so that requests get further than to the look-up."""
        text = json.dumps(example)
        text = re.sub(r'"id": "7f6c2f0e-[^"]*"', f'"id": "{self._names["project_id"][0]}"', text)
        text = re.sub(r'"id": "3d1c9a54-[^"]*"', f'"id": "{self._names["conversation_id"][0]}"', text)
        return json.loads(re.sub(r'"wait_seconds": \d+', '"wait_seconds": 0', text))

    def _mutated(self, value):
        """Replace, remove, add or repeat one value at a random place."""
        chance = self.random
        if isinstance(value, dict) and value and chance.random() < 0.85:
            name = chance.choice(list(value))
            action = chance.randrange(6)
            if action == 0:
                return {key: item for key, item in value.items() if key != name}
            if action == 1:
                return value | {chance.choice([*value, "x", "", "\0"]): chance.choice(VALUES)}
            return value | {name: self._mutated(value[name])}
        if isinstance(value, list) and value and chance.random() < 0.85:
            index, action = chance.randrange(len(value)), chance.randrange(5)
            if action == 0:
                return value * chance.choice((2, 20, 150))
            if action == 1:
                return value[:index]
            return [*value[:index], self._mutated(value[index]), *value[index + 1 :]]
        return chance.choice(VALUES)

    def _spoiled(self, data):
        """Change bytes at a random place."""
        chance = self.random
        at, action = chance.randrange(len(data)), chance.randrange(5)
        if action == 0:
            return data[:at]
        if action == 1:
            return data[:at] + chance.choice(BYTES) + data[at:]
        if action == 2:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        if action == 3:
            until = min(len(data), at + chance.randrange(1, 40))
            return data[:at] + data[at:until] * 2 + data[until:]
        return data[:at] + data[at + chance.randrange(1, 40) :]


def answer_of(address, data):
    """Return the status of the first answer, None if the server closed without one."""
    received = b""
    with socket.create_connection(address, timeout=_prompt_s) as one:
        try:
            one.sendall(data)
            while not (found := STATUS.search(received)):
                try:
                    piece = one.recv(65_536)
                except TimeoutError:
                    assert one.gettimeout() == _prompt_s, f"no answer and no end within a minute: {data!r}"
                    one.settimeout(60)
                    one.shutdown(socket.SHUT_WR)  # it may be incomplete: then the server waits for the rest
                    continue
                if not piece:
                    return None
                received += piece
        except ConnectionError:
            return None
        return int(found[1])


@pytest.fixture
def names(api):
    """The objects that the requests name, by the parameter of the path."""
    project = api.project_id()
    runs = [api.create(project)["run_id"] for _ in range(20)]
    conversation = api.post("/conversations", {})["id"]
    worker = api.post(
        f"/agent-workers/projects/{PROJECT}/workers", {"implementation_kind": "python", "worker_key": "w"}
    )["worker"]["id"]
    return {
        "run_id": [*runs, "event-types"],
        "child_run_id": runs,
        "project": [PROJECT, project],
        "project_id": [project],
        "project_ref": [PROJECT, project],
        "conversation_id": [conversation],
        "worker_id": [worker],
        "event_id": ["1", "0", "99999999999999999999"],
        "user_id": ["ada", "bob"],
    }


@pytest.mark.parametrize(
    "requests", [SHORT, pytest.param(LONG, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_no_mutated_request_gets_a_server_error_or_no_answer(server, names, requests):
    url = httpx2.URL(server.url)
    mutator = Mutator(SEED, server.key, names)
    statuses, failures = {}, []
    for number in range(requests):
        route, data = mutator.request(number)
        status = answer_of((url.host, url.port), data)
        statuses.setdefault(status, set()).add(route)
        if status is not None and status >= 500:
            failures.append((status, data))
        assert server.process.poll() is None, f"the server ended after {data!r}"
    assert failures == []
    assert "request failed" not in server.log
    assert "Exception in ASGI application" not in server.log
    # The requests were not all refused by the parser, and most were mutated enough to be refused.
    assert {200, 201, 202, 400, 401, 404, 405, 409} <= statuses.keys()
    assert len(statuses[400]) > 60
