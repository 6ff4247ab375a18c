"""Compares Runstead with other systems: lifecycles per second, one system at a time, in one run of this program.

    make bench-peers

Each peer is installed into a folder of its own in a temporary directory, from its pinned file in `requirements/`, and is
run by its adapter. It writes docs/benchmarks-peers.md between its markers. A peer that cannot be installed or started is
listed with the reason. It needs uv, and npm for two peers.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

PAGE = HERE.parent.parent / "docs/benchmarks-peers.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
INSTALL_S, RUN_S = 600, 300


class Peer(NamedTuple):
    """A system: its adapter, its requirements (none: this Python), and what a durable lifecycle is there."""

    name: str
    adapter: str
    requirements: str
    lifecycle: str
    postgres: bool = False
    npm: str = ""


PEERS = (
    Peer("Runstead, SQLite", "runstead_peer.py", "", "four requests over HTTP"),
    Peer("Runstead, PostgreSQL", "runstead_peer.py", "", "four requests over HTTP", postgres=True),
    Peer("Restate", "restate_peer.py", "restate.txt", "HTTP call, journalled step", npm="restate.json"),
    Peer("Temporal, dev server", "temporal_peer.py", "temporal.txt", "workflow, activity"),
    Peer("DBOS, SQLite", "dbos_peer.py", "dbos.txt", "workflow, step; in process"),
    Peer("DBOS, PostgreSQL", "dbos_peer.py", "dbos.txt", "workflow, step; in process", postgres=True),
    Peer("Prefect, SQLite", "prefect_peer.py", "prefect.txt", "flow, task with a persisted result"),
    Peer(
        "Procrastinate, PostgreSQL", "procrastinate_peer.py", "procrastinate.txt", "job, rows", postgres=True
    ),
    Peer("pg-boss, PostgreSQL", "pgboss_peer.mjs", "", "job, rows", postgres=True, npm="pgboss.json"),
    Peer("Absurd, PostgreSQL", "absurd_peer.py", "absurd.txt", "task, step", postgres=True),
    Peer("Aegra, PostgreSQL", "aegra_peer.py", "aegra.txt", "thread, run, checkpoints", postgres=True),
    Peer("LangGraph dev", "langgraph_peer.py", "langgraph.txt", "thread, run; in memory, not durable"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", nargs="+", help="beginnings of names; the page is then not written")
    parser.add_argument("--before", default="", help="a command before each measurement, such as nice")
    parser.add_argument("--cache", help="a folder that keeps the installed peers")
    options = parser.parse_args()
    chosen = [each for each in PEERS if not options.only or each.name.startswith(tuple(options.only))]
    rows: dict[str, tuple[str, float] | str] = {}
    with tempfile.TemporaryDirectory(prefix="runstead-peers-") as temporary:
        for peer in chosen:
            folder = Path(options.cache or temporary).resolve() / peer.adapter.partition(".")[0]
            folder.mkdir(parents=True, exist_ok=True)
            try:
                rows[peer.name] = run(peer, folder, options)
            except (subprocess.SubprocessError, OSError, ValueError) as error:
                rows[peer.name] = reason_of(error)
            print(peer.name, rows[peer.name], flush=True)
    text = table(rows, options)
    print(text)
    if not options.only:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + f"{BEGIN}\n\n{text}\n{END}" + rest.partition(END)[2])


def run(peer: Peer, folder: Path, options: argparse.Namespace) -> tuple[str, float]:
    """Install and measure a peer. Return its version and the lifecycles per second."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "DO_NOT_TRACK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, str(HERE / peer.adapter)]
    if peer.requirements:
        python = folder / "venv/bin/python"
        if not python.exists():
            install(["uv", "venv", "-q", "--python", sys.executable, str(folder / "venv")])
            requirements = str(HERE / "requirements" / peer.requirements)
            install(["uv", "pip", "install", "-q", "--python", str(python), "-r", requirements])
        program = [str(python), str(HERE / peer.adapter)]
    if peer.npm:
        environment |= install_npm(peer, folder)
        if peer.adapter.endswith(".mjs"):
            shutil.copy(HERE / peer.adapter, folder)
            program = ["node", str(folder / peer.adapter)]
    with tempfile.TemporaryDirectory(prefix="runstead-peer-") as directory, database(peer) as url:
        program += ["--concurrency", str(options.concurrency), "--seconds", str(options.seconds)]
        program += ["--directory", directory, *(["--postgres", url] if url else [])]
        done = subprocess.run(
            [*options.before.split(), *program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=True,
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return found["version"], found["lifecycles_per_s"]


def install(command: list[str], folder: Path | None = None) -> None:
    subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=True)


def install_npm(peer: Peer, folder: Path) -> dict[str, str]:
    """Install the packages of a package.json. Return the variables that its adapter reads."""
    shutil.copy(HERE / "requirements" / peer.npm, folder / "package.json")
    if not (folder / "node_modules").exists():
        install(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    pinned = json.loads((folder / "package.json").read_text())["dependencies"]
    server = folder / "node_modules/.bin/restate-server"
    return {"RESTATE_SERVER": str(server), "RESTATE_VERSION": pinned.get("@restatedev/restate-server", "")}


@contextmanager
def database(peer: Peer) -> Iterator[str | None]:
    """Yield the URL of an empty PostgreSQL with its default settings, if the peer needs one."""
    if not peer.postgres:
        yield None
        return
    from postgres import DEFAULTS  # noqa: PLC0415

    from tests.support.postgres_server import PostgresServer  # noqa: PLC0415

    server = PostgresServer(**DEFAULTS)
    try:
        yield server.url()
    finally:
        server.remove()


def reason_of(error: Exception) -> str:
    """Return the last line that names an error, of what the failed program printed."""
    output = getattr(error, "stderr", None) or str(error)
    text = output.decode() if isinstance(output, bytes) else output
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    return [*lines[-1:], *(line for line in lines if "Error" in line or "errors." in line)][-1][:160]


def table(rows: dict[str, tuple[str, float] | str], options: argparse.Namespace) -> str:
    """Return the table as Markdown, with the conditions of the measurement."""
    base = rows.get(PEERS[0].name)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    how = f"{options.concurrency} callers, {options.seconds:g} s after 1 s of warm-up"
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}: {how}.",
        "",
        "| system | version | lifecycles/s | relative to Runstead on SQLite | a lifecycle there |",
        "|---|---|---|---|---|",
    ]
    for peer in PEERS:
        found = rows.get(peer.name)
        if isinstance(found, tuple):
            version, rate = found
            ratio = f"{rate / base[1]:.2f}" if isinstance(base, tuple) and base[1] else ""
            lines.append(f"| {peer.name} | {version} | {rate:,.0f} | {ratio} | {peer.lifecycle} |")
        elif found is not None:
            lines.append(f"| {peer.name} | | not run | | {found.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
