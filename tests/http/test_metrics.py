"""What a process counts of the runs that it changes, as `/metrics` shows it."""

import math
import re
from collections import Counter

import pytest

from runstead.ports import run_metrics
from runstead.ports.store import Depth, Measured, QueueAge, Sizes

pytestmark = pytest.mark.postgres


async def counted(api):
    """Sample → value."""
    text = (await api.send("GET", "/metrics", by=None)).text
    return Counter(
        {name: float(value) for name, value in re.findall(r"^(runstead_\S+) (\S+)$", text, re.MULTILINE)}
    )


async def grown(api, work):
    """The samples that the work changed, with the change."""
    before = await counted(api)
    await work()
    after = await counted(api)
    return {
        name: value - before[name]
        for name, value in after.items()
        if value != before[name] and "http" not in name
    }


async def test_created_and_ended_runs_attempts_and_events_are_counted_once(api):
    async def work():
        run, _ = await api.claimed()
        sent = {"type": "CUSTOM", "name": "x", "value": 1, "idempotency_key": "once"}
        for _ in range(2):
            await api.append(run["run_id"], sent)
        for _ in range(2):
            await api.complete(run["run_id"])
        other = (await api.create())["run_id"]
        await api.post(f"/runs/{other}/cancel", {})
        stored.extend([*await api.event_types(run["run_id"]), *await api.event_types(other)])

    stored = []
    changed = await grown(api, work)
    assert changed["runstead_events_total"] == len(stored) == 3
    assert changed["runstead_runs_created_total"] == 2
    assert changed['runstead_runs_ended_total{status="completed"}'] == 1
    assert changed['runstead_runs_ended_total{status="cancelled"}'] == 1
    assert {name: n for name, n in changed.items() if "attempts" in name} == {
        'runstead_attempts_total{outcome="completed"}': 1
    }
    assert changed["runstead_queue_seconds_count"] == 1


async def test_a_lost_attempt_is_counted_by_its_outcome(api):
    async def work():
        await api.claimed()
        await api.pass_time(61)

    changed = await grown(api, work)
    assert changed['runstead_attempts_total{outcome="lease_expired"}'] == 1
    assert not any("runs_ended" in name for name in changed)


async def test_the_time_in_the_queue_is_that_until_the_claim(api):
    await api.create(api.task("task:slow"))
    worker, _ = await api.worker()
    api.clock.advance(20)
    changed = await grown(api, lambda: api.claim(worker, targets=["task:slow"]))
    assert changed["runstead_queue_seconds_sum"] == pytest.approx(20)
    assert 'runstead_queue_seconds_bucket{le="15.0"}' not in changed
    assert changed['runstead_queue_seconds_bucket{le="60.0"}'] == 1


async def test_tokens_of_ended_runs_are_counted_when_they_are_summed(api):
    run = await api.create()
    usage = {"provider": "p", "model": "m", "inputTokens": 10, "outputTokens": 3, "cachedInputTokens": 4}
    await api.complete(run["run_id"], metadata=usage)
    changed = await grown(api, lambda: api.app.store.rollups.add_entries(1_000, run_metrics.count_tokens))
    tokens = {name: n for name, n in changed.items() if "tokens" in name}
    assert tokens == {
        'runstead_tokens_total{type="cached_input"}': 4,
        'runstead_tokens_total{type="input"}': 10,
        'runstead_tokens_total{type="output"}': 3,
    }


async def test_projects_and_targets_are_named_to_the_scope_system_only(api):
    depths = [("shop", Depth("1", 1, 2, 0, 0)), ('a"}b', Depth("2", 3, 0, 0, 0))]
    ages = [QueueAge("shop", "task:pay", 9_000), QueueAge("shop", 'task:"', 4_000)]
    api.app.leader_state.hold(1, math.inf)
    api.app.store_metrics.note(Measured(depths, ages), Sizes(1, None))
    named = (await api.send("GET", "/metrics", by="system")).text
    for by in (None, "admin"):
        text = (await api.send("GET", "/metrics", by=by)).text
        assert not any(name in text for name in ("shop", "task:", "a\\"))
        assert re.findall(r"^runstead_(?:runs|oldest_pending_seconds)\{.*", text, re.MULTILINE) == [
            'runstead_runs{project="(all)",state="available"} 4.0',
            'runstead_runs{project="(all)",state="delayed"} 2.0',
            'runstead_runs{project="(all)",state="running"} 0.0',
            'runstead_runs{project="(all)",state="waiting"} 0.0',
            'runstead_oldest_pending_seconds{project="(all)",target="(all)"} 9.0',
        ]
    assert 'runstead_oldest_pending_seconds{project="shop",target="task:pay"} 9.0' in named
    await api.refused(401, "UNAUTHENTICATED", "GET", "/metrics", headers={"X-API-Key": "vf_no_key"}, by=None)
