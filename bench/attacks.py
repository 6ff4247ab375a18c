"""The attacks of `neighbours.py`: what one tenant sends to hurt the others."""

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from runstead.bench.connection import Connection, Target

#: The attacker of `headers` has an address of its own, since connections are bounded by address.
ATTACKERS_ADDRESS: Final = "127.0.0.2"
SILENT: Final = 280
MIB: Final = 1 << 20
LARGE_RUNS: Final = 100
TARPITS: Final = 16
DELIVERIES: Final = 384
FOLLOWERS: Final = 300
QUERIES: Final = (
    "/runs?label=team:none&q=inventory",
    "/runs?q=zq&sort=duration",
    "/runs?q=%25",
    "/runs?label=team:red&label=team:blue&q=a",
    "/projects/attacker/usage?group_by=family",
    "/projects/attacker/activity?label=team:none",
)
encode = msgspec.json.encode


class Tenant:
    """A project of the server and its key."""

    def __init__(self, url: str, key: str, slug: str, project_id: str) -> None:
        self.target = Target.from_url(url)
        self.headers = self.target.headers(key)
        self.slug, self.project_id = slug, project_id

    async def call(
        self, connection: Connection, method: str, path: str, value: Any = None
    ) -> tuple[int, Any]:
        body = b"" if value is None else encode(value)
        status, answer = await connection.request(method, path, body, self.headers)
        return status, msgspec.json.decode(answer)

    def task(self, **members: Any) -> dict[str, Any]:
        owner = {"kind": "project", "id": self.project_id}
        return {"kind": "task", "owner": owner, "request": {"target": "task:bench"}} | members


async def readers(attacker: Tenant) -> None:
    """Eight callers send a query and hang up."""

    async def hang_up(paths: Any) -> None:
        for path in paths:
            with suppress(OSError):
                _, writer = await asyncio.open_connection(attacker.target.host, attacker.target.port)
                writer.write(f"GET {path} HTTP/1.1\r\n".encode() + attacker.headers + b"\r\n")
                await asyncio.sleep(0.05)
                writer.close()

    await asyncio.gather(*(hang_up(itertools.cycle(QUERIES[n % 6 :] + QUERIES[: n % 6])) for n in range(8)))


async def keys(attacker: Tenant) -> None:
    async def change(number: int) -> None:
        connection = Connection(attacker.target)
        path = f"/projects/{attacker.slug}/members"
        while True:
            await attacker.call(connection, "POST", path, {"user_id": f"user-{number}", "role": "viewer"})
            await attacker.call(connection, "DELETE", f"{path}/user-{number}")

    await asyncio.gather(*map(change, range(4)))


async def cancels(attacker: Tenant) -> None:
    connection = Connection(attacker.target, timeout_s=120)
    async for root in _families(attacker, connection):
        began = time.perf_counter()
        status, _ = await attacker.call(connection, "POST", f"/runs/{root}/cancel")
        print(f"  the cancel was answered with {status} after {time.perf_counter() - began:.2f} s")


async def _families(attacker: Tenant, connection: Connection) -> AsyncIterator[str]:
    """The family was created before the attack; there is one."""
    status, found = await attacker.call(
        connection, "GET", "/runs?root_only=true&status=pending&target=task:family"
    )
    assert status == 200, found
    for run in found["data"]:
        yield run["run_id"]


async def batches(attacker: Tenant) -> None:
    async def create() -> None:
        connection = Connection(attacker.target, timeout_s=120)
        value = {"runs": [attacker.task() for _ in range(1_000)]}
        while True:
            await attacker.call(connection, "POST", f"/projects/{attacker.slug}/batches", value)

    await asyncio.gather(*(create() for _ in range(4)))


async def headers(attacker: Tenant) -> None:
    """Four callers send a header without end, and 280 connections stay silent."""

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target = attacker.target
        return await asyncio.open_connection(target.host, target.port, local_addr=(ATTACKERS_ADDRESS, 0))

    async def endless() -> None:
        while True:
            with suppress(OSError):
                _, writer = await connect()
                writer.write(b"GET /healthz HTTP/1.1\r\nX-Endless: ")
                while True:
                    writer.write(b"a" * 65_536)
                    await writer.drain()
                    await asyncio.sleep(0.002)
            await asyncio.sleep(0.01)

    async def silent() -> None:
        while True:
            with suppress(OSError):
                reader, writer = await connect()
                await reader.read()
                writer.close()
            await asyncio.sleep(0.5)

    await asyncio.gather(*(endless() for _ in range(4)), *(silent() for _ in range(SILENT)))


async def large_runs(attacker: Tenant) -> None:
    """Create the runs of `lists`, with inputs of 1 MiB."""
    connection = Connection(attacker.target, timeout_s=120)
    task = attacker.task()
    task["request"]["input"] = "a" * MIB
    for _ in range(LARGE_RUNS):
        status, answer = await attacker.call(connection, "POST", "/runs", task)
        assert status == 202, answer


async def lists(attacker: Tenant) -> None:
    """Three callers list runs with inputs of 1 MiB."""

    async def read() -> None:
        connection = Connection(attacker.target, timeout_s=120)
        while True:
            status, answer = await connection.request("GET", "/runs?limit=100", b"", attacker.headers)
            assert status == 200, answer

    await asyncio.gather(*(read() for _ in range(3)))


async def tarpits(attacker: Tenant) -> None:
    """Receivers of webhooks accept their deliveries and never answer."""

    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    connection, hooks = Connection(attacker.target, timeout_s=120), []
    path = f"/projects/{attacker.slug}/webhooks"
    async with await asyncio.start_server(hold, "127.0.0.1", 0) as receiver:
        url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/"
        for _ in range(TARPITS):
            status, made = await attacker.call(
                connection, "POST", path, {"url": url, "events": ["run.failed"]}
            )
            assert status == 201, made
            hooks.append(made["webhook"]["id"])
        for sent, hook in enumerate(itertools.cycle(hooks)):
            await attacker.call(connection, "POST", f"{path}/{hook}/test")
            await asyncio.sleep(0 if sent < DELIVERIES else 0.05)


async def followers(attacker: Tenant) -> None:
    """300 followers of a run with large events never read."""
    connection = Connection(attacker.target, timeout_s=120)
    _, created = await attacker.call(connection, "POST", "/runs", attacker.task())
    path = f"/runs/{created['run']['run_id']}"
    opened = []
    loop = asyncio.get_running_loop()
    for _ in range(FOLLOWERS):
        follower = socket.socket()
        follower.setblocking(False)
        follower.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await loop.sock_connect(follower, (attacker.target.host, attacker.target.port))
        request = f"GET {path}/stream HTTP/1.1\r\n".encode() + attacker.headers + b"\r\n"
        await loop.sock_sendall(follower, request)
        opened.append(follower)
    event = {"type": "CUSTOM", "name": "large", "value": "a" * 200_000}
    try:
        while True:
            status, answer = await attacker.call(connection, "POST", f"{path}/events", {"events": [event]})
            assert status == 200, answer
            await asyncio.sleep(0.05)
    finally:
        for follower in opened:
            follower.close()


class Attack(msgspec.Struct, frozen=True):
    """`prepare` runs before the quiet measurement. `files`: the server's limit of open files."""

    run: Callable[[Tenant], Awaitable[None]]
    prepare: Callable[[Tenant], Awaitable[None]] | None = None
    files: int | None = None


async def large_family(attacker: Tenant) -> None:
    """Create the family of `cancels`."""
    connection = Connection(attacker.target, timeout_s=120)
    root = attacker.task()
    root["request"]["target"] = "task:family"
    _, created = await attacker.call(connection, "POST", "/runs", root)
    child = attacker.task(parent_run_id=created["run"]["run_id"])
    for _ in range(30):
        status, answer = await attacker.call(
            connection, "POST", f"/projects/{attacker.slug}/batches", {"runs": [child] * 1_000}
        )
        assert status in (200, 201, 202), answer


ATTACKS: Final = {
    "headers": Attack(headers, files=256),
    "lists": Attack(lists, large_runs),
    "readers": Attack(readers),
    "keys": Attack(keys),
    "cancels": Attack(cancels, large_family),
    "batches": Attack(batches),
    "tarpits": Attack(tarpits),
    "followers": Attack(followers),
}
