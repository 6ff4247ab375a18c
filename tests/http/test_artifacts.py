"""`/runs/{run_id}/artifacts/{name}`: store and read artifacts, and delete them with their run."""

import hashlib
import uuid
from urllib.parse import quote

import httpx2
import pytest

from runstead.core import limits
from runstead.core.runs.artifact import find
from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.loops.artifact_gc import collect_artifacts
from runstead.ports.store import RunKey
from runstead.sdk import AsyncClient, Client, RunsteadError

pytestmark = pytest.mark.postgres

CSV = b"a,b\n1,2\n"
SHA = hashlib.sha256(CSV).hexdigest()


@pytest.fixture
async def kept(api, tmp_path):
    api.app.artifacts = FilesystemArtifacts(tmp_path / "artifacts")
    api.app.artifact_bytes_max = 1 << 20
    await api.app.artifacts.open()
    return tmp_path / "artifacts"


def files(kept):
    return [path for path in kept.rglob("*") if path.is_file()]


def at(run, name="report.csv", **query):
    return f"/runs/{run['run_id']}/artifacts/{quote(name, safe='')}?{httpx2.QueryParams(query)}"


async def put(api, run, data=CSV, name="report.csv", *, media_type="text/csv", headers=None, **query):
    given = {"Content-Type": media_type, **(headers or {})}
    return await api.send("PUT", at(run, name, **query), data, headers=given)


async def test_an_artifact_is_stored_listed_and_read(api, kept):
    run = await api.create()
    stored = (await put(api, run)).json()
    uri = f"/runs/{run['run_id']}/artifacts/report.csv"
    found = {"name": "report.csv", "media_type": "text/csv", "size": 8, "sha256": SHA, "uri": uri}
    assert stored == {"stored": True, "artifact": found}
    (listed,) = (await api.run(run["run_id"]))["artifacts"]
    assert found.items() <= listed.items()
    (event,) = (await api.get(f"/runs/{run['run_id']}/events"))["data"]
    assert (event["payload"]["name"], event["payload"]["value"]) == ("run.artifact", found)
    read = await api.send("GET", uri, by="read")
    assert (read.status_code, read.content, read.headers["content-type"]) == (200, CSV, "text/csv")
    assert read.headers["etag"] == f'"{SHA}"'
    assert read.headers["content-length"] == "8"


async def test_the_same_bytes_change_nothing_and_other_bytes_replace_them(api, kept):
    run = await api.create()
    await put(api, run, b"first")
    await put(api, run, CSV, "other.csv")
    again = (await put(api, run, b"first", sha256=hashlib.sha256(b"first").hexdigest())).json()
    assert again["stored"] is False
    assert (await put(api, run, b"first")).json()["stored"] is False
    assert (await put(api, run, b"second")).json()["stored"] is True
    names = [(one["name"], one["size"]) for one in (await api.run(run["run_id"]))["artifacts"]]
    assert names == [("report.csv", 6), ("other.csv", 8)]
    assert (await api.send("GET", at(run))).content == b"second"
    assert len(files(kept / "runs")) == 2, "what was replaced is gone"


async def test_artifacts_of_a_completion_are_listed_beside_stored_ones(api, kept):
    run = await api.create()
    await put(api, run)
    (stored,) = (await api.run(run["run_id"]))["artifacts"]
    assert "content_key" not in stored
    row = await api.store.runs.get(RunKey(api.project.id, run["run_id"]))
    content_key = find(row.artifacts, "report.csv").content_key
    forged = {"name": "forged", "content_key": content_key, "uri": "x"}
    notes = [{"name": "report.csv", "size": 1}, {"name": "elsewhere", "uri": "s3://b/c"}, forged]
    done = await api.complete(run["run_id"], artifacts=notes)
    assert done["run"]["artifacts"] == [stored, notes[1], {"name": "forged", "uri": "x"}]
    for name in ("forged", "elsewhere", "nothing"):
        await api.refused(404, "NOT_FOUND", "GET", at(run, name))


async def test_a_completion_without_artifacts_keeps_stored_ones(api, kept):
    run = await api.create()
    await put(api, run)
    assert len((await api.complete(run["run_id"]))["run"]["artifacts"]) == 1
    await api.refused(410, "RUN_NOT_ACTIVE", "PUT", at(run), b"late")


async def test_a_worker_that_lost_the_run_cannot_store_artifacts(api, kept):
    taken, _ = await api.claimed()
    token = {"X-Lease-Token": taken["lease_token"]}
    assert (await put(api, taken, headers=token, attempt=1)).status_code == 200
    for given in ({"attempt": 2}, {"headers": {"X-Lease-Token": "another"}}):
        api.problem(await put(api, taken, b"x", **given), 409, "ATTEMPT_SUPERSEDED")
        api.problem(await put(api, taken, sha256=SHA, **given), 409, "ATTEMPT_SUPERSEDED")
    assert len(files(kept / "runs")) == 1


async def test_a_refused_upload_leaves_no_bytes(api, kept, monkeypatch):
    run = await api.create()
    api.problem(await put(api, run, sha256="0" * 64), 400, "ARTIFACT_MISMATCH")
    api.problem(await put(api, run, b"x" * ((1 << 20) + 1)), 413, "ARTIFACT_TOO_LARGE")

    async def endless():
        while True:
            yield b"x" * 100_000

    given = {"Authorization": f"Bearer {api.keys['default']}", "Content-Type": "text/csv"}
    api.problem(
        await api.client.put(at(run).partition("?")[0], content=endless(), headers=given),
        413,
        "ARTIFACT_TOO_LARGE",
    )
    for bad in ("text", "text/html\tx", "a/b; c", "text/" + "x" * 300, "text/h\xe4"):
        problem = await put(api, run, media_type=bad.encode("latin-1"))
        api.problem(problem, 400, "INVALID_REQUEST")
    api.problem(await put(api, run, sha256="nonsense"), 400, "INVALID_REQUEST")
    api.problem(await put(api, run, name="x\n"), 400, "INVALID_REQUEST")
    await api.refused(403, "FORBIDDEN", "PUT", at(run), b"x", by="read")
    await api.refused(404, "NOT_FOUND", "PUT", at(run), b"x", by="other")
    await api.refused(404, "NOT_FOUND", "PUT", at({"run_id": "unknown"}), b"x")
    monkeypatch.setattr(limits, "artifacts_max", 1)
    await put(api, run, name="one")
    api.problem(await put(api, run, name="two"), 409, "ARTIFACT_LIMIT_REACHED")
    assert len(files(kept)) == 2, "the one, under its two names"
    await api.refused(404, "NOT_FOUND", "GET", at(run, "one"), by="other")


RANGES = [
    ("bytes=0-2", 206, b"a,b", "bytes 0-2/8"),
    ("bytes=6-", 206, b"2\n", "bytes 6-7/8"),
    ("bytes=-2", 206, b"2\n", "bytes 6-7/8"),
    ("bytes=-100", 206, CSV, "bytes 0-7/8"),
    ("bytes=2-100", 206, CSV[2:], "bytes 2-7/8"),
    ("bytes=0-0,2-3", 200, CSV, None),
    ("bytes=3-1", 200, CSV, None),
    ("lines=1-2", 200, CSV, None),
    ("bytes=-", 200, CSV, None),
    ("bytes=8-", 416, None, None),
    ("bytes=-0", 416, None, None),
]


async def test_ranges_and_etags_are_supported(api, kept):
    run = await api.create()
    await put(api, run)
    for asked, status, content, found in RANGES:
        got = await api.send("GET", at(run), headers={"Range": asked})
        assert got.status_code == status, asked
        if content is not None:
            assert (got.content, got.headers.get("content-range")) == (content, found), asked
    tag = f'"{SHA}"'
    assert (await api.send("GET", at(run), headers={"If-None-Match": f'"x", W/{tag}'})).status_code == 304
    stale = await api.send("GET", at(run), headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, CSV)
    fresh = await api.send("GET", at(run), headers={"Range": "bytes=0-1", "If-Range": tag})
    assert (fresh.status_code, fresh.content) == (206, b"a,")
    await put(api, run, b"", "empty")
    assert (await api.send("GET", at(run, "empty"))).content == b""


HOSTILE = ["..", ".htaccess", 'a".html', "a;b=c", "Zoë ☃.txt", "C:\\x\\y.exe", "a%2e%2e", "  ", "con"]


async def test_hostile_names_and_types_are_harmless(api, kept):
    run = await api.create()
    for name in HOSTILE:
        path = at(run, name).replace("/..?", "/%2E%2E?")
        put_it = await api.send("PUT", path, name.encode(), headers={"Content-Type": "text/html"})
        assert put_it.status_code == 200, name
        got = await api.send("GET", path)
        assert got.content == name.encode()
        shown = got.headers["content-disposition"]
        assert shown.startswith('attachment; filename="')
        plain = shown.split('"')[1]
        assert plain
        assert not set('\\/";%') & set(plain)
        assert not plain.startswith(".")
        assert "/" not in shown
        assert "\\" not in shown
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["content-security-policy"].startswith("sandbox")
    assert {path.parent.parent.name for path in files(kept)} == {"runs", "contents"}


async def test_artifacts_are_deleted_with_their_run_only(api, kept):
    one, two = [await api.create() for _ in range(2)]
    for run in (one, two):
        await put(api, run)
        await api.complete(run["run_id"])
    await api.send("DELETE", f"/runs/{one['run_id']}", by="admin")
    assert await collect_artifacts(api.app) == 1
    assert await collect_artifacts(api.app) == 0
    await api.refused(404, "NOT_FOUND", "GET", at(one))
    assert (await api.send("GET", at(two))).content == CSV
    await api.send("DELETE", f"/runs/{two['run_id']}", by="admin")
    await collect_artifacts(api.app)
    assert files(kept) == []


async def test_removed_content_is_not_found(api, kept):
    run = await api.create()
    await put(api, run)
    for path in files(kept):
        path.unlink()
    await api.refused(404, "NOT_FOUND", "GET", at(run))


async def test_without_a_storage_artifacts_are_refused(api):
    run = await api.create()
    api.problem(await put(api, run), 409, "ARTIFACTS_NOT_KEPT")
    assert await collect_artifacts(api.app) == 0


async def test_the_sdk_stores_and_reads(api, kept, tmp_path):
    transport = httpx2.ASGITransport(api.http_app)
    key = api.keys["admin"]
    async with AsyncClient("http://runstead.test", key, project="inventory", transport=transport) as sdk:
        run = (await sdk.runs.create("task:t")).run
        path = tmp_path / "large.bin"
        data = uuid.uuid4().bytes * 50_000
        path.write_bytes(data)
        stored = await sdk.artifacts.store(run.run_id, "large.bin", path)
        assert (stored.artifact.size, stored.stored) == (len(data), True)
        assert await sdk.artifacts.read(run.run_id, "large.bin") == data
        assert await sdk.artifacts.read(run.run_id, "large.bin", start=16, end=32) == data[16:32]
        assert await sdk.artifacts.read(run.run_id, "large.bin", start=len(data) - 1) == data[-1:]
        with pytest.raises(RunsteadError) as caught:
            await sdk.artifacts.read(run.run_id, "small.bin")
        assert caught.value.code == "NOT_FOUND"
    with pytest.raises(FileNotFoundError):
        Client("http://runstead.test", key).artifacts.store(run.run_id, "x", tmp_path / "nothing")
