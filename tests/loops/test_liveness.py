"""Each silence is reported once, even if very many workers become silent."""

import pytest
import structlog

from runstead.core import limits
from runstead.core.identity.project import Project
from runstead.core.queue.push_service import PushService
from runstead.core.queue.worker import Worker
from runstead.loops.liveness import watch
from runstead.ports import metrics

SILENCE_S = limits.worker_silence_s + 1


def silences(kind):
    return metrics.registry.get_sample_value("runstead_silences_total", {"kind": kind}) or 0


@pytest.fixture
async def register(store):
    await store.identity.create_project(Project("p-1", "p-1", "P", 0), None, None)

    async def register(number):
        worker = Worker(f"w-{number}", "p-1", "python", f"{number}", 0, 0)
        await store.workers.register(worker, b"%d" % number)

    return register


async def test_many_silent_workers_are_reported_in_bounded_ticks_with_one_line_each(
    app, register, clock, monkeypatch
):
    monkeypatch.setattr(limits, "silent_per_tick_max", 20)
    for number in range(50):
        await register(number)
    clock.advance(SILENCE_S)
    before = silences("worker")
    with structlog.testing.capture_logs() as lines:
        assert [await watch(app) for _ in range(4)] == [20, 20, 10, 0]
    assert silences("worker") - before == 50
    assert [(line["kind"], line["count"]) for line in lines] == [
        ("worker", 20),
        ("worker", 20),
        ("worker", 10),
    ]
    assert {len(line["some"]) for line in lines} == {limits.silent_logged_max}


async def test_silent_services_are_reported_too(app, store, clock):
    service = PushService(
        id="s-1",
        registrant="project:p-1",
        service_name="scribe",
        service_key="s",
        scope_kind="project",
        base_url="https://a.test",
        invoke_url="https://a.test/runs",
        reach=("p-1",),
        project_id="p-1",
    )
    await store.push_services.register(service)
    assert await watch(app) == 0
    clock.advance(limits.push_service_silence_s + 1)
    before = silences("push_service")
    assert [await watch(app), await watch(app)] == [1, 0]
    assert silences("push_service") - before == 1


async def test_a_worker_with_heartbeats_is_not_reported(app, register, store, clock):
    await register(1)
    for _ in range(5):
        clock.advance(limits.worker_silence_s)
        await store.workers.heartbeat("w-1")
        assert await watch(app) == 0
