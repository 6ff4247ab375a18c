"""Large values: artifacts that stand in a run by a reference, and the answer with the value in its place."""

import hashlib
import json

import pytest

from runstead.engines.artifacts.files import FilesystemArtifacts
from runstead.loops.artifact_gc import collect_artifacts

from .wire import Wires, body_of, request, status_of

pytestmark = pytest.mark.postgres

TEXT = json.dumps({"text": "é" * 1000}, ensure_ascii=False).encode()
SHA = hashlib.sha256(TEXT).hexdigest()
NAME = f"runstead.value.{SHA}"


@pytest.fixture
async def kept(api, tmp_path):
    api.app.artifacts = FilesystemArtifacts(tmp_path / "artifacts")
    await api.app.artifacts.open()
    return tmp_path / "artifacts"


def reference(text=TEXT, **members):
    sha = hashlib.sha256(text).hexdigest()
    name = f"runstead.value.{sha}"
    found = {"name": name, "size": len(text), "sha256": sha, "media_type": "application/json"}
    return {"$artifact": found | members}


async def put(api, run_id, text=TEXT, name=None, **query):
    name = name or f"runstead.value.{hashlib.sha256(text).hexdigest()}"
    where = f"/runs/{run_id}/artifacts/{name}?" + "&".join(f"{key}={value}" for key, value in query.items())
    return await api.send("PUT", where, text, headers={"Content-Type": "application/json"})


async def completed(api, output, text=TEXT):
    """Store a value, and complete a run with an output."""
    run = await api.create()
    if text is not None:
        assert (await put(api, run["run_id"], text)).status_code == 200
    await api.post(f"/runs/{run['run_id']}/complete", {"status": "completed", "output": output})
    return run["run_id"]


async def test_a_value_is_not_listed_and_emits_no_event(api, kept):
    run = await api.create()
    stored = (await put(api, run["run_id"])).json()
    assert stored["artifact"]["sha256"] == SHA
    assert (await put(api, run["run_id"])).json()["stored"] is False
    assert (await api.run(run["run_id"]))["artifacts"] == []
    assert (await api.get(f"/runs/{run['run_id']}/events"))["data"] == []
    assert (await api.send("GET", f"/runs/{run['run_id']}/artifacts/{NAME}")).content == TEXT


async def test_the_bytes_of_a_value_never_change(api, kept):
    run_id = (await api.create())["run_id"]
    for name, query in (
        (NAME, {}),
        (NAME, {"sha256": hashlib.sha256(b"{}").hexdigest()}),
        ("runstead.value.mine", {}),
    ):
        refused = await put(api, run_id, b"{}", name, **query)
        assert (refused.status_code, refused.json()["code"]) == (400, "ARTIFACT_MISMATCH")
    assert [path for path in kept.rglob("*") if path.is_file()] == []


async def test_a_value_has_a_bound_of_its_own(api, kept, monkeypatch):
    monkeypatch.setattr(api.app, "value_bytes_max", len(TEXT) - 1)
    run_id = (await api.create())["run_id"]
    refused = await put(api, run_id)
    assert (refused.status_code, refused.json()["code"]) == (413, "ARTIFACT_TOO_LARGE")
    assert (await put(api, run_id, TEXT, "report.json")).status_code == 200


async def test_resolve_answers_the_run_with_the_value_in_its_place(api, kept):
    run_id = await completed(api, reference())
    plain, resolved = (
        await api.get(f"/runs/{run_id}"),
        await api.send("GET", f"/runs/{run_id}?resolve=output"),
    )
    assert plain["output"] == reference()
    assert resolved.json() == plain | {"output": json.loads(TEXT)}
    assert resolved.headers["etag"] == f"{plain['etag']}"
    assert int(resolved.headers["content-length"]) == len(resolved.content)
    inline = await completed(api, {"small": 1}, None)
    assert (await api.get(f"/runs/{inline}?resolve=output"))["output"] == {"small": 1}


@pytest.mark.parametrize("query", ["resolve=output", "res%6flve=output"])
async def test_a_connection_gets_the_value_in_its_place(api, kept, query):
    """The answer is a stream, and the fast path for plain routes sends none."""
    run_id = await completed(api, reference())
    wires = Wires(api.http_app)
    credential = {"authorization": f"Bearer {api.keys['default']}"}
    answer = await wires.ask(request("GET", f"/runs/{run_id}?{query}", b"", **credential))
    assert status_of(answer) == 200
    assert json.loads(body_of(answer))["output"] == json.loads(TEXT)


@pytest.mark.parametrize(
    "value",
    [
        {"$artifact": "runstead.value"},
        reference() | {"more": 1},
        reference(name="report.csv"),
        reference(more=1),
        reference(size=-1),
    ],
    ids=["text", "two members", "another name", "another member", "no size"],
)
async def test_an_output_that_only_resembles_a_reference_is_a_value(api, kept, value):
    run_id = await completed(api, value)
    assert (await api.get(f"/runs/{run_id}?resolve=output"))["output"] == value


async def test_a_reference_may_have_spaces(api, kept):
    """The SDK reads it as JSON, so the server cannot take it for a value."""
    run_id = (await api.create())["run_id"]
    await put(api, run_id)
    body = json.dumps({"status": "completed", "output": reference()}, indent=2).encode()
    await api.post(f"/runs/{run_id}/complete", body)
    assert (await api.get(f"/runs/{run_id}?resolve=output"))["output"] == json.loads(TEXT)


async def test_a_value_that_is_missing_or_damaged_is_reported(api, kept):
    async def fault(run_id):
        refused = await api.send("GET", f"/runs/{run_id}?resolve=output")
        assert (refused.status_code, refused.json()["code"]) == (409, "VALUE_NOT_READABLE")
        assert (await api.get(f"/runs/{run_id}"))["status"] == "completed"
        return refused.json()["detail"]

    assert "it is missing" in await fault(await completed(api, reference(), None))
    assert "bytes are announced" in await fault(await completed(api, reference(size=1)))
    no_json = b'1, "status": "failed"'
    assert "no JSON" in await fault(await completed(api, reference(no_json), no_json))
    run_id = await completed(api, reference())
    for path in kept.rglob("*"):
        if path.is_file() and path.stat().st_size == len(TEXT):
            path.write_bytes(TEXT.replace(b"text", b"test"))
    assert "another sha256" in await fault(run_id)
    for path in list(kept.rglob("*")):
        if path.is_file():
            path.unlink()
    assert "it is missing" in await fault(run_id)


async def test_a_retry_from_a_step_keeps_reading_the_values_when_the_run_before_is_deleted(api, kept):
    claimed, _ = await api.claimed()
    run_id, token = claimed["run_id"], {"X-Lease-Token": claimed["lease_token"]}
    await put(api, run_id)
    steps = [
        {"type": kind, "stepName": "fetch", "stepId": "1"} | members
        for kind, members in (("STEP_STARTED", {}), ("STEP_FINISHED", {"result": reference()}))
    ]
    await api.post(f"/runs/{run_id}/events", {"events": steps}, headers=token)
    await api.post(f"/runs/{run_id}/complete", {"status": "failed"})
    retried = (await api.post(f"/runs/{run_id}/retry", {"from_step": "failed"}, 202))["run"]
    assert retried["artifacts"] == []
    await api.send("DELETE", f"/runs/{run_id}", by="admin")
    await collect_artifacts(api.app)
    where = f"/runs/{retried['run_id']}"
    assert (await api.send("GET", f"{where}/artifacts/{NAME}")).content == TEXT
    await api.post(f"{where}/complete", {"status": "completed", "output": reference()})
    assert (await api.get(f"{where}?resolve=output"))["output"] == json.loads(TEXT)
    await api.send("DELETE", where, by="admin")
    await collect_artifacts(api.app)
    assert [path for path in kept.rglob("*") if path.is_file()] == []
