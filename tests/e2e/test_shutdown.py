"""Ending the server: open requests are answered, streams end cleanly, and no client can delay the end without bound."""

import asyncio
import fcntl
import io
import signal
import socket
import struct
import termios
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from runstead.commands.app import App
from runstead.core import limits
from runstead.server.main import Main
from runstead.server.settings import Settings
from tests.support.server import KEY, note
from tests.support.until import until


def follow(api, run_id, opened):
    """Return the ids of a stream's events. httpx2 raises where a chunked body does not end with its terminator."""
    ids = []
    with api.http.stream("GET", f"/runs/{run_id}/stream", timeout=30) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        for line in answer.iter_lines():
            if line.startswith("id: "):
                ids.append(int(line.removeprefix("id: ")))
            if ids:
                opened.set()
    return ids


class Writing:
    """Callers that create runs until the server ends, and record the answers."""

    def __init__(self, api, project_id, callers=4):
        self.acknowledged, self.unanswered, self.troubles = [], [], []
        self._pool = ThreadPoolExecutor(callers)
        self._futures = [self._pool.submit(self._write, api, project_id, caller) for caller in range(callers)]

    def _write(self, api, project_id, caller):
        number = 0
        while True:
            run_id = f"writing-{caller}-{number}"
            number += 1
            try:
                api.create(project_id, public_id=run_id)
            except httpx2.HTTPError as trouble:
                self.unanswered.append(run_id)
                self.troubles.append(trouble)
                return
            self.acknowledged.append(run_id)

    def ended(self):
        for future in self._futures:
            future.result(timeout=60)
        self._pool.shutdown()


#: It would wait so long for callers that hang.
PATIENT = {"shutdown_s": 600}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_a_signal_streams_end_cleanly_and_open_requests_are_answered(new_server, number):
    server = new_server(limits=PATIENT).start()
    with server.api() as api, server.api() as writers, ThreadPoolExecutor(20) as pool:
        project_id, worker_id = api.project_id(), api.register("w")
        run_id = api.create(project_id)["run_id"]
        api.append(run_id, [note(1), note(2)])
        opened = [threading.Event() for _ in range(10)]
        streams = [pool.submit(follow, api, run_id, event) for event in opened]
        for event in opened:
            assert event.wait(60)
        polls = [pool.submit(api.claim, worker_id, "task:never", wait_s=30) for _ in range(3)]
        writing = Writing(writers, project_id)
        until(lambda: len(writing.acknowledged) > 20, "writes under way")
        until(
            lambda: 'route="/agent-workers' in api.http.get("/metrics").text, "a worker known to the server"
        )

        server.signal(number)
        assert server.ended() == 0
        assert [stream.result(60) for stream in streams] == [[1, 2]] * 10
        assert [poll.result(60) for poll in polls] == [None] * 3
        writing.ended()
    # The server may close a kept connection while a call is sent. The call is not read, so it has no effect.
    kinds = (httpx2.ConnectError, httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
    assert all(isinstance(trouble, kinds) for trouble in writing.troubles), writing.troubles
    server.start()
    with server.api() as api:
        assert all(api.run(each)["status"] == "pending" for each in writing.acknowledged)
        assert [api.http.get(f"/runs/{each}").status_code for each in writing.unanswered] == [404] * 4
    assert "Traceback" not in server.log


def test_a_signal_at_the_moment_of_readiness_ends_the_server(new_server):
    servers = [new_server(f"{number}.db") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda server: server.start().terminate(), servers)) == [0, 0, 0]


async def test_a_signal_just_before_a_loop_sleeps_wakes_it(tmp_path, monkeypatch):
    """A signal may come at any time, also after a loop has checked for the stop and before it can be woken."""

    class Late(deque):
        arrived = False

        def append(self, waiter):
            if not self.arrived:
                assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
                self.arrived = True
                signal.raise_signal(signal.SIGTERM)
            super().append(waiter)

    def app(*arguments, **options):
        made = App(*arguments, **options)
        made.stopping._waiters = Late()
        return made

    monkeypatch.setattr("runstead.server.main.App", app)
    settings = Settings(port=0, database_url=f"sqlite:///{tmp_path}/runstead.db", bootstrap_key=KEY)
    async with asyncio.timeout(60):
        await Main(settings, out=io.StringIO()).run()


def test_after_the_signal_connections_are_refused_while_open_requests_are_finished(server):
    with server.api() as api:
        port = int(server.url.rpartition(":")[2])
        half = socket.create_connection(("127.0.0.1", port))
        with half:
            half.sendall(
                f"POST /runs HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\nContent-Length: 2\r\n\r\n".encode()
            )
            api.get("/healthz")  # the half request is with the server by now, or at least its connection
            server.signal()
            until(lambda: refuses(port), "the port to be closed")
            assert server.process.poll() is None
            half.sendall(b"{}")
            answer = half.recv(65536)
        assert b" 400 " in answer.splitlines()[0]
        assert server.ended() == 0


def refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return True
    return False


def stalled_follower(server, run_id):
    """Return a follower that stopped reading, so that the server cannot send the end of the stream."""
    follower = socket.socket()
    follower.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    follower.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    follower.sendall(
        f"GET /runs/{run_id}/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\n\r\n".encode()
    )
    assert follower.recv(64).startswith(b"HTTP/1.1 200")
    full = Steady(lambda: struct.unpack("i", fcntl.ioctl(follower, termios.FIONREAD, b"\0" * 4))[0])
    until(full, "the follower's buffer to fill up")
    return follower


class Steady:
    """Returns true when a value has not changed for a while."""

    def __init__(self, read, seconds=0.5):
        self._read, self._seconds = read, seconds
        self._last, self._since = 0, time.monotonic()

    def __call__(self):
        now = self._read()
        if now != self._last:
            self._last, self._since = now, time.monotonic()
        return now and time.monotonic() - self._since > self._seconds


def long_run(api, megabytes=8):
    run_id = api.create(api.project_id())["run_id"]
    for number in range(megabytes):
        api.append(run_id, [note(number, text="x" * 200_000) for _ in range(5)])
    return run_id


def test_callers_that_hang_delay_the_end_for_the_grace_period_at_most(new_server):
    # A supervisor usually kills a server ten seconds after SIGTERM. It must have ended by then.
    assert limits.shutdown_s <= 10
    server = new_server(limits={"shutdown_s": 3.5}).start()
    with server.api() as api:
        run_id = long_run(api)
        with stalled_follower(server, run_id):
            began = time.perf_counter()
            assert server.terminate() == 0
            assert time.perf_counter() - began > 1.4


def test_a_second_signal_ends_the_server_at_once(new_server):
    server = new_server(limits=PATIENT).start()
    with server.api() as api:
        run_id = long_run(api)
        with stalled_follower(server, run_id):
            port = int(server.url.rpartition(":")[2])
            server.signal()
            until(lambda: refuses(port), "the port to be closed")
            assert server.terminate() == 0
