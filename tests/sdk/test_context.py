import asyncio
import json

import msgspec
from hypothesis import given, strategies as st

from runstead.sdk import Calls
from runstead.sdk.durable.attempt import Attempt
from runstead.sdk.durable.emitter import LOG_BYTES
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.worker.outbox import BATCH_BYTES, EVENTS_PER_REQUEST, Outbox

RUN = ClaimedRun(run_id="a", status="running", attempt=3, lease_token="t")


async def unsent(call):
    raise AssertionError(call)


@given(st.lists(st.integers(1, 300_000), max_size=40), st.integers(0, 250))
def test_requests_keep_the_order_and_the_bounds(sizes, small):
    events = [{"type": "T", "n": n, "x": "x" * size} for n, size in enumerate(sizes)]
    events += [{"type": "T", "n": len(sizes) + n} for n in range(small)]
    cut = []

    async def send(batch):
        cut.append(batch)

    async def put_all():
        outbox = Outbox(send)
        for event in events:
            outbox.put(event)
        await outbox.flush()

    asyncio.run(put_all())
    assert [json.loads(bytes(raw))["n"] for batch in cut for raw in batch] == list(range(len(events)))
    for batch in cut:
        assert 1 <= len(batch) <= EVENTS_PER_REQUEST
        assert len(batch) == 1 or sum(len(bytes(raw)) for raw in batch) <= BATCH_BYTES


async def test_many_events_go_out_in_few_fenced_requests():
    calls = []

    async def send(call):
        calls.append(call)

    context = Attempt(RUN, Calls(), send)
    await context.emit_many({"type": "T", "n": n} for n in range(250))
    bodies = [msgspec.json.decode(call.content()) for call in calls]
    assert [len(body["events"]) for body in bodies] == [100, 100, 50]
    assert {body["attempt"] for body in bodies} == {3}
    assert len({call.idempotency_key for call in calls}) == 3


def test_the_oldest_lines_of_a_long_log_are_dropped_and_counted():
    context = Attempt(RUN, Calls(), unsent)
    assert context.logs is None
    for n in range(5):
        context.log(str(n) * (LOG_BYTES // 4))
    first, *kept = context.logs.split("\n")
    assert first == "(2 earlier lines were dropped)"
    assert [line.partition("] ")[2][0] for line in kept] == ["2", "3", "4"]
