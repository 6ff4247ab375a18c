"""Measures how much one tenant's load delays another tenant, on a server with a fresh SQLite file.

    python bench/neighbours.py                                             # every attack
    python bench/neighbours.py readers --runstead ../before/.venv/bin/runstead

A neighbour reads a run and creates one, in turns, and for `tarpits` also receives a webhook; first alone, then while
another project attacks. Prints p50, p99 and the longest time in ms, and the peak of the server's memory. Exits with 1
where a p99 under attack exceeds 5 times the quiet one plus 50 ms.

Attacks: `headers` sends headers without end and opens silent connections, to a server with 256 open files. `lists` reads
lists of runs whose inputs have 1 MiB. `readers` sends lists whose filters match nothing and reports, and hangs up at once.
`keys` changes members of a project that has 60,000 keys. `cancels` cancels a family of 30,001 runs. `batches` creates
batches of 1,000 runs. `tarpits` has webhook deliveries that are never answered. `followers` never read a stream.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from attacks import ATTACKS, Tenant
from fill import add

from runstead.bench.connection import Connection
from runstead.commands.keys import make_key, new_project
from runstead.core.clock import now_ms
from runstead.core.identity.principal import ALL_SCOPES
from runstead.core.identity.project import new_key
from runstead.engines.sqlite.connection import connect
from runstead.engines.sqlite.store import SqliteStore

READY: Final = "runstead is ready on "
FACTOR: Final = 5
SLACK_MS: Final = 50


class Server(NamedTuple):
    url: str
    pid: int

    def peak_mib(self) -> float:
        """Return the most memory that the server had so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


class Sink:
    """A receiver of webhooks that answers at once. `arrived` is set for each delivery."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()

    async def receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.arrived.set()
            await writer.drain()
        writer.close()


async def neighbour(tenant: Tenant, seconds: float, hook: tuple[str, Sink] | None) -> dict[str, list[float]]:
    """The times in ms of a reader, a writer and, with a hook, of deliveries from request to arrival."""
    connections = [Connection(tenant.target, timeout_s=120) for _ in range(3)]
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

    async def deliver(connection: Connection, path: str, sink: Sink) -> list[float]:
        took = []
        while time.perf_counter() < ends_at:
            await asyncio.sleep(0.005)
            sink.arrived.clear()
            began = time.perf_counter()
            status, answer = await tenant.call(connection, "POST", f"{path}/test")
            assert status == 202, answer
            await sink.arrived.wait()
            took.append((time.perf_counter() - began) * 1e3)
        return sorted(took)

    work = {
        "read": repeat(connections[0], "GET", path),
        "create": repeat(connections[1], "POST", "/runs", tenant.task()),
    }
    if hook is not None:
        work["deliver"] = deliver(connections[2], *hook)
    return dict(zip(work, await asyncio.gather(*work.values()), strict=True))


async def measure(
    server: Server, tenants: dict[str, tuple[str, str, str]], name: str, seconds: float
) -> bool:
    attack = ATTACKS[name]
    attacker, quiet = (Tenant(server.url, *tenants[slug]) for slug in ("attacker", "neighbour"))
    if attack.prepare is not None:
        await attack.prepare(attacker)
    sink, hook = Sink(), None
    async with await asyncio.start_server(sink.receive, "127.0.0.1", 0) as receiver:
        if name == "tarpits":
            value = {
                "url": f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}/",
                "events": ["run.failed"],
            }
            path = f"/projects/{quiet.slug}/webhooks"
            _, made = await quiet.call(Connection(quiet.target), "POST", path, value)
            hook = f"{path}/{made['webhook']['id']}", sink
        await neighbour(quiet, 1, hook)
        alone, memory = await neighbour(quiet, seconds, hook), server.peak_mib()
        task = asyncio.ensure_future(attack.run(attacker))
        await asyncio.sleep(0)
        attacked = await neighbour(quiet, seconds, hook)
        if not task.cancel():
            await task
        with suppress(asyncio.CancelledError):
            await task
    held = True
    for what, took in attacked.items():
        bound = FACTOR * at(alone[what], 0.99) + SLACK_MS
        held = held and at(took, 0.99) <= bound
        print(
            f"{name:9} {what:7} quiet {figures(alone[what])}, attacked {figures(took)}; bound {bound:.0f} ms"
        )
    print(f"{name:9} memory  {memory:.0f} MiB before, {server.peak_mib():.0f} MiB at most")
    return held


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
async def serving(command: str, path: Path, files: int | None) -> AsyncIterator[Server]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    environment["RUNSTEAD_ALLOW_PRIVATE_EGRESS"] = "true"  # the receivers of webhooks are on this machine
    limited = () if files is None else ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh")
    process = await asyncio.create_subprocess_exec(
        *limited,
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
                yield Server(text.removeprefix(READY).split()[0], process.pid)
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
            async with serving(options.runstead, path, ATTACKS[attack].files) as server:
                held = await measure(server, tenants, attack, options.seconds) and held
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
