"""Sums over transactions that are committed in another order than they began."""

import asyncio

import msgspec

from runstead.core.usage.rollup import DAY
from runstead.engines.postgres.commit.draft import Draft
from runstead.ports.store import UsageQuery
from tests.support.store_driver import PROJECT

USED = msgspec.json.encode({"provider": "acme", "model": "m", "inputTokens": 1})


async def used(store, now):
    page = await store.rollups.usage(UsageQuery(PROJECT, 0, now // DAY * DAY + DAY, (), 1))
    return sum(line.runs for line in page.total)


async def test_an_end_that_is_committed_after_later_ones_were_added_up_is_not_skipped(replicas, monkeypatch):
    ours, theirs = await replicas(2)
    for run_id in ("late", "early"):
        await ours.create(run_id)
    written, go_on = asyncio.Event(), asyncio.Event()
    plain = Draft.write

    async def write(draft, connection):
        await plain(draft, connection)
        if any(run.run_id == "late" for run in draft.runs.values()):
            written.set()
            await go_on.wait()

    monkeypatch.setattr(Draft, "write", write)
    late = asyncio.ensure_future(ours.complete("late", metadata=USED))
    await written.wait()
    await theirs.complete("early", metadata=USED)
    assert await theirs.store.rollups.add_entries(10) == 1
    assert await theirs.store.rollups.add_entries(10) == 0
    go_on.set()
    now = (await late).run.updated_at
    assert await used(theirs.store, now) == 2
    assert await theirs.store.rollups.add_entries(10) == 1
    assert await used(ours.store, now) == 2


async def test_ticks_of_two_replicas_add_each_end_once(replicas):
    ours, theirs = await replicas(2)
    for number in range(30):
        run = (await ours.create(f"run-{number}")).run_id
        end = (await ours.complete(run, metadata=USED)).run
    added = 0
    while some := sum(
        await asyncio.gather(*(driver.store.rollups.add_entries(4) for driver in (ours, theirs) * 3))
    ):
        added += some
    assert added == 30
    assert await used(ours.store, end.updated_at) == 30
    assert await ours.store.rollups.integrity() == []
