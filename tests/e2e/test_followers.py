"""A thousand open streams: every follower sees every event once, in order, and the end."""

import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import environment, note
from tests.support.until import until

FOLLOWERS = Path(__file__).with_name("many_clients.py")
MANY = 500


def few_files_at_first():
    """Set the soft limit of a login shell in the child, below the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))


@pytest.fixture
def start_followers():
    """Starts followers in another process, each of (run id, Last-Event-ID)."""
    started = []

    def start(server, followers):
        host, port = server.url.removeprefix("http://").split(":")
        process = subprocess.Popen(
            [sys.executable, "-P", FOLLOWERS, host, port, server.key],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        process.stdin.write(json.dumps(followers) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_500_followers_of_one_run_and_500_of_different_runs_lose_nothing_and_repeat_nothing(
    new_server, start_followers
):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * MANY + 100:
        pytest.skip("the hard limit of open files is too low for a thousand connections")
    server = new_server(preexec=few_files_at_first).start()
    with server.api() as api, ThreadPoolExecutor(4) as pool:
        project_id = api.project_id()
        shared = api.create(project_id)["run_id"]
        api.append(shared, [note(1), note(2), note(3)])
        different = list(pool.map(lambda _: api.create(project_id)["run_id"], range(MANY)))

        followers = [(shared, index % 5) for index in range(MANY)] + [(run_id, 0) for run_id in different]
        process = start_followers(server, followers)
        appending = pool.submit(append_many, api, shared)
        list(pool.map(lambda run_id: append_few(api, run_id), different))
        appending.result()
        seen, _ = process.communicate(timeout=40)

        for (run_id, after), (ids, end) in zip(followers, json.loads(seen), strict=True):
            latest = 104 if run_id == shared else 6
            # A Last-Event-ID of an event that does not exist yet does not delay the follower.
            assert (ids, end) == (list(range(min(after, 3) + 1, latest + 1)), "cleanly")
        until(lambda: "runstead_streams 0.0" in api.http.get("/metrics").text, "every stream to be let go of")
    assert "Traceback" not in server.log


def append_many(api, run_id):
    for number in range(50):
        api.append(run_id, [note(number), note(number)])
    api.complete(run_id)


def append_few(api, run_id):
    api.append(run_id, [note(1), note(2)])
    api.append(run_id, [note(3), note(4), note(5)])
    api.complete(run_id)
