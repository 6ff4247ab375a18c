"""The real program as a process of its own, and a small client for it."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2

from .forked_commands import forking_process

PROGRAM = [sys.executable, "-P", "-m", "runstead.cli"]
READY = "runstead is ready on "
KEY = "vf_e2e_" + "0123456789abcdef" * 4
PROJECT = "default"
#: With it a server leads a second after another was killed: for tests of what its loops do then, not of when or how
#: often, since a slow machine may lose such a lead to itself.
SHORT_LEASE = {"leader_lease_s": 1.0, "leader_margin_s": 0.1, "leader_poll_s": 0.1, "leader_retry_s": 0.1}


def environment(**settings):
    """This process's, without any setting of the program but these."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    if path := mine.get("PYTHONPATH"):  # the program is started in another directory
        mine["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    return mine | settings


def runstead(*arguments, cwd, seconds=90, **settings):
    """A command that ends by itself: (exit code, stdout, stderr)."""
    if "PYTHONPATH" in settings:  # the program of another version
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=cwd,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr
    return forking_process().run(arguments, cwd=cwd, env=environment(**settings), seconds=seconds)


def processor_s(process):
    """Seconds of the processor that a process has used until now (proc_pid_stat(5))."""
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class Server:
    """`runstead serve` on a free port. Start it with `start()`; `url` is known from then on.

    `database` is SQLite's file, or a URL. `settings` are environment variables, `key` is the admin key that is there from the start.
    It is forked from a process that has imported the program already, which takes a sixth of the time, unless there is
    a command as `program`, or a `preexec`. `limits` are other values of `core/limits/`, so that a test need not be
    quicker than a default, or wait for one. They are this process's: those that it starts have the defaults.
    """

    def __init__(
        self,
        directory: Path,
        database: Path | str,
        *,
        arguments=(),
        preexec=None,
        program=None,
        limits=None,
        **settings,
    ):
        self.directory, self.database = directory, database
        self.key = KEY
        self.url = ""
        self.port = 0  # any free one
        self.startup_s = 0.0
        self.process: subprocess.Popen | None = None
        self._arguments = arguments
        self._preexec = preexec
        self._program = program or (preexec and PROGRAM)
        self._limits = tuple(sorted((limits or {}).items()))
        self._settings = {"RUNSTEAD_BOOTSTRAP_KEY": KEY, "RUNSTEAD_BOOTSTRAP_PROJECT": PROJECT} | settings
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.stdout: list[str] = []

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text()

    def start(self) -> "Server":
        self.stdout, self._lines = [], queue.SimpleQueue()
        began = time.perf_counter()
        database = self.database if isinstance(self.database, str) else f"sqlite:///{self.database}"
        command = ["serve", "--port", str(self.port), "--database", database, *self._arguments]
        with (self.directory / "server.log").open("a") as log:
            options = {
                "cwd": self.directory,
                "env": environment(**self._settings),
                "stdout": subprocess.PIPE,
                "stderr": log,
            }
            if self._program is None:
                self.process = forking_process(self._limits).start(command, **options)
            else:
                self.process = subprocess.Popen(
                    [*self._program, *command],
                    **options,
                    text=True,
                    preexec_fn=self._preexec,  # noqa: PLW1509 - the child sets limits of its own and no more
                )
        threading.Thread(target=self._read, args=(self.process.stdout, self._lines), daemon=True).start()
        try:
            while not self.url_in(line := self._next_line()):
                pass
        except BaseException:
            self.kill()  # nobody else knows that it was started
            raise
        self.startup_s = time.perf_counter() - began
        self.url = self.url_in(line)
        return self

    def _read(self, stdout, lines):
        for line in stdout:
            lines.put(line.rstrip("\n"))
        lines.put("")

    def _next_line(self, seconds=60.0):
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no ready line within {seconds} s") from None
        assert line or self.process.poll() is None, f"the server ended: {self.log}"
        self.stdout.append(line)
        return line

    @staticmethod
    def url_in(line):
        return line.removeprefix(READY) if line.startswith(READY) else ""

    def signal(self, number=signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self, seconds=60.0) -> int:
        """The exit code, once the process is gone."""
        return self.process.wait(timeout=seconds)

    def terminate(self, seconds=60.0) -> int:
        self.signal(signal.SIGTERM)
        return self.ended(seconds)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self) -> "Server":
        self.kill()
        return self.start()

    def api(self, key=None, **options) -> "Api":
        return Api(self.url, key or self.key, **options)


class Api:
    """As much of a client as the tests need. It never tries twice: what it got an answer for was acknowledged once.

    Every call raises httpx2.HTTPStatusError for an answer that is not 2xx; `http` sends anything else.
    """

    def __init__(self, url, key, *, timeout_s=30.0, connections=100):
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"Authorization": f"Bearer {key}"}
        self.http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, limits=limits)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.close()

    def get(self, path, **query):
        return self.http.get(path, params=query).raise_for_status().json()

    def post(self, path, body=None, headers=None):
        return self.http.post(path, json=body or {}, headers=headers).raise_for_status().json()

    def project_id(self, ref=PROJECT):
        return self.get(f"/projects/{ref}")["id"]

    def create(self, project_id, target="task:e2e", *, public_id=None, parent=None, **request):
        """The created task run."""
        body = {
            "kind": "task",
            "owner": {"kind": "project", "id": project_id},
            "request": {"target": target, **request},
            **({"public_id": public_id} if public_id else {}),
            **({"parent_run_id": parent} if parent else {}),
        }
        return self.post("/runs", body)["run"]

    def register(self, worker_key, ref=PROJECT):
        """A worker's id. Its own token is not needed: the key may do all that the worker may."""
        body = {"implementation_kind": "e2e", "worker_key": worker_key}
        return self.post(f"/agent-workers/projects/{ref}/workers", body)["worker"]["id"]

    def claim(self, worker_id, target="task:e2e", *, lease_s=300, wait_s=0):
        """The claimed run, or None."""
        body = {"lease_duration_seconds": lease_s, "targets": [target], "wait_seconds": wait_s}
        return self.post(f"/agent-workers/workers/{worker_id}/claim", body)["run"]

    def append(self, run_id, events, **members):
        return self.post(f"/runs/{run_id}/events", {"events": events, **members})

    def complete(self, run_id, status="completed", **members):
        return self.post(f"/runs/{run_id}/complete", {"status": status, **members})

    def run(self, run_id):
        return self.get(f"/runs/{run_id}")

    def attempts(self, run_id):
        return self.get(f"/runs/{run_id}/attempts")["data"]

    def events(self, run_id):
        """All public events of a run."""
        found, after = [], 0
        while after is not None:
            page = self.get(f"/runs/{run_id}/events", after_event_id=after, limit=500)
            found += page["data"]
            following = page["page_info"]["next"]
            after = None if following is None else int(following)
        return found


def note(number, **members):
    """An event to append."""
    return {"type": "CUSTOM", "name": "note", "value": number, **members}
