"""Targets that workers register: listed with who serves them, validated where they ask for it, and found unserved."""

import pytest

from runstead.core import limits

pytestmark = pytest.mark.postgres
SCHEMA = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "pattern": "^(a+)+$"},
        "lines": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["item"],
}
COUNT = {"target": "task:count", "description": "Counts", "version": "7", "input_schema": SCHEMA}
COUNT |= {"output_schema": {"type": "integer"}}


@pytest.fixture(autouse=True)
def _read_again(monkeypatch):
    monkeypatch.setattr(limits, "target_states_s", -1.0)


async def register(api, *targets, key="one", status=201):
    body = {"implementation_kind": "python", "worker_key": key, "targets": list(targets)}
    return await api.post(f"/agent-workers/projects/{api.project.slug}/workers", body, status)


async def listed(api, query="", **options):
    return (await api.get(f"/projects/{api.project.slug}/targets{query}", **options))["data"]


async def test_targets_are_listed_by_name_with_the_workers_that_serve_them(api):
    first = await register(api, COUNT, {"target": "agent:scribe"})
    await register(api, {**COUNT, "description": "Counts more"}, key="two")
    agent, count = await listed(api, by="read")
    assert (agent["target"], agent["input_schema"], agent["online"], agent["validate_input"]) == (
        "agent:scribe",
        None,
        1,
        False,
    )
    assert (count["description"], count["version"], count["online"]) == ("Counts more", "7", 2)
    assert (count["input_schema"], count["output_schema"]) == (SCHEMA, {"type": "integer"})
    assert count["last_seen_at"] == first["worker"]["last_heartbeat_at"]
    assert [one["target"] for one in await listed(api, "?limit=1")] == ["agent:scribe"]
    assert [one["target"] for one in await listed(api, "?cursor=agent:scribe")] == ["task:count"]
    api.clock.advance(limits.worker_silence_s + 1)
    await api.post(f"/agent-workers/workers/{first['worker']['id']}/heartbeat")
    await api.store.workers.fell_silent(10)
    assert [one["online"] for one in await listed(api)] == [1, 1]


async def test_a_registration_replaces_the_targets_of_its_worker(api):
    worker = (await register(api, COUNT, {"target": "task:old"}))["worker"]
    body = {"implementation_kind": "python", "worker_key": "one"}
    await api.post(f"/agent-workers/projects/{api.project.slug}/workers", body, 201)
    assert len(await listed(api)) == 2  # without targets, they stay
    await register(api, COUNT)
    assert [one["target"] for one in await listed(api)] == ["task:count"]
    assert (await api.send("DELETE", f"/agent-workers/workers/{worker['id']}")).status_code == 200
    assert await listed(api) == []


async def test_an_invalid_definition_is_refused(api):
    large = {"description": "x" * limits.target_schema_bytes_max}
    for wrong, path in (
        ({"input_schema": large}, "$.targets[0].input_schema"),
        ({"input_schema": {"type": "nothing"}, "validate_input": True}, "$.targets[0].input_schema"),
        (
            {"input_schema": {"$ref": "http://127.0.0.1/s"}, "validate_input": True},
            "$.targets[0].input_schema",
        ),
        ({"input_schema": {"pattern": "(?=a)"}, "validate_input": True}, "$.targets[0].input_schema"),
    ):
        answer = await register(api, {**COUNT, **wrong}, status=400)
        assert answer["errors"][0]["path"] == path, answer
    assert (await register(api, COUNT, COUNT, status=400))["errors"][0]["path"] == "$.targets[1].target"


async def test_an_input_that_does_not_fit_is_refused_where_the_target_asks_for_it(api):
    wrong = api.task("task:count", request={"input": {"lines": [1, "two"]}})
    await register(api, COUNT)
    await api.create(wrong)
    await register(api, {**COUNT, "validate_input": True})
    answer = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", wrong)
    assert {one["path"] for one in answer["errors"]} == {"$.request.input", "$.request.input.lines[1]"}
    await api.refused(400, "INVALID_REQUEST", "POST", "/runs", api.task("task:count"))
    slow = api.task("task:count", request={"input": {"item": "a" * 5_000 + "b"}})
    await api.refused(400, "INVALID_REQUEST", "POST", "/runs", slow)
    await api.create(api.task("task:count", request={"input": {"item": "a"}}))
    await api.create(api.task("task:other", request={"input": {"item": 1}}))
    runs = [{"kind": "task", "request": {"target": "task:count", "input": {"item": one}}} for one in ("a", 1)]
    path = f"/projects/{api.project.slug}/batches"
    answer = await api.refused(400, "INVALID_REQUEST", "POST", path, {"runs": runs})
    assert answer["errors"][0]["path"] == "$.runs[1].request.input.item"


NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
TWICE = {"anyOf": [{"items": {"$ref": "#/$defs/list"}}, {"items": {"$ref": "#/$defs/list"}}]}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_a_check_that_would_take_for_ever_ends_and_hinders_no_other(api, monkeypatch):
    """Each level of a list is checked twice, so 60 levels are 2^60 checks."""
    twice = {"$ref": "#/$defs/list", "$defs": {"list": TWICE | {"not": {"const": 1}}}}
    slow = {"target": "task:slow", "validate_input": True, "input_schema": twice}
    node = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    await register(api, slow, {"target": "task:node", "validate_input": True, "input_schema": node})
    fits = api.task("task:node", request={"input": {"next": {"next": None}}})
    await api.create(fits)
    monkeypatch.setattr(limits, "input_check_s_max", 0.1)
    endless = api.task("task:slow", request={"input": nested(60)})
    answer = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", endless)
    assert "cannot be checked within 0.1 s" in answer["errors"][0]["message"]
    monkeypatch.undo()
    await api.create(fits)
    wrong = api.task("task:node", request={"input": {"next": {"next": 7}}})
    answer = await api.refused(400, "INVALID_REQUEST", "POST", "/runs", wrong)
    assert answer["errors"][0]["path"] == "$.request.input.next"


async def test_a_schema_whose_patterns_take_too_long_is_refused(api, monkeypatch):
    monkeypatch.setattr(limits, "input_check_s_max", 0.1)
    patterns = [{"pattern": f"[01]{{{3_000 + number}}}"} for number in range(1_000)]
    slow = {"target": "task:slow", "validate_input": True, "input_schema": {"allOf": patterns}}
    answer = await register(api, slow, status=400)
    assert answer["errors"][0]["path"] == "$.targets[0].input_schema"
    assert "simplify its patterns" in answer["detail"]


async def test_a_refusal_names_the_reason_and_not_the_value(api):
    await register(api, {**COUNT, "validate_input": True})
    wrong = api.task("task:count", request={"input": {"item": "b" * 5_000}})
    (error,) = (await api.refused(400, "INVALID_REQUEST", "POST", "/runs", wrong))["errors"]
    assert error["path"] == "$.request.input.item"
    assert error["message"].startswith("the value does not match ")


async def test_another_input_of_a_retry_is_checked_too(api):
    await register(api, COUNT | {"validate_input": True})
    run = await api.create(api.task("task:count", request={"input": {"item": "a"}}))
    await api.post(f"/runs/{run['run_id']}/cancel", {})
    path = f"/runs/{run['run_id']}/retry"
    answer = await api.refused(400, "INVALID_REQUEST", "POST", path, {"input": {"item": 1}})
    assert answer["errors"][0]["path"] == "$.input.item"
    await api.post(path, {"input": {"item": "aa"}}, 202)


async def test_a_run_that_no_online_worker_serves_names_since_when(api):
    run = await api.create(api.task("task:count"))
    assert run["unserved_since"] is None
    assert (await api.run(run["run_id"])) == run
    api.clock.advance_ms(limits.unserved_ms)
    assert (await api.run(run["run_id"]))["unserved_since"] == run["created_at"]
    await register(api, COUNT)
    assert (await api.run(run["run_id"]))["unserved_since"] is None
    heard = (await listed(api))[0]["last_seen_at"]
    api.clock.advance(limits.worker_silence_s + 1)
    await api.store.workers.fell_silent(10)
    shown = await api.run(run["run_id"])
    assert shown["unserved_since"] == max(heard, run["created_at"])
    path, tag = f"/runs/{run['run_id']}", {"If-None-Match": shown["etag"]}
    assert (await api.send("GET", path, headers=tag)).status_code == 304
    match = {"If-Match": shown["etag"]}
    assert (await api.send("PATCH", path, {"title": None}, headers=match)).status_code == 200
    await api.worker()  # it has registered no targets, so it may serve any
    assert (await api.send("GET", path, headers=tag)).json()["unserved_since"] is None
    later = await api.create(api.task("task:none", request={}, available_at="2099-01-01T00:00:00Z"))
    assert (await api.run(later["run_id"]))["unserved_since"] is None


async def test_a_pinned_run_that_no_online_worker_serves_names_since_when(api):
    body = {"implementation_kind": "python", "worker_key": "a", "version": "1", "targets": [COUNT]}
    made = await api.post(f"/agent-workers/projects/{api.project.slug}/workers", body, 201)
    worker = f"/agent-workers/workers/{made['worker']['id']}"
    run = await api.create(api.task("task:count", pinned=True))
    await api.claim(worker)
    await api.post(f"{worker}/runs/{run['run_id']}/release", {"retry_after_seconds": 0})
    assert (await api.run(run["run_id"]))["unserved_since"] is None
    assert (await api.send("DELETE", worker)).status_code == 200
    api.clock.advance_ms(limits.unserved_ms)
    assert (await api.run(run["run_id"]))["unserved_since"] is not None
