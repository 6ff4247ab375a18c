"""docs/point-in-time.md, as it is written: a machine is lost under load, and what was acknowledged is counted."""

import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import suppress

import httpx2
import pytest

from tests.docs.pages import blocks, name
from tests.support.postgres_server import INSTALLED, PostgresServer
from tests.support.server import Server, runstead
from tests.support.until import until

pytestmark = pytest.mark.long

PAGE = "docs/point-in-time.md"
ARCHIVED, SYNCHRONOUS = [
    dict(re.findall(r"^(\w+) = (.*)$", block.text, re.MULTILINE))
    for block in blocks("ini")
    if name(block.page) == PAGE
]
COPY, STREAM, RESTORE = [
    block.text.replace("$ ", "") for block in blocks("console") if name(block.page) == PAGE
]
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "100"}
NOW = "SELECT date_trunc('milliseconds', clock_timestamp())::text"


class Machine:
    """A server whose WAL is saved elsewhere, and runs that are created without a pause."""

    def __init__(self, directory):
        self.directory = directory
        self.postgres = PostgresServer(wal_level="replica", **DURABLE)
        self.saved = self.postgres.home.with_suffix(".saved")
        for folder in ("archive", "backup", "restored"):
            (self.saved / folder).mkdir(parents=True)
        who = self.postgres._who
        for folder in (self.saved, *self.saved.iterdir()):
            if who:
                os.chown(folder, who["user"], who["group"])
        self.acknowledged = {}  # run → the time of its acknowledgement
        self._stop = threading.Event()
        self.server = Server(directory, self.postgres.url()).start()
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def _write(self):
        with self.server.api() as api, suppress(httpx2.HTTPError):  # the machine is lost
            project_id = api.project_id()
            while not self._stop.is_set():
                run_id = api.create(project_id)["run_id"]
                self.acknowledged[run_id] = time.monotonic()

    def more(self, count=30):
        wanted = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= wanted, f"{count} more runs")

    def configure(self, settings):
        for setting, value in settings.items():
            self.sql(f"ALTER SYSTEM SET {setting} = {self._fit(value)}")

    def sql(self, statement, url=None):
        command = [
            INSTALLED / "bin" / "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-c",
            statement,
            url or self.postgres.url(),
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _fit(self, text):
        for there, here in (("/mnt/", f"{self.saved}/"), ("/var/lib/postgresql/", f"{self.saved}/restored/")):
            text = text.replace(there, here)
        return text

    def shell(self, text, **options):
        settings = {"PATH": f"{self.postgres._installed / 'bin'}:{os.environ['PATH']}"}
        settings["PRIMARY_URL"] = self.postgres.url()
        with (self.postgres.home / "log").open("ab") as log:
            return subprocess.Popen(
                ["sh", "-ec", self._fit(text)],
                env=settings,
                cwd=self.saved,
                stdout=log,
                stderr=log,
                **self.postgres._who,
                **options,
            )

    def run(self, text):
        assert self.shell(text).wait(120) == 0, (self.postgres.home / "log").read_text()[-2000:]

    def lose(self):
        """PostgreSQL is killed, and its files are gone."""
        self.postgres.kill()
        shutil.rmtree(self.postgres._data)
        self._stop.set()
        self._writer.join(60)
        self.server.kill()

    def restore(self, moment=None):
        """The runs of the restored store, without violations. `moment`: the time to restore, else everything."""
        lines = RESTORE.splitlines()
        lines = [
            re.sub(r"'2026-[^']*'", f"'{moment}'", line)
            for line in lines
            if moment is not None or "recovery_target" not in line
        ]
        self.run("\n".join(lines))
        url = self.postgres.url()
        try:
            until(lambda: self.sql("SELECT pg_is_in_recovery()", url) == "f", "the end of the recovery")
            code, stdout, stderr = runstead("db", "check", "--json", "--database", url, cwd=self.directory)
            assert (code, '"violations":[]' in stdout) == (0, True), stdout + stderr
            return set(self.sql("SELECT run_id FROM runs", url).split())
        finally:
            self.run("pg_ctl --pgdata=/var/lib/postgresql/restored --wait --mode=immediate stop")
            shutil.rmtree(self.saved / "restored" / "restored")

    def close(self):
        self._stop.set()
        self.server.kill()
        self._writer.join(60)
        self.postgres.remove()
        shutil.rmtree(self.saved, ignore_errors=True)


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.close()


def test_everything_that_was_archived_is_restored_and_any_moment_of_it(machine):
    machine.more()
    machine.configure(ARCHIVED)
    machine.postgres.stop("fast")  # archive_mode needs a restart; the replica opens new sessions
    machine.postgres.start()
    machine._writer.join(60)  # it met the restart
    machine._writer = threading.Thread(target=machine._write)
    machine._writer.start()
    machine.more()
    machine.run(COPY)
    machine.more()
    before = set(machine.acknowledged)
    moment = machine.sql(NOW)
    machine.more()
    archived = set(machine.acknowledged)
    file = machine.sql("SELECT pg_walfile_name(pg_switch_wal())")
    until(lambda: machine.sql("SELECT last_archived_wal FROM pg_stat_archiver") >= file, "the archive")
    machine.more()
    machine.lose()
    acknowledged = set(machine.acknowledged)

    restored = machine.restore()
    print(f"{len(acknowledged)} acknowledged, {len(acknowledged - restored)} lost after the archive")  # noqa: T201
    assert archived - restored == set()
    assert acknowledged - restored != set()  # without an archived file, they are lost

    restored = machine.restore(moment)
    assert before - restored == set()
    assert archived - restored != set()


def test_with_a_synchronous_stream_of_the_log_no_acknowledged_run_is_lost(machine):
    machine.more()
    machine.run(COPY)
    create, receive = STREAM.splitlines()
    machine.run(create)
    stream = machine.shell(f"exec {receive}")
    try:
        machine.configure(SYNCHRONOUS)
        machine.sql("SELECT pg_reload_conf()")
        until(
            lambda: machine.sql("SELECT sync_state FROM pg_stat_replication") == "sync",
            "commits to wait for the stream",
        )
        machine.more(100)
        machine.lose()
    finally:
        stream.kill()
        stream.wait()
    restored = machine.restore()
    print(f"{len(machine.acknowledged)} acknowledged")  # noqa: T201
    assert set(machine.acknowledged) - restored == set()
