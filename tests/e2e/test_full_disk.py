"""A full disk: writes are refused, reads are answered, nothing is lost, and writes succeed when there is space again."""

import subprocess

import httpx2
import pytest

from tests.support.server import PROGRAM, environment, note
from tests.support.until import until

from .acknowledged import WriteRecorder
from .disk import Quota, Tmpfs, heed_permissions
from .integrity import check_whole, intact

MIB = 1024 * 1024


@pytest.fixture(params=["a small file system", "a quota"])
def disk(request, tmp_path):
    made = (
        Tmpfs(tmp_path, 32 * MIB, 3 * MIB)
        if request.param == "a small file system"
        else Quota(tmp_path, 3 * MIB)
    )
    yield made
    made.close()


def fill(api, project_id):
    """Append until a write is refused. Return the runs with their numbers of acknowledged events, and the refusal."""
    runs = {}
    for run in range(100):
        run_id = f"filling-{run}"
        answer = api.http.post("/runs", json=body(project_id, run_id))
        if answer.status_code != httpx2.codes.ACCEPTED:
            return runs, answer
        runs[run_id] = 0
        for number in range(10):
            events = [note(2 * number, text="x" * 50_000), note(2 * number + 1, text="y" * 10)]
            answer = api.http.post(f"/runs/{run_id}/events", json={"events": events})
            if answer.status_code != httpx2.codes.OK:
                return runs, answer
            runs[run_id] += 2
    raise AssertionError("100 MB fitted onto a disk of 3 MB")


def body(project_id, run_id):
    owner = {"kind": "project", "id": project_id}
    return {"kind": "task", "public_id": run_id, "owner": owner, "request": {"target": "task:fill"}}


def unavailable(answer):
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["code"] == "STORE_UNAVAILABLE"
    return True


def test_a_full_disk_refuses_writes_loses_nothing_and_recovers(disk, new_server):
    if not disk.mounted:
        pytest.skip("mounting takes root; the quota stands in for it")
    server = new_server(directory=disk.directory, preexec=disk.preexec).start()
    with server.api() as api:
        project_id = api.project_id()
        runs, refusal = fill(api, project_id)
        assert unavailable(refusal)
        assert sum(runs.values()) > 20
        big = [note(0, text="x" * 200_000) for _ in range(10)]
        first = next(iter(runs))
        for _ in range(20):  # later writes are refused too
            assert unavailable(api.http.post(f"/runs/{first}/events", json={"events": big}))

        assert api.get("/healthz") == {"status": "ok"}
        for run_id, count in runs.items():
            assert [event["event_id"] for event in api.events(run_id)] == list(range(1, count + 1))
        assert {run["run_id"] for run in api.get(f"/projects/{project_id}/runs", limit=100)["data"]} == set(
            runs
        )
        use_up_the_rest(api)
        assert unavailable(api.http.get("/readyz"))
        assert unavailable(api.http.post(f"/runs/{first}/complete", json={"status": "completed"}))
        assert api.run(first)["status"] == "pending"

        disk.make_room(server)

        until(lambda: api.http.get("/readyz").status_code == 200, "the store to be ready again")
        api.append(first, big)
        assert api.complete(first)["completed"] is True
        WriteRecorder(server, project_id, "after").stop().check(check_whole(server.database))

    stored = check_whole(server.database)
    assert {run_id: len(stored[run_id]["events"]) for run_id in runs} == runs | {first: runs[first] + 11}
    assert intact(server.database)
    server.restart()
    with server.api() as api:
        assert api.run(first)["status"] == "completed"
    assert check_whole(server.database).keys() == stored.keys()


def use_up_the_rest(api):
    """Write until the disk is full to the last page: small writes may still find space after the last commit."""
    until(lambda: api.http.get("/readyz").status_code == 503, "the disk to be full to the last page")


@pytest.mark.parametrize("name", ["runstead.db", "new.db"])
def test_a_directory_that_is_not_writable_is_refused_with_a_sentence(tmp_path, new_server, name):
    folder = tmp_path / "archive"
    folder.mkdir()
    server = new_server(directory=folder).start()
    assert server.terminate() == 0
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    done = subprocess.run(
        [*PROGRAM, "serve", "--port", "0", "--database", f"sqlite:///{folder / name}"],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=heed_permissions,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    folder.chmod(0o755)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"cannot use the database {folder / name}: " in done.stderr
    assert "readonly" in done.stderr or "unable to open" in done.stderr
