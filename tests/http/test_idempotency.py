"""`Idempotency-Key`: a repeated request is applied once."""

import asyncio

import pytest

pytestmark = pytest.mark.postgres

KEY = {"Idempotency-Key": "k1"}


async def test_a_repeated_request_gets_the_stored_answer(api):
    first = await api.send("POST", "/runs", api.task(), headers=KEY)
    run_id = first.json()["run"]["run_id"]
    await api.complete(run_id)
    again = await api.send("POST", "/runs", api.task(), headers=KEY)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert len((await api.get("/runs"))["data"]) == 1


async def test_another_payload_or_path_with_the_same_key_is_refused(api):
    await api.send("POST", "/runs", api.task(), headers=KEY)
    for path, body in (
        ("/runs", api.task("task:other")),
        ("/conversations", api.task()),
        ("/runs?x=1", api.task()),
    ):
        await api.refused(409, "IDEMPOTENCY_KEY_REUSED", "POST", path, body, headers=KEY)
    assert len((await api.get("/runs"))["data"]) == 1


async def test_a_key_belongs_to_its_caller(api):
    first = await api.send("POST", "/runs", api.task(), headers=KEY)
    second = await api.send("POST", "/runs", api.task(), headers=KEY, by="admin")
    assert first.json()["run"]["run_id"] != second.json()["run"]["run_id"]


async def test_a_key_whose_request_is_in_progress_is_refused(api):
    worker, _ = await api.worker()
    claim = {"kinds": ["task"], "wait_seconds": 30}
    waiting = asyncio.create_task(api.send("POST", f"{worker}/claim", claim, headers=KEY))
    await api.subscribed()
    await api.refused(409, "IDEMPOTENCY_KEY_IN_USE", "POST", f"{worker}/claim", claim, headers=KEY)
    run = await api.create()
    first = await waiting
    assert first.json()["run"]["run_id"] == run["run_id"]
    again = await api.send("POST", f"{worker}/claim", claim, headers=KEY)
    assert again.content == first.content


async def test_an_error_is_not_stored(api):
    body = {"events": [{"type": "A"}], "expected_previous_event_id": 1}
    run_id = (await api.create())["run_id"]
    await api.refused(400, "EVENT_CURSOR_MISMATCH", "POST", f"/runs/{run_id}/events", body, headers=KEY)
    await api.append(run_id, {"type": "A"})
    answer = await api.post(f"/runs/{run_id}/events", body, headers=KEY)
    assert (answer["appended_count"], answer["latest_event_id"]) == (1, 2)
    assert await api.post(f"/runs/{run_id}/events", body, headers=KEY) == answer


async def test_every_write_of_a_run_is_applied_once(api):
    taken, worker = await api.claimed()
    run = f"/runs/{taken['run_id']}"
    writes = [
        (f"{run}/events", {"events": [{"type": "A"}]}),
        (f"{run}/heartbeats", {"attempt": 1}),
        (f"{worker}/heartbeat", {}),
        (f"{worker}/runs/{taken['run_id']}/lease", {}),
        (f"{run}/wait", {"reason": "event"}),
        (f"{run}/resume", {"type": "event"}),
        (f"{worker}/runs/{taken['run_id']}/release", {"retry_after_seconds": 0}),
        (f"{run}/complete", {"status": "failed"}),
        (f"{run}/retry", {}),
        (f"{run}/cancel", {}),
        ("/conversations", {}),
    ]
    for place, (path, body) in enumerate(writes):
        headers = {"Idempotency-Key": f"key {place}"}
        first = await api.send("POST", path, body, headers=headers)
        assert first.status_code < 300, first.text
        api.clock.advance(1)
        again = await api.send("POST", path, body, headers=headers)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotent-replayed"] == "true"
    assert len(await api.event_types(taken["run_id"])) == 3
    assert len((await api.get("/runs"))["data"]) == 2


async def test_a_secret_is_shown_once_and_not_in_a_replay(api):
    writes = [
        (f"/projects/{api.project.id}/api-keys", {}, "key"),
        ("/projects", {"slug": "third"}, "api_key"),
        (
            f"/agent-workers/projects/{api.project.id}/workers",
            {"implementation_kind": "a", "worker_key": "b"},
            "token",
        ),
    ]
    for path, body, secret in writes:
        headers = {"Idempotency-Key": path}
        first = await api.post(path, body, 201, by="system", headers=headers)
        again = await api.post(path, body, 201, by="system", headers=headers)
        assert first[secret]
        assert again == {**first, secret: None}


async def test_an_answer_is_stored_for_a_day(api):
    first = await api.send("POST", "/runs", api.task(), headers=KEY)
    api.clock.advance(86_000)
    await api.store.forget(86_400_000, 100)
    assert (await api.send("POST", "/runs", api.task(), headers=KEY)).content == first.content
    api.clock.advance(500)
    await api.store.forget(86_400_000, 100)
    assert (await api.send("POST", "/runs", api.task(), headers=KEY)).content != first.content


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_has_1_to_255_characters(api, key):
    headers = {"Idempotency-Key": key}
    await api.refused(400, "INVALID_REQUEST", "POST", "/runs", api.task(), headers=headers)
    assert await api.nothing_stored()
    await api.create(headers={"Idempotency-Key": "x" * 255})


async def test_a_replay_has_the_location_and_the_etag_of_the_first_answer(api):
    conversation = await api.conversation()
    run = await api.create(api.task(public_id="a b"))
    await api.complete("a%20b")
    agent = await api.create(api.agent(conversation))
    project = f"/projects/{api.project.slug}"
    writes = [
        ("POST", "/runs", api.task()),
        ("POST", "/runs/a%20b/retry", {}),
        ("POST", "/conversations", {}),
        (
            "POST",
            f"/conversations/{conversation}/input-requests",
            {
                "run_id": agent["run_id"],
                "kind": "form",
                "requested_responder_type": "human",
                "tool_call_id": "t",
                "title": "Which?",
                "fields": [{"type": "text", "name": "name", "label": "Name"}],
            },
        ),
        ("POST", f"{project}/batches", {"runs": [{"kind": "task", "request": {"target": "task:a"}}]}),
        ("POST", f"{project}/webhooks", {"url": "https://example.com/hook", "events": ["*"]}),
        ("POST", f"{project}/triggers", {"target": "task:a"}),
        ("PATCH", "/runs/a%20b", {"title": "New"}),
    ]
    for place, (method, path, body) in enumerate(writes):
        headers = {"Idempotency-Key": f"key {place}", "If-Match": "*"}
        first, again = [await api.send(method, path, body, headers=headers, by="admin") for _ in range(2)]
        assert again.headers.get("idempotent-replayed") == "true", (path, again.text)
        name = "etag" if method == "PATCH" else "location"
        assert first.headers[name] == again.headers[name], path
        if name == "location":
            await api.get(first.headers[name], by="admin")
    assert run["run_id"] == "a b"
