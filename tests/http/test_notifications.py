"""`/projects/{project}/notifications`, followed live over sockets on a real server."""

import asyncio
import json
import random
import re
import socket
from contextlib import suppress

import pytest

from runstead.core import limits
from runstead.core.change import Change
from runstead.sdk import AsyncClient

PATH = "/projects/default/notifications"
HINT = ["type", "run_id", "conversation_id", "status", "at"]


class Follower:
    """One connection. `cursor` is the last received id, with or without data."""

    def __init__(self, reader, writer, cursor):
        self.reader, self.writer, self.cursor = reader, writer, cursor

    async def frame(self):
        """Return (event, data) of the next frame with data; None after the end of the stream."""
        event, data = None, None
        while line := await self.reader.readline():
            if line.startswith(b"id: "):
                self.cursor = line[4:].decode().strip()
            elif line.startswith(b"event: "):
                event = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                data = json.loads(line[6:])
            elif line == b"\n" and data is not None:
                assert event == data["type"]
                return data
        return None

    async def until(self, kind, run_id=None):
        """Return the frames up to a change of this type, included."""
        found = []
        async with asyncio.timeout(30):
            while not found or (found[-1]["type"], run_id or found[-1]["run_id"]) != (
                kind,
                found[-1]["run_id"],
            ):
                found.append(await self.frame())
        return found

    async def numbered(self):
        """Return (number in the buffer, type, run_id) of the next frame."""
        found = await self.frame()
        return int(self.cursor.partition("-")[2]), found["type"], found["run_id"]

    def leave(self):
        self.writer.close()


async def follow(live, after=None, path=PATH):
    """Connect, and wait for the first bytes."""
    reader, writer = await live.open_stream(path, after)
    async with asyncio.timeout(30):
        follower = Follower(reader, writer, after)
        while (line := await reader.readline()) != b": following\n":
            assert line, "the stream ended"
        rest = await reader.readline()
        if rest.startswith(b"id: "):
            follower.cursor = rest[4:].decode().strip()
    return follower


def notifier(live):
    """Return the notifier of the server in this process."""
    return live.main.app.notifier


async def project_id(live):
    return (await live.client.get(f"{live.url}/projects/default", headers=live.headers)).json()["id"]


async def test_a_follower_is_connected_at_once_and_has_a_cursor(live):
    follower = await follow(live)
    assert re.fullmatch(r"[0-9a-f]{16}-\d+", follower.cursor)
    follower.leave()


async def test_a_run_is_followed_from_its_creation_to_its_end(live):
    follower = await follow(live)
    run_id = await live.create()
    await follower.until("run.created")
    await live.append(run_id, {"type": "A"})
    await live.post(f"/runs/{run_id}/wait", {"reason": "event"})
    (waiting,) = await follower.until("run.updated")
    await live.complete(run_id)
    (ended,) = await follower.until("run.completed")
    assert [waiting["status"], ended["status"]] == ["waiting", "completed"]
    assert list(ended) == HINT
    assert (ended["run_id"], ended["conversation_id"]) == (run_id, None)
    shown = (await live.client.get(f"{live.url}/runs/{run_id}", headers=live.headers)).json()
    assert ended["at"] == shown["updated_at"]
    follower.leave()


async def test_claims_and_conversations_send_notifications(live):
    follower = await follow(live)
    made = await live.post("/conversations", {"title": "t"})
    (found,) = await follower.until("conversation.updated")
    assert (found["conversation_id"], found["run_id"], found["status"]) == (made["id"], None, "active")
    run_id = await live.create()
    body = {"implementation_kind": "a", "worker_key": "b"}
    worker = (await live.post("/agent-workers/projects/default/workers", body))["worker"]["id"]
    await live.post(f"/agent-workers/workers/{worker}/claim", {"kinds": ["task"]})
    found = await follower.until("run.updated", run_id)
    assert (found[-1]["run_id"], found[-1]["status"]) == (run_id, "running")
    follower.leave()


async def test_changes_of_a_conversation_send_notifications_until_its_deletion(live):
    conversation_id = (await live.post("/conversations", {"project_id": await project_id(live)}))["id"]
    follower = await follow(live)
    url = f"{live.url}/conversations/{conversation_id}"
    found = []
    for method, path, body in (
        ("POST", "/messages", {"role": "user", "parts": [{"type": "text", "text": "Hi"}]}),
        ("PATCH", "", {"status": "archived"}),
        ("DELETE", "", None),
    ):
        answer = await live.client.request(method, url + path, json=body, headers=live.headers)
        assert answer.is_success, answer.text
        found += await follower.until("conversation.updated")
    assert [one["status"] for one in found] == ["active", "archived", "deleted"]
    assert {one["conversation_id"] for one in found} == {conversation_id}
    follower.leave()


async def test_a_deleted_run_sends_a_notification(live):
    run_id = await live.create()
    await live.complete(run_id)
    follower = await follow(live)
    answer = await live.client.delete(f"{live.url}/runs/{run_id}", headers=live.headers)
    assert answer.is_success, answer.text
    assert [one["run_id"] for one in await follower.until("run.updated")] == [run_id]
    follower.leave()


async def test_an_agent_run_of_a_schedule_notifies_its_conversation_too(live):
    target = {"kind": "agent", "id": "scribe"}
    body = {"name": "n", "target": target, "schedule": "0 3 * * *"}
    schedule = (await live.post("/projects/default/schedules", body))["schedule"]
    follower = await follow(live)
    path = f"/projects/default/schedules/{schedule['id']}/runs"
    made = await live.post(path, {"idempotency_key": "k"})
    first, second = await follower.until("run.created")
    assert (first["type"], second["run_id"]) == ("conversation.updated", made["run_id"])
    assert first["conversation_id"] == second["conversation_id"]
    await live.post(path, {"idempotency_key": "k"})  # the same run, which sends nothing
    run_id = await live.create()
    assert [one["run_id"] for one in await follower.until("run.created", run_id)] == [run_id]
    follower.leave()


@pytest.mark.parametrize("named", ["header", "query"])
async def test_a_reconnected_follower_misses_nothing(live, named):
    follower = await follow(live)
    first = await live.create()
    await follower.until("run.created")
    follower.leave()
    second = await live.create()
    await live.complete(first)
    path = PATH if named == "header" else f"{PATH}?after={follower.cursor}"
    again = await follow(live, follower.cursor if named == "header" else None, path)
    found = [(one["type"], one["run_id"]) for one in await again.until("run.completed")]
    assert found == [("run.created", second), ("run.completed", first)]
    again.leave()


@pytest.mark.parametrize("cursor", ["x", "7", "0123456789abcdef-0", "-", "x" * 5_000, "\xe9"])
async def test_an_unknown_cursor_gets_a_resync(live, cursor):
    follower = await follow(live, cursor.encode("latin-1").decode("latin-1"))
    found = await follower.frame()
    assert (found["type"], found["run_id"], found["conversation_id"], found["status"]) == (
        "resync",
        None,
        None,
        None,
    )
    run_id = await live.create()
    assert [one["run_id"] for one in await follower.until("run.created")] == [run_id]
    follower.leave()


async def test_a_project_sends_nothing_of_another(live):
    await live.post("/projects", {"slug": "second"})
    second = (await live.client.get(f"{live.url}/projects/second", headers=live.headers)).status_code
    assert second == 404  # only its own key has access
    follower = await follow(
        live, path=f"/projects/{await project_id(live)}/notifications"
    )  # by id as by slug
    notifier(live).publish_changes("another", [Change("run.created", 1, "foreign", None, "pending")])
    run_id = await live.create()
    assert [one["run_id"] for one in await follower.until("run.created")] == [run_id]
    follower.leave()


async def test_no_update_of_a_run_comes_twice_within_the_interval(live):
    follower = await follow(live)
    run_id = await live.create()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(50):
        await live.post(f"/runs/{run_id}/wait", {"reason": "event"})
        await live.post(f"/runs/{run_id}/resume", {"type": "event"})
    await live.complete(run_id)
    passed = loop.time() - began
    found = [one["type"] for one in await follower.until("run.completed")]
    assert (found[0], found[-1]) == ("run.created", "run.completed")
    assert set(found[1:-1]) <= {"run.updated"}
    assert len(found) - 2 <= passed / limits.change_interval_s + 1
    follower.leave()


@pytest.mark.parametrize("size", [4_096, 16])
async def test_a_reconnecting_follower_misses_no_creation_or_end_without_a_resync(live, monkeypatch, size):
    """It reconnects fifty times at random during two hundred runs. The large buffer holds them all, the
    small one does not.
    """
    monkeypatch.setattr(limits, "changes_per_project_max", size)
    seen, ids, heard, dice = [], [], [], random.Random(7)  # seen: (number in the buffer, type, run_id)
    follower = await follow(live)
    notifier(live).listen(await project_id(live), heard.extend)  # number n of the buffer is heard[n - 1]

    async def work():
        for _ in range(20):
            run_id = await live.create()
            await live.post(f"/runs/{run_id}/wait", {"reason": "event"})
            await live.complete(run_id)
            ids.append(run_id)

    working = asyncio.gather(*(work() for _ in range(10)))
    connections = 1
    while connections < 50 or not working.done():
        with suppress(TimeoutError):
            async with asyncio.timeout(0.03):
                enough = len(seen) + dice.randrange(1, 25)
                while len(seen) < enough:
                    seen.append(await follower.numbered())
        follower.leave()
        follower = await follow(live, follower.cursor)
        connections += 1
    with suppress(TimeoutError):  # and the remaining frames
        while True:
            async with asyncio.timeout(1):
                seen.append(await follower.numbered())
    follower.leave()
    await working

    assert len(ids) == 200
    last = 0
    for number, kind, run_id in seen:
        assert number > last or kind == "resync"
        if kind != "resync":
            assert heard[number - 1].run_id == run_id
            assert {each.type for each in heard[last : number - 1]} <= {"run.updated"}, (
                "lost without a resync"
            )
        last = number
    assert ("resync" in {kind for _, kind, _ in seen}) == (size == 16)
    for kind in ("run.created", "run.completed"):
        found = [run_id for _, each, run_id in seen if each == kind]
        assert len(set(found)) == len(found)
        if size != 16:
            assert sorted(found) == sorted(ids)
    place = {(kind, run_id): number for number, kind, run_id in seen}
    for run_id in ids:
        assert place.get(("run.created", run_id), 0) < place.get(("run.completed", run_id), 1 << 30)
        assert place.get(("run.updated", run_id), 0) < place.get(("run.completed", run_id), 1 << 30)


async def test_a_follower_that_does_not_read_costs_little_and_gets_a_resync(live, monkeypatch):
    monkeypatch.setattr(limits, "changes_per_project_max", 64)
    monkeypatch.setattr(limits, "change_interval_s", 0.001)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, live.address())
    head = f"GET {PATH} HTTP/1.1\r\nHost: r\r\nAuthorization: {live.headers['Authorization']}\r\n"
    await loop.sock_sendall(slow, f"{head}Connection: close\r\n\r\n".encode())
    assert (await loop.sock_recv(slow, 12)).startswith(b"HTTP/1.1 200")  # and reads nothing for now
    quick = await follow(live)
    ids = []
    announce, project = notifier(live).publish_changes, await project_id(live)
    for number in range(40_000):  # more than all the buffers on the way can hold
        announce(project, [Change("run.created", 1, f"{number:060}", None, "pending")])
        if number % 50 == 49:
            ids.append((await quick.frame())["run_id"])
    text = b""
    async with asyncio.timeout(30):
        while b"event: resync" not in text:
            part = await loop.sock_recv(slow, 1 << 16)
            assert part
            text = text[-200:] + part
    slow.close()
    quick.leave()


async def test_a_quiet_project_sends_heartbeats(live, monkeypatch):
    monkeypatch.setattr(limits, "stream_heartbeat_s", 0.05)
    follower = await follow(live)
    cursor = follower.cursor
    async with asyncio.timeout(30):
        for _ in range(3):
            await follower.reader.readuntil(f": following\nid: {cursor}\n\n".encode())
    follower.leave()


async def test_a_shutdown_ends_the_stream_cleanly(live):
    follower = await follow(live)
    await live.create()
    await follower.until("run.created")
    live.main.stop()
    async with asyncio.timeout(limits.shutdown_s):
        rest = await follower.reader.read()
        await live.task
    assert rest.endswith(b"0\r\n\r\n")  # the last chunk: a regular end
    follower.leave()


async def test_the_sdk_follows_and_reconnects(live):
    key = live.headers["Authorization"].removeprefix("Bearer ")
    seen = []
    async with AsyncClient(live.url, key, project="default") as client:
        watching = client.notifications.follow()
        first = asyncio.ensure_future(anext(watching))
        await live.until(lambda: live.main._server.server_state.connections)
        while not first.done():  # the stream may not be open yet when the first run is created
            run_id = await live.create()
            await asyncio.wait([first], timeout=0.2)
        found = await first
        assert found.type == "run.created"
        await watching.aclose()
        await live.complete(run_id)
        async for each in client.notifications.follow(after=found.cursor):
            seen.append((each.type, each.run_id))
            if seen[-1] == ("run.completed", run_id):
                break
    assert "resync" not in {kind for kind, _ in seen}


# Authorization


async def test_only_readers_of_a_project_may_follow_it(driver):
    await driver.refused(401, "UNAUTHENTICATED", "GET", "/projects/inventory/notifications", by=None)
    await driver.refused(403, "FORBIDDEN", "GET", "/projects/inventory/notifications", by="workers")
    for by in ("other", driver.token("eve")):
        await driver.refused(404, "NOT_FOUND", "GET", "/projects/inventory/notifications", by=by)
    await driver.refused(404, "NOT_FOUND", "GET", "/projects/nothing/notifications")


async def test_a_token_of_one_run_cannot_follow_a_project(driver):
    run = await driver.create()
    await driver.member("ada", role="admin")
    bound = driver.token("ada", runId=run["run_id"])
    await driver.refused(403, "FORBIDDEN", "GET", "/projects/inventory/notifications", by=bound)
