"""Replicas on one PostgreSQL with its default durability, and the means to inject faults."""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx2

from tests.support.postgres_server import PostgresServer
from tests.support.server import Server, runstead
from tests.support.until import until

from .proxy import Proxy

WRONG_CLOCK = Path(__file__).with_name("wrong_clock.py")
OFF_S = 600
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
SESSIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'runstead' AND datname = current_database()"
)


class Deployment:
    """`replicas[1]` reaches the database through `proxy`, and the clock of `replicas[2]` is ten minutes fast.
    All others are normal. Every replica can be the leader.
    """

    def __init__(self, directory: Path, replicas: int = 3):
        self.directory = directory
        self.postgres = PostgresServer(**DURABLE)
        self.proxy: Proxy | None = None
        self.replicas: list[Server] = []
        try:
            self.url = self.postgres.url()
            self.proxy = Proxy(self.postgres.home / ".s.PGSQL.5432")
            for number in range(replicas):
                self.replicas.append(self._replica(directory / f"replica-{number}", number))
            for replica in self.replicas:
                replica.start()
        except BaseException:
            self.close()
            raise

    def _replica(self, directory: Path, number: int) -> Server:
        directory.mkdir()
        if number == 1:
            return Server(directory, f"postgresql://postgres@127.0.0.1:{self.proxy.port}/postgres")
        if number == 2:
            program = [sys.executable, "-P", str(WRONG_CLOCK)]
            return Server(directory, self.url, program=program, WRONG_CLOCK_S=str(OFF_S))
        return Server(directory, self.url)

    def sql(self, statement: str):
        async def ask():
            connection = await asyncpg.connect(self.url)
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def break_sessions(self) -> int:
        """Let PostgreSQL end every session of every replica. Returns their number."""
        return len(self.sql(SESSIONS))

    def kill_database(self) -> None:
        """Kill all processes of PostgreSQL (SIGKILL) and start it. Committed transactions are in its log,
        because fsync is on and the machine keeps running.
        """
        self.postgres.kill()
        self.postgres.start()

    def pause(self, replica: Server) -> None:
        replica.signal(signal.SIGSTOP)

    def wake(self, replica: Server) -> None:
        replica.signal(signal.SIGCONT)

    def leading(self, besides: Server | None = None) -> Server | None:
        """Return the replica that believes to lead, None if no running replica does."""
        for replica in self.replicas:
            if replica is not besides and replica.process.poll() is None:
                with suppress(httpx2.HTTPError), replica.api(timeout_s=2) as api:
                    answer = api.http.get("/readyz")
                    if answer.status_code == 200 and answer.json()["leader"]:
                        return replica
        return None

    def leader(self) -> Server:
        return until(self.leading, "a leader")

    def violations(self) -> str:
        """Return what `runstead db check` finds, "" if the store has no violations."""
        code, stdout, stderr = runstead("db", "check", "--database", self.url, cwd=self.directory)
        return "" if code == 0 else stdout + stderr

    def ready(self) -> None:
        """Wait until every replica can commit."""
        for replica in self.replicas:
            with replica.api() as api:
                until(lambda api=api: _ready(api), f"{replica.directory.name} to be ready")

    def close(self) -> None:
        for replica in self.replicas:
            replica.kill()
        if self.proxy is not None:
            self.proxy.close()
        self.postgres.remove()


def _ready(api) -> bool:
    return api.http.get("/readyz").status_code == 200
