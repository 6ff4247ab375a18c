"""The database's clock is the only one: a replica may believe what it likes about the time."""

import asyncio
import time

import pytest

from runstead.commands.app import App
from runstead.core import limits
from runstead.core.runs.run import RunStatus
from runstead.engines.notifiers.local import LocalNotifier
from runstead.loops.deadlines import enforce_deadlines

YEAR_NS = 365 * 86_400 * 1_000_000_000


@pytest.fixture(params=[YEAR_NS, -YEAR_NS], ids=["a year ahead", "a year behind"])
def wrong(request, monkeypatch):
    """From here on, this process is wrong about the time."""
    right = time.time_ns

    def clock_now():
        monkeypatch.setattr(time, "time_ns", lambda: right() + request.param)

    return clock_now


async def test_a_replica_with_a_wrong_clock_expires_no_lease(replicas, wrong, sql):
    right, mistaken = await replicas(2)
    await right.create("run-1")
    [claimed] = await right.claim(lease_ms=30_000)
    wrong()
    assert await enforce_deadlines(App(mistaken.store, LocalNotifier())) == 0
    assert (await right.row("run-1")).lease_expires_at == claimed.lease_expires_at
    written = await mistaken.renew("run-1", lease_ms=30_000, worker="worker")
    assert 0 <= written.run.lease_expires_at - claimed.lease_expires_at < 60_000
    assert written.run.status is RunStatus.RUNNING
    [(now,)] = sql("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    assert abs(written.run.updated_at - now) < 60_000


async def test_its_runs_are_claimed_and_its_leases_end_like_all_others(replicas, wrong):
    right, mistaken = await replicas(2)
    wrong()
    await mistaken.create("run-1")
    assert await right.claim_ids(lease_ms=1) == ["run-1"]
    await asyncio.sleep(0.01)  # the time is the database's
    assert [written.run.run_id for written in await mistaken.enforce_deadlines()] == ["run-1"]


async def test_it_forgets_no_answer_before_its_day_is_over(replicas, wrong, idempotent, refusal):
    [mistaken] = await replicas(1)
    wrong()
    await mistaken.create("run-1", idempotency=idempotent())
    assert await mistaken.store.forget(limits.idempotency_s * 1000, 10) == 0
    assert (
        await refusal(mistaken.create("run-1", idempotency=idempotent(digest=b"other")))
        == "IDEMPOTENCY_KEY_REUSED"
    )
