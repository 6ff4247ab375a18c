"""What `/metrics` shows of the store, and what this process counted."""

import asyncio
import re
from math import inf

import pytest

from runstead.commands import system
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.project import Project
from runstead.loops.statistics import measure
from runstead.ports.store import Depth, Measured, QueueAge, Sizes
from runstead.ports.store_metrics import OTHER
from tests.support.store_driver import PROJECT, StoreDriver


def numbers(app):
    """Sample → value, of this process."""
    lines = system.own_exposition(app).decode().splitlines()
    return {
        name: float(value)
        for name, value in re.findall(r"^([^#]\S*(?:\{.*\})?) (\S+)$", "\n".join(lines), re.MULTILINE)
    }


@pytest.fixture
def app(new_app):
    app = new_app()
    app.leader_state.hold(1, until=inf)
    return app


async def test_the_leader_exposes_what_it_measured_and_another_replica_does_not(app, new_app, store, clock):
    await store.identity.create_project(Project(PROJECT, "inventory", "Inventory", 1), None, None)
    await StoreDriver(store, clock).create("one", target="task:a")
    clock.advance_ms(90_000)
    assert await measure(app) == 0
    shown = numbers(app)
    assert shown['runstead_oldest_pending_seconds{project="inventory",target="task:a"}'] == 90
    assert shown['runstead_runs{project="inventory",state="available"}'] == 1
    assert shown['runstead_store_bytes{part="database"}'] > 0
    assert shown['runstead_store_pool_size{pool="point"}'] == limits.point_readers_max
    assert "runstead_oldest_pending_seconds" not in "".join(numbers(new_app()))


async def test_a_slow_store_delays_no_scrape_and_the_last_values_stay(app, store, monkeypatch):
    await measure(app)
    before = numbers(app)['runstead_store_bytes{part="database"}']
    monkeypatch.setattr(limits, "measurement_s_max", 0.01)
    monkeypatch.setattr(store, "sizes", asyncio.Event().wait, raising=False)
    with pytest.raises(Error, match="took longer than"):
        await measure(app)
    assert numbers(app)['runstead_store_bytes{part="database"}'] == before


def test_the_number_of_series_is_bounded(app):
    most, targets = limits.measured_projects_max, limits.measured_targets_max
    depths = [(f"p{n}", Depth(str(n), n, 0, 1, 0)) for n in range(most + 10)]
    ages = [QueueAge("p", f"task:{n}", 1_000 * n) for n in range(targets + 10)]
    app.store_metrics.note(Measured(depths, ages), Sizes(1, None))
    shown = numbers(app)
    available = {name: value for name, value in shown.items() if 'state="available"' in name}
    assert len(available) == most + 1
    assert available[f'runstead_runs{{project="{OTHER}",state="available"}}'] == sum(range(10))
    oldest = {name: value for name, value in shown.items() if name.startswith("runstead_oldest")}
    assert len(oldest) == targets + 1
    assert oldest[f'runstead_oldest_pending_seconds{{project="{OTHER}",target="{OTHER}"}}'] == 9
    assert not any('part="wal"' in name for name in shown)
