"""Batches in the SDK: requests, answers, and following a batch across broken connections."""

import json

import httpx2
import pytest

from runstead.sdk import AsyncClient, Client, Retries, RunsteadError, UnexpectedAnswerError

COUNTS = {"pending": 1, "running": 0, "waiting": 0, "completed": 1, "failed": 0, "cancelled": 0}
BATCH = {
    "id": "b",
    "project_id": "p",
    "name": None,
    "status": "running",
    "status_counts": COUNTS,
    "total": 2,
    "on_complete": {"target": "task:report", "config": {}, "run_id": None},
    "created_at": "2026-03-20T12:00:00.000Z",
    "something_new": 1,
}
RUNS = [{"kind": "task", "request": {"target": "task:count"}}]


def progress_frame(number, done=False):
    data = {
        "batch_id": "b",
        "status": "running",
        "status_counts": {**COUNTS, "completed": number},
        "total": 9,
    }
    data["completed_at"] = "2026-03-20T12:00:00.000Z" if done else None
    kind = "completed" if done else "progress"
    return f"id: c-{number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


@pytest.fixture
def scripted(kit):
    def make(*outcomes):
        script = kit.Script(*outcomes)
        options = {"project": "shop", "retries": Retries(times=1), "sleep": lambda _: None}
        return Client("http://server", "key", transport=httpx2.MockTransport(script), **options), script

    return make


def test_a_batch_is_retried(scripted):
    answer = {"accepted": True, "batch": BATCH, "run_ids": ["r"]}
    client, script = scripted(httpx2.ReadError("reset"), *[httpx2.Response(202, json=answer)] * 2)
    assert client.batches.retry("b").run_ids == ["r"]
    client.batches.retry("b", cancelled=True, name="second", idempotency_key="k")
    first, repeat, other = script.requests
    assert first.url.path == "/projects/shop/batches/b/retry"
    assert first.headers["Idempotency-Key"] == repeat.headers["Idempotency-Key"]
    assert json.loads(first.content) == {}
    assert json.loads(other.content) == {"cancelled": True, "name": "second"}
    assert other.headers["Idempotency-Key"] == "k"


def test_a_batch_is_created(scripted):
    client, script = scripted(
        httpx2.ReadError("reset"),
        httpx2.Response(202, json={"accepted": True, "batch": BATCH, "run_ids": ["r", "s"]}),
    )
    made = client.batches.create(RUNS, name="two", on_complete={"target": "task:report"})
    first, second = script.requests
    assert (first.method, first.url.path) == ("POST", "/projects/shop/batches")
    assert json.loads(first.content) == {
        "runs": RUNS,
        "name": "two",
        "on_complete": {"target": "task:report"},
    }
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert (made.run_ids, made.batch.status_counts.pending, made.batch.total) == (["r", "s"], 1, 2)
    assert made.batch.on_complete.run_id is None


def test_batches_are_listed_read_and_cancelled(scripted):
    page = {"data": [BATCH], "page_info": {"self": None, "first": None, "next": "7", "prev": None}}
    client, script = scripted(
        httpx2.Response(200, json=page),
        httpx2.Response(200, json=BATCH),
        httpx2.Response(200, json={"cancelled": True, "batch": {**BATCH, "status": "cancelled"}}),
    )
    found = client.batches.list(limit=1, cursor="9")
    assert ([one.id for one in found.data], found.page_info.next) == (["b"], "7")
    assert client.batches.get("b", project="other").created_at.year == 2026
    assert client.batches.cancel("b", "enough").batch.status == "cancelled"
    assert [str(request.url).removeprefix("http://server") for request in script.requests] == [
        "/projects/shop/batches?cursor=9&limit=1",
        "/projects/other/batches/b",
        "/projects/shop/batches/b/cancel",
    ]
    assert json.loads(script.requests[-1].content) == {"reason": "enough"}


def test_a_follower_continues_over_broken_connections_to_the_end(scripted, kit):
    client, script = scripted(
        kit.stream(progress_frame(1) + progress_frame(2), error=httpx2.ReadError("reset")),
        kit.stream(b": progress of a batch\n\n"),
        kit.stream(progress_frame(3) + progress_frame(9, done=True) + progress_frame(10)),
    )
    found = list(client.batches.follow("b"))
    assert [one.status_counts.completed for one in found] == [1, 2, 3, 9]
    assert [one.completed_at is not None for one in found] == [False, False, False, True]
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == [None, "c-2", "c-2"]
    assert script.requests[0].url.path == "/projects/shop/batches/b/stream"


def test_a_refusal_is_raised(scripted):
    client, _ = scripted(httpx2.Response(404, json={"code": "NOT_FOUND", "detail": "Batch not found"}))
    with pytest.raises(RunsteadError, match="Batch not found"):
        next(client.batches.follow("b"))


def test_an_answer_that_is_not_understood_is_an_error(scripted, kit):
    client, _ = scripted(kit.stream(b"id: 1\nevent: progress\ndata: {}\n\n"))
    with pytest.raises(UnexpectedAnswerError):
        next(client.batches.follow("b"))


async def test_the_async_client_does_the_same(kit):
    script = kit.Script(kit.stream(progress_frame(1)), kit.stream(progress_frame(9, done=True)))

    async def rest(_):
        pass

    client = AsyncClient(
        "http://server", "key", project="shop", transport=httpx2.MockTransport(script), sleep=rest
    )
    found = [one.status_counts.completed async for one in client.batches.follow("b")]
    assert found == [1, 9]
