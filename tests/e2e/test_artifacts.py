"""Artifacts with the real program: streaming, the size limit, and incomplete uploads."""

import hashlib
import socket
from pathlib import Path

import pytest

from runstead.sdk import Client, RunsteadError
from tests.support.server import KEY, SHORT_LEASE
from tests.support.until import until

MIB = 1 << 20


@pytest.fixture
def kept(new_server, tmp_path):
    server = new_server(
        limits=SHORT_LEASE | {"artifact_gc_tick_s": 0.1},
        RUNSTEAD_ARTIFACTS_URL=f"file://{tmp_path}/kept",
        RUNSTEAD_ARTIFACT_BYTES_MAX=str(24 * MIB),
    )
    return server.start()


@pytest.fixture
def client(kept):
    with Client(kept.url, KEY, project="default") as client:
        yield client


def memory_kib(server, what="VmHWM"):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what))


def test_a_large_file_is_streamed_without_being_held_in_memory(kept, client, tmp_path):
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for number in range(24):
            file.write(bytes([number]) * MIB)
    run = client.runs.create("task:t").run
    client.artifacts.store(run.run_id, "warm", b"x")
    before = memory_kib(kept)
    stored = client.artifacts.store(run.run_id, "large.bin", path).artifact
    assert client.artifacts.read(run.run_id, "large.bin", start=23 * MIB) == bytes([23]) * MIB
    whole = client.artifacts.read(run.run_id, "large.bin")
    assert stored.sha256 == hashlib.sha256(whole).hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert memory_kib(kept) - before < 12 * 1024


def test_an_artifact_that_is_too_large_is_refused_and_the_connection_stays_open(client):
    run = client.runs.create("task:t").run
    with pytest.raises(RunsteadError) as caught:
        client.artifacts.store(run.run_id, "large", b"x" * (24 * MIB + 1))
    assert (caught.value.status, caught.value.code) == (413, "ARTIFACT_TOO_LARGE")
    assert client.runs.get(run.run_id).artifacts == []


def test_an_incomplete_upload_leaves_nothing(kept, client, tmp_path):
    run = client.runs.create("task:t").run
    host, port = kept.url.removeprefix("http://").split(":")
    head = (
        f"PUT /runs/{run.run_id}/artifacts/half HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Type: text/plain\r\nContent-Length: 10000000\r\n\r\n"
    )
    incoming = tmp_path / "kept" / "incoming"
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(head.encode() + b"x" * MIB)
        until(lambda: any(incoming.iterdir()), "the upload to begin")
    until(lambda: not any(incoming.iterdir()), "the incomplete upload to be removed")
    assert client.runs.get(run.run_id).artifacts == []


def test_artifacts_are_deleted_with_their_run_also_after_a_crash(kept, client, tmp_path):
    run = client.runs.create("task:t").run
    client.artifacts.store(run.run_id, "a", b"abc")
    client.runs.complete(run.run_id)
    folder = tmp_path / "kept" / "runs"
    assert len(list(folder.rglob("*-*-*"))) > 0
    client.runs.delete(run.run_id)
    kept.kill()
    kept.restart()
    until(lambda: not any(folder.iterdir()), "the artifacts to be removed")


def test_artifacts_are_stored_beside_the_sqlite_file_by_default(server):
    with Client(server.url, KEY, project="default") as client:
        run = client.runs.create("task:t").run
        client.artifacts.store(run.run_id, "a", b"abc")
    beside = server.database.with_name(server.database.name + "-artifacts")
    assert [path.name for path in (beside / "contents").rglob("*") if path.is_file()] == [
        hashlib.sha256(b"abc").hexdigest()
    ]
