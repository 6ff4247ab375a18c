"""Handles of runs, and answers without call ids."""

import asyncio
import json
import socket
import threading
from dataclasses import dataclass

import attrs
import httpx2
import msgspec
import pydantic
import pytest

from runstead import (
    App,
    Client,
    RunCancelled,
    RunFailed,
    RunsteadError,
)
from runstead.sdk import UnexpectedAnswerError

from .in_process_server import InProcessServer

app = App()


@dataclass
class Receipt:
    total: int


class Packed(msgspec.Struct):
    total: int


class Checked(pydantic.BaseModel):
    total: int


@attrs.define
class Defined:
    total: int


@app.task("order")
async def order(ctx, items=()):
    return {"total": len(items)}


@app.workflow("refuse")
async def refuse(ctx):
    raise RunFailed("The card was declined", "CARD_DECLINED", {"card": 1})


@app.task("ask")
async def ask(ctx):
    await ctx.set("stage", "asking")
    approved = await ctx.wait_for_approval("Ship it?")
    paid = await ctx.wait_for_event("paid")
    return {"approved": approved, "paid": paid}


@app.task("race")
async def race(ctx):
    first = await ctx.first(paid=ctx.wait_for_event("paid"), refunded=ctx.wait_for_event("refunded"))
    return [first.name, first.value]


@app.task("family")
async def family(ctx):
    return await (await ctx.spawn("task:order", input={"items": [1]})).result()


async def waits_for_an_event(run):
    async with asyncio.timeout(60):
        while (await run.get()).waiting_reason != "event":  # noqa: ASYNC110 - the server is in this loop
            await asyncio.sleep(0.005)


@pytest.fixture
async def server():
    server = await InProcessServer().open()
    server.start_worker(app)
    yield server
    await server.close()


@pytest.fixture
def client(server):
    return server.client


async def test_a_handle_returns_the_result_of_its_run(client):
    run = await client.start("task:order", input={"items": [1, 2]}, id="order-1", returns=Receipt)
    assert run.id == "order-1"
    assert await run.result(timeout=60) == Receipt(total=2)
    assert await run.status() == "completed"
    assert (await run.get()).title is None
    again = await client.start("task:order", input={"items": [1, 2]}, id="order-1")
    assert await again.result() == {"total": 2}
    assert "order-1" in repr(again)


@pytest.mark.parametrize("model", [Receipt, Packed, Checked, Defined, dict[str, int]])
async def test_a_result_is_decoded_to_any_model(client, model):
    run = await client.start("task:order", input={"items": [1]})
    result = await run.result(model, timeout=60)
    assert result == ({"total": 1} if model == dict[str, int] else model(total=1))


@pytest.mark.parametrize("model", [int, Checked, list[Receipt]])
async def test_a_result_of_another_type_is_an_error(client, model):
    run = await client.start("task:order", input={"items": [1]}, returns=model)
    if model is Checked:
        await run.result(timeout=60)
        run = client.run((await client.start("task:ask")).id, returns=model)
        await client.runs.complete(run.id, output={"total": "many"})
    with pytest.raises(UnexpectedAnswerError, match=f"{run.id} is not a valid"):
        await run.result(timeout=60)


async def test_a_failed_run_raises_its_code_and_message(client):
    run = await client.start("workflow:refuse")
    with pytest.raises(RunFailed, match="The card was declined") as failed:
        await run.result(timeout=60)
    assert (failed.value.code, failed.value.detail) == ("CARD_DECLINED", {"card": 1})


async def test_a_cancelled_run_raises_run_cancelled(client):
    run = await client.start("task:nobody")
    waiting = asyncio.ensure_future(run.result(timeout=60))
    assert (await run.cancel(reason="No longer needed")).cancelled
    with pytest.raises(RunCancelled) as cancelled:
        await waiting
    assert cancelled.value.code == (await run.get()).error.code


async def test_a_result_that_does_not_come_in_time_is_a_timeout(client):
    run = await client.start("task:nobody")
    with pytest.raises(TimeoutError):
        await run.result(timeout=0.05)
    assert await run.status() == "pending"


async def test_answers_need_no_call_id(server, client):
    run = await client.start("task:ask")
    await server.until(run.id, "waiting")
    assert await run.value("stage") == await client.value(run.id, "stage") == "asking"
    assert (await client.approve(run.id)).accepted
    await waits_for_an_event(run)
    with pytest.raises(
        RunsteadError, match=r"waits for reason event \(event:paid\); approval does not answer that"
    ):
        await client.reject(run.id)
    assert (await client.signal(run.id, "paid", 5)).delivered
    assert await run.result(timeout=60) == {"approved": True, "paid": 5}
    with pytest.raises(RunsteadError, match="has ended") as ended:
        await run.signal("paid", 5)
    assert (ended.value.status, ended.value.code) == (410, "RUN_NOT_ACTIVE")
    with pytest.raises(RunsteadError, match="does not wait for an answer: it is completed"):
        await run.resume(1)


async def test_a_handle_rejects_and_resumes(server, client):
    run = await client.start("task:ask")
    await server.until(run.id, "waiting")
    await run.reject(reason="Too expensive")
    await waits_for_an_event(run)
    await run.resume({"amount": 5})
    assert await run.result(timeout=60) == {"approved": False, "paid": {"amount": 5}}


async def test_an_event_is_sent_to_a_run_that_waits_for_the_first_of_several(server, client):
    run = await client.start("task:race")
    await server.until(run.id, "waiting")
    assert not (await run.signal("lost")).delivered
    assert (await run.signal("refunded", 3)).delivered
    assert await run.result(timeout=60) == ["refunded", 3]


async def test_a_handle_yields_events_and_children(client):
    run = await client.start("task:family")
    assert await run.result(timeout=60) == {"total": 1}
    assert [event.event_type async for event in run.events()][-1] == "RUN_FINISHED"
    (child,) = [child async for child in run.children()]
    assert await client.run(child.run_id, returns=Receipt).result(timeout=60) == Receipt(total=1)
    family_events = [event.run_id async for event in run.events(include_descendants=True)]
    assert set(family_events) == {run.id, child.run_id}


def blocking(kit, *outcomes):
    script = kit.Script(*outcomes)
    return Client("http://server", project="p", transport=httpx2.MockTransport(script)), script


def test_a_blocking_handle_follows_the_stream_and_reads_the_run_once(kit):
    client, script = blocking(
        kit,
        httpx2.Response(
            200, json={"id": "p", "slug": "p", "name": "p", "created_at": "2026-01-01T00:00:00Z"}
        ),
        httpx2.Response(
            201, json={"accepted": True, "duplicate": False, "run": kit.run_body("r", "pending")}
        ),
        kit.stream(kit.frame(1, "RUN_STARTED"), kit.frame(2, "RUN_FINISHED")),
        httpx2.Response(200, json=kit.run_body("r", "completed", output={"total": 3})),
    )
    run = client.start("task:order", returns=Receipt)
    assert run.result(timeout=60) == Receipt(total=3)
    assert [request.url.path for request in script.requests[2:]] == ["/runs/r/stream", "/runs/r"]


@pytest.mark.parametrize("body", [b"", b": still here\n\n"], ids=["silent", "alive"])
def test_a_blocking_result_is_bounded_by_its_timeout(body):
    """The server keeps the stream open: it sends nothing, or comments alone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                while not over.wait(0.02):
                    connection.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                Client(f"http://127.0.0.1:{listening.getsockname()[1]}") as client,
                pytest.raises(TimeoutError),
            ):
                client.run("r").result(timeout=0.2)
        finally:
            over.set()
            thread.join()


def test_a_blocking_client_answers_without_a_call_id(kit):
    waiting = kit.run_body(
        "r", "waiting", waiting_reason="event", waiting_tool_call_id="event:paid:2", latest_event_id=1
    )
    client, script = blocking(
        kit, httpx2.Response(200, json=waiting), httpx2.Response(202, json={"accepted": True})
    )
    assert client.run("r").resume({"amount": 5}).accepted
    sent = json.loads(script.requests[1].content)
    assert sent == {
        "type": "event",
        "tool_call_id": "event:paid:2",
        "result": {"amount": 5},
        "is_error": False,
    }
