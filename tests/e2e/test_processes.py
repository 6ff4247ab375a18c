"""`runstead serve --processes N`: several processes behind one port, restarted and replaced without a refused request."""

import os
import re
import signal
import threading

import httpx2
import pytest

from tests.support.server import Server, note, runstead
from tests.support.until import until

from .program import children, lives


@pytest.fixture
def server(url, tmp_path):
    server = Server(tmp_path, url, arguments=("--processes", "2")).start()
    yield server
    server.signal(signal.SIGKILL)
    server.ended()


def workers(server):
    """Return the ids of the serving processes."""
    return sorted(children(server.process.pid))


def all_new(server, old):
    def found():
        now = workers(server)
        return now if len(now) == len(old) and not set(now) & set(old) else None

    return until(found, f"other processes than {old}")


class Callers:
    """Clients that create and complete runs until `stop()`, with a connection for each request. `refused` are failures."""

    def __init__(self, server, many=8):
        self.created, self.refused, self._over = [], [], threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(server, n)) for n in range(many)]
        with server.api() as api:
            self._project_id = api.project_id()
        for thread in self._threads:
            thread.start()

    def _call(self, server, caller):
        number = 0
        while not self._over.is_set():
            run_id = f"caller-{caller}-{number}"
            number += 1
            try:
                # A connection that is kept between two requests may be closed just when the next one is sent.
                with server.api() as api:
                    api.create(self._project_id, public_id=run_id)
                with server.api() as api:
                    api.complete(run_id)
            except httpx2.HTTPError as trouble:
                self.refused.append((run_id, repr(trouble)))
                continue
            self.created.append(run_id)

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(60)


def test_every_process_serves_and_each_run_is_completed_once(server):
    pids = workers(server)
    assert len(pids) == 2
    assert "  processes: 2" in [*server.stdout, server._next_line(), server._next_line()]
    callers = Callers(server)
    until(lambda: len(callers.created) > 60, "runs")
    callers.stop()
    assert callers.refused == []
    with server.api() as api:
        text = api.http.get("/metrics").text
        served = re.findall(
            r'^runstead_http_requests_total{.*process="(\d)".*route="/runs".* (\d+)\.0$', text, re.MULTILINE
        )
        assert {process for process, _ in served} == {"0", "1"}
        assert sum(int(number) for _, number in served) >= len(callers.created)
        assert text.count("# TYPE runstead_http_requests_total") == 1
        assert {api.run(run_id)["status"] for run_id in callers.created[:20]} == {"completed"}


def test_a_killed_process_is_replaced_and_the_other_continues(server):
    callers = Callers(server)
    killed = workers(server)[0]
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(workers(server)) == 2 and killed not in workers(server), "another process")
    before = len(callers.created)
    until(lambda: len(callers.created) > before + 40, "runs after it")
    callers.stop()
    # Only the callers of the killed process get errors.
    assert len(callers.refused) <= 8
    with server.api() as api:
        assert {api.run(run_id)["status"] for run_id in callers.created[-20:]} == {"completed"}
    assert "a process ended and is replaced" in server.log


def test_at_a_hangup_every_process_is_replaced_and_no_request_is_refused(server):
    old = workers(server)
    callers = Callers(server)
    until(lambda: len(callers.created) > 10, "runs")
    server.signal(signal.SIGHUP)
    all_new(server, old)
    until(lambda: "every process was replaced" in server.log, "the end of the replacement")
    before = len(callers.created)
    until(lambda: len(callers.created) > before + 20, "runs after it")
    callers.stop()
    assert callers.refused == []


def test_a_follower_at_one_process_sees_what_is_appended_at_any(server):
    with server.api() as api:
        run_id = api.create(api.project_id())["run_id"]
        seen = []

        def follow():
            with (
                server.api() as mine,
                mine.http.stream("GET", f"/runs/{run_id}/stream", timeout=30) as answer,
            ):
                seen.extend(line for line in answer.iter_lines() if line.startswith("id:"))

        followers = [threading.Thread(target=follow) for _ in range(4)]
        for follower in followers:
            follower.start()
        for n in range(6):
            with server.api() as another:
                another.append(run_id, [note(n)])
        api.complete(run_id)
        for follower in followers:
            follower.join(60)
        assert len(seen) == 4 * 7


def test_at_a_signal_all_processes_exit_with_0(server):
    pids = workers(server)
    assert server.terminate() == 0
    assert not any(map(lives, pids))
    assert "Traceback" not in server.log


def test_the_processes_end_when_the_supervisor_is_killed(server):
    pids = workers(server)
    server.signal(signal.SIGKILL)
    server.ended()
    until(lambda: not any(map(lives, pids)), "their end")


def test_a_server_that_cannot_start_reports_it_once(tmp_path):
    settings = {"RUNSTEAD_DATABASE_URL": "postgresql://ada:secret@127.0.0.1:1/runstead"}
    code, stdout, stderr = runstead("serve", "--port", "0", "--processes", "3", cwd=tmp_path, **settings)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("runstead: cannot use the database 127.0.0.1:1/runstead: ")


@pytest.mark.parametrize(
    ("database", "processes", "sentence"),
    [
        ("sqlite:///./runstead.db", "2", "in SQLite only one process"),
        ("postgresql://localhost/runstead", "0", "must be a number from 1 to 64, not '0'"),
        ("postgresql://localhost/runstead", "65", "must be a number from 1 to 64, not '65'"),
    ],
)
def test_an_invalid_number_of_processes_is_refused_with_a_sentence(tmp_path, database, processes, sentence):
    code, stdout, stderr = runstead("serve", "--database", database, "--processes", processes, cwd=tmp_path)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert sentence in stderr
