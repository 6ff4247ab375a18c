"""Measures how much one tenant's load delays another tenant, on a server with a fresh SQLite file.

    python bench/neighbours.py                                             # every attack
    python bench/neighbours.py readers --runstead ../before/.venv/bin/runstead

A neighbour reads a run and creates one, in turns; first alone, then while another project attacks. Prints p50, p99 and
the longest time in ms, and exits with 1 where a p99 under attack exceeds 5 times the quiet one plus 50 ms.

Attacks: `readers` sends lists whose filters match nothing and reports, and hangs up at once. `keys` changes members of a
project that has 60,000 keys. `cancels` cancels a family of 30,001 runs. `batches` creates batches of 1,000 runs.
"""

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from fill import add

from runstead.bench.connection import Connection, Target
from runstead.commands.keys import make_key, new_project
from runstead.core.clock import now_ms
from runstead.core.identity.principal import ALL_SCOPES
from runstead.core.identity.project import new_key
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.store import SqliteStore

READY: Final = "runstead is ready on "
FACTOR: Final = 5
SLACK_MS: Final = 50
LISTS: Final = (
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

    await asyncio.gather(*(hang_up(itertools.cycle(LISTS[n % 6 :] + LISTS[: n % 6])) for n in range(8)))


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


ATTACKS: Final[dict[str, Callable[[Tenant], Awaitable[None]]]] = {
    "readers": readers,
    "keys": keys,
    "cancels": cancels,
    "batches": batches,
}


async def neighbour(tenant: Tenant, seconds: float) -> dict[str, list[float]]:
    """The times in ms of a reader and a writer."""
    connections = Connection(tenant.target, timeout_s=120), Connection(tenant.target, timeout_s=120)
    _, created = await tenant.call(connections[0], "POST", "/runs", tenant.task())
    path, ends_at = f"/runs/{created['run']['run_id']}", time.perf_counter() + seconds

    async def repeat(connection: Connection, *request: Any) -> list[float]:
        took = []
        while time.perf_counter() < ends_at:
            await asyncio.sleep(0.005)
            status, answer = await tenant.call(connection, *request)
            assert status in (200, 202), answer
            took.append(connection.elapsed_ns / 1e6)
        return sorted(took)

    read, create = await asyncio.gather(
        repeat(connections[0], "GET", path), repeat(connections[1], "POST", "/runs", tenant.task())
    )
    return {"read": read, "create": create}


async def measure(url: str, tenants: dict[str, tuple[str, str, str]], attack: str, seconds: float) -> bool:
    attacker, quiet = (Tenant(url, *tenants[slug]) for slug in ("attacker", "neighbour"))
    if attack == "cancels":
        await _create_family(attacker)
    await neighbour(quiet, 1)
    alone = await neighbour(quiet, seconds)
    task = asyncio.ensure_future(ATTACKS[attack](attacker))
    await asyncio.sleep(0)
    attacked = await neighbour(quiet, seconds)
    if not task.cancel():
        await task
    with suppress(asyncio.CancelledError):
        await task
    held = True
    for name, took in attacked.items():
        bound = FACTOR * at(alone[name], 0.99) + SLACK_MS
        held = held and at(took, 0.99) <= bound
        print(
            f"{attack:8} {name:6} quiet {figures(alone[name])}, attacked {figures(took)}; bound {bound:.0f} ms"
        )
    return held


async def _create_family(attacker: Tenant) -> None:
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


def at(took: list[float], share: float) -> float:
    return took[min(int(len(took) * share), len(took) - 1)]


def figures(took: list[float]) -> str:
    return f"p50 {at(took, 0.5):.1f}, p99 {at(took, 0.99):.1f}, max {took[-1]:.1f} ({len(took)})"


async def fill(path: Path, attack: str, runs: int) -> dict[str, tuple[str, str, str]]:
    store = SqliteStore(path)
    await store.open()
    tenants = {}
    for slug in ("attacker", "neighbour"):
        project, secret = new_project(slug, None), new_key()
        await store.identity.create_project(project, None, make_key(secret, project.id, ALL_SCOPES))
        tenants[slug] = secret, slug, project.id
    await store.close()
    with connect(path, "OFF") as connection:
        connection.execute("BEGIN")
        now, project_id = now_ms() - 86_400_000, tenants["attacker"][2]
        for number in range(runs if attack == "readers" else 0):
            add(connection, project_id, now + number, number, 0)
        for number in range(60_000 if attack == "keys" else 0):
            values = (f"key-{number}", project_id, "vf_x", os.urandom(32), "runs:read", now)
            connection.execute(
                "INSERT INTO api_keys (id, project_id, prefix, hash, scopes, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        connection.execute("COMMIT")
    return tenants


@asynccontextmanager
async def serving(command: str, path: Path) -> AsyncIterator[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    process = await asyncio.create_subprocess_exec(
        command,
        "serve",
        "--database",
        f"sqlite:///{path}",
        "--port",
        "0",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=path.parent,
        env=environment,
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            if (text := line.decode()).startswith(READY):
                yield text.removeprefix(READY).split()[0]
                return
        raise RuntimeError("the server did not start")
    finally:
        process.terminate()
        await process.wait()


async def run(options: argparse.Namespace) -> bool:
    held = True
    for attack in options.attacks or ATTACKS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "neighbours.db"
            tenants = await fill(path, attack, options.runs)
            async with serving(options.runstead, path) as url:
                held = await measure(url, tenants, attack, options.seconds) and held
    return held


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("attacks", nargs="*", choices=[[], *ATTACKS])
    parser.add_argument(
        "--runstead", type=os.path.abspath, default=str(Path(sys.executable).with_name("runstead"))
    )
    parser.add_argument("--runs", type=int, default=100_000, help="of the attacker, for `readers`")
    parser.add_argument("--seconds", type=float, default=5)
    sys.exit(not asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
