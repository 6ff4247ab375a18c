"""Followers that never read: what each of them costs the server, measured on its process."""

import socket
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from tests.support.until import until

FOLLOWERS = 100
#: A connection, its buffers, and one page or event, which has 256 KiB at most. Without bounds it was three times this.
_mib_of_each_max = 0.65


def memory_mib(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def fill(api, run_id, size):
    for _ in range(2):
        events = [{"type": "CUSTOM", "name": "a", "value": "x" * size} for _ in range(10)]
        api.post(f"/runs/{run_id}/events", {"events": events})


def of_large_events(api, project):
    """Each follows a run of its own, so they share no frame."""
    paths = []
    for _ in range(FOLLOWERS):
        run_id = api.create(project)["run_id"]
        fill(api, run_id, 250_000)
        paths.append(f"/runs/{run_id}/stream")
    return paths


def of_a_project(api, project):
    """Each is as far behind as a follower can be."""
    with api.http.stream("GET", "/projects/default/notifications") as known:
        lines = known.iter_lines()
        task = {"kind": "task", "request": {"target": "task:e2e"}}
        for _ in range(4):
            api.post("/projects/default/batches", {"runs": [task] * 1_000})
        ids = [next(line for line in lines if line.startswith("id: ")) for _ in range(4_000)]
    epoch, _, newest = ids[-1].removeprefix("id: ").partition("-")
    return [f"/projects/default/notifications?after={epoch}-{int(newest) - 3_990}"] * FOLLOWERS


def of_pages(api, project):
    """The list of events in the dashboard, whose first page of events is as large as a page can be."""
    run_id = api.create(project)["run_id"]
    fill(api, run_id, 100_000)
    return [f"/ui/projects/default/runs/{run_id}/live?view=events&after=0"] * FOLLOWERS


def cookie(api):
    form = {"credential": api.http.headers["authorization"].removeprefix("Bearer ")}
    answer = api.http.post("/ui/sign-in", data=form, headers={"sec-fetch-site": "same-origin"})
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("follow", [of_large_events, of_a_project, of_pages], ids=lambda one: one.__name__)
def test_a_follower_that_never_reads_costs_less_than_its_bound(server, api, follow):
    project, url = api.project_id(), httpx2.URL(server.url)
    paths, session = follow(api, project), cookie(api)
    before = memory_mib(server)
    with ExitStack() as silent:
        for path in paths:
            one = silent.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            one.connect((url.host, url.port))
            head = f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.key}\r\nCookie: {session}\r\n\r\n"
            one.sendall(head.encode())
        until(lambda: f"runstead_streams {FOLLOWERS}.0\n" in api.http.get("/metrics").text, "the streams")
        most = max(memory_mib(server) for _ in range(30) if api.http.get("/healthz"))
        assert (most - before) / FOLLOWERS < _mib_of_each_max
