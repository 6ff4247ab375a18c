import asyncio
import threading

import httpx2
import pytest

from runstead.sdk import AsyncClient, RunFailed, RunsteadError, Worker


async def forever(run, ctx):
    await asyncio.Event().wait()


async def test_a_run_is_claimed_and_completed_with_the_handlers_return_value(harness):
    async def handler(run, ctx):
        await ctx.emit({"type": "STEP_STARTED", "stepName": run.target})
        ctx.log("one")
        ctx.log("two")
        ctx.artifact("report", media_type="text/plain", size=3)
        ctx.metadata = {"inputTokens": 1}
        ctx.exit_code = 0
        return {"ok": True}

    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    assert b.server.events == [("a", [{"type": "STEP_STARTED", "stepName": "task:t"}])]
    (_, body), *_ = b.server.completions
    body["logs"] = "\n".join(line.partition("Z ")[2] for line in body["logs"].split("\n"))
    assert b.server.completions == [
        (
            "a",
            {
                "status": "completed",
                "output": {"ok": True},
                "logs": "INFO [attempt 1] one\nINFO [attempt 1] two",
                "artifacts": [{"name": "report", "media_type": "text/plain", "size": 3}],
                "metadata": {"inputTokens": 1},
                "exit_code": 0,
                "attempt": 1,
            },
        )
    ]
    await b.stop()


async def test_claims_use_the_worker_token_and_calls_of_a_run_the_original_key(harness):
    async def handler(run, ctx):
        await ctx.emit({"type": "CUSTOM"})

    b = harness(handler, targets=["task:t"], concurrency=3)
    b.server.add("a")
    await b.time.advance(0)
    (registered,) = b.sent("/workers")
    assert registered[0]["authorization"] == "Bearer original"
    headers, body = b.sent("/claim")[0]
    assert headers["authorization"] == "Bearer vfw_1"
    assert body == {
        "lease_duration_seconds": 30,
        "kinds": ["task"],
        "targets": ["task:t"],
        "wait_seconds": 20,
        "max_runs": 3,
    }
    for ending in ("/events", "/complete"):
        headers, body = b.sent(ending)[0]
        assert headers["authorization"] == "Bearer original"
        assert (headers["x-lease-token"], body["attempt"]) == ("lease-a-1", 1)
    await b.stop()


async def test_a_worker_that_knows_its_id_never_registers_and_uses_its_own_key(harness):
    async def handler(run, ctx):
        return None

    b = harness(handler, worker_id="w9")
    b.server.add("a")
    await b.time.advance(0)
    assert b.sent("/workers") == []
    assert b.sent("/w9/claim")[0][0]["authorization"] == "Bearer original"
    assert b.server.runs["a"]["status"] == "completed"
    await b.stop()


async def test_an_exception_fails_the_run_and_its_traceback_is_in_the_detail_only(harness):
    async def handler(run, ctx):
        raise KeyError("lost")

    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    (_, body) = b.server.completions[0]
    assert (body["status"], body["terminal_error_code"]) == ("failed", "KeyError")
    assert body["terminal_error_message"] == "'lost'"
    assert "Traceback" in body["error_detail"]["traceback"]
    await b.stop()


async def test_run_failed_has_the_handlers_message_code_and_detail(harness):
    async def handler(run, ctx):
        raise RunFailed("no stock", "NO_STOCK", {"sku": 7})

    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    assert b.server.completions[0][1] == {
        "status": "failed",
        "terminal_error_code": "NO_STOCK",
        "terminal_error_message": "no stock",
        "error_detail": {"sku": 7},
        "attempt": 1,
    }
    await b.stop()


async def test_a_result_that_is_no_json_fails_the_run(harness):
    async def handler(run, ctx):
        return object()

    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    assert b.server.completions[0][1]["terminal_error_code"] == "RESULT_NOT_JSON"
    await b.stop()


async def test_a_completion_that_is_refused_fails_the_run_with_the_reason(harness, kit):
    async def handler(run, ctx):
        b.server.fail = lambda name: fails.pop() if name.endswith("/complete") and fails else None
        return "x"

    fails = [kit.problem(413, "BODY_TOO_LARGE")]
    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    assert b.server.completions[0][1]["terminal_error_code"] == "COMPLETION_REFUSED"
    assert "BODY_TOO_LARGE" in b.server.completions[0][1]["terminal_error_message"]
    await b.stop()


async def test_no_more_runs_are_handled_than_the_concurrency_allows(harness):
    doors = {name: asyncio.Event() for name in "abc"}

    async def handler(run, ctx):
        await doors[run.run_id].wait()

    b = harness(handler, concurrency=2)
    for name in "abc":
        b.server.add(name)
    await b.time.advance(0)
    assert b.server.queue == ["c"]
    doors["a"].set()
    await b.settle()
    assert b.server.queue == []
    assert [body["max_runs"] for _, body in b.sent("/claim")] == [2, 1]
    doors["b"].set()
    doors["c"].set()
    await b.stop()
    assert {run["status"] for run in b.server.runs.values()} == {"completed"}


async def test_a_plain_function_runs_in_a_thread_with_a_context_that_blocks(harness):
    def handler(run, ctx):
        ctx.emit({"type": "CUSTOM", "thread": threading.current_thread().name})
        ctx.exit_code = 3
        return threading.current_thread().daemon

    b = harness(handler)
    b.server.add("a")
    await b.until(lambda: b.server.completions)
    assert b.server.events == [("a", [{"type": "CUSTOM", "thread": "runstead-a"}])]
    assert (b.server.completions[0][1]["output"], b.server.completions[0][1]["exit_code"]) == (True, 3)
    await b.stop()


async def test_a_worker_waits_for_a_restarting_server(harness, kit):
    async def handler(run, ctx):
        return None

    b = harness(handler)
    b.server.fail = lambda _name: kit.problem(503, "SHUTTING_DOWN")
    b.server.add("a")
    await b.time.advance(60)
    assert not b.serving.done()
    b.server.fail = lambda _name: None
    await b.time.advance(20)
    assert b.server.runs["a"]["status"] == "completed"
    await b.stop()


async def test_a_worker_unknown_to_the_server_registers_again(harness, kit):
    async def handler(run, ctx):
        return None

    b = harness(handler)
    await b.time.advance(0)
    fails = [kit.problem(401, "UNAUTHENTICATED")]
    b.server.fail = lambda name: fails.pop() if fails and name.endswith("/claim") else None
    b.server.add("a")
    await b.time.advance(0)
    b.server.add("b")
    await b.time.advance(2)
    assert b.server.tokens == 2
    assert b.server.runs["b"]["status"] == "completed"
    await b.stop()


async def test_a_worker_without_permission_raises(harness, kit):
    b = harness(forever)
    b.server.fail = lambda _name: kit.problem(403, "FORBIDDEN")
    with pytest.raises(RunsteadError, match="FORBIDDEN"):
        await b.serving


async def test_claims_that_come_back_empty_at_once_are_spaced_out(harness):
    b = harness(forever, wait_seconds=0)
    await b.time.advance(10)
    assert len(b.sent("/claim")) in {10, 11}


async def test_a_busy_worker_still_sends_heartbeats(harness):
    b = harness(forever, concurrency=1, heartbeat_seconds=30)
    b.server.add("a")
    await b.time.advance(95)
    assert len(b.sent("/workers/w/heartbeat")) == 3


@pytest.mark.parametrize(
    "option", [{"lease_seconds": 4}, {"wait_seconds": 31}, {"concurrency": 0}, {"targets": ["task:t"] * 101}]
)
def test_numbers_out_of_bounds_are_refused_at_once(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        Worker(AsyncClient("http://server"), forever, **option)


async def test_run_until_idle_handles_the_queue_and_waits_for_no_more_runs(harness):
    async def handler(run, ctx):
        return run.run_id

    b = harness(handler, concurrency=2)
    b.serving.cancel()
    await b.settle()
    for name in "abc":
        b.server.add(name)
    worker = Worker(b.client, handler, kinds=["task"], concurrency=2, clock=b.time.clock, sleep=b.time.sleep)
    assert await worker.run_until_idle() == 3
    assert {run["status"] for run in b.server.runs.values()} == {"completed"}
    assert await worker.run_until_idle() == 0
    assert {body["wait_seconds"] for _, body in b.sent("/claim")[1:]} == {0}


async def test_an_exceptions_own_code_is_the_runs_error_code(harness):
    class OutOfStockError(Exception):
        code = "OUT_OF_STOCK"

    async def handler(run, ctx):
        raise OutOfStockError("none left")

    b = harness(handler)
    b.server.add("a")
    await b.time.advance(0)
    assert b.server.completions[0][1]["terminal_error_code"] == "OUT_OF_STOCK"
    await b.stop()


async def test_calls_at_once_bounds_concurrent_calls_without_waiting_claims():
    under_way, most, door = 0, 0, asyncio.Event()

    async def answer(request):
        nonlocal under_way, most
        if request.url.path.endswith("/claim"):
            await door.wait()
            return httpx2.Response(200, json={"run": None, "runs": []})
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return httpx2.Response(200, json={"status": "ok"})

    transport = httpx2.MockTransport(answer)
    async with AsyncClient("http://server", "k", transport=transport, calls_at_once=2) as client:
        claims = [asyncio.ensure_future(client.workers.claim("w", 30, wait_seconds=20)) for _ in range(5)]
        await asyncio.gather(*(client.health.live() for _ in range(9)))
        door.set()
        await asyncio.gather(*claims)
    assert most == 2
