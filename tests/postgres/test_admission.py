"""How long a new run would wait, as PostgreSQL's group commit reports it."""

from runstead.core import limits
from runstead.core.identity.tenant import tenant
from runstead.engines.postgres import session_limits


async def test_new_runs_of_a_project_wait_while_its_lanes_are_full(driver, monkeypatch):
    """Its commands join a lane that exists, so new ones would keep the lane full."""
    store = driver.store
    full = {"busy": session_limits.batch_commands_max}
    monkeypatch.setattr(store._group_commit._lanes, "_of_project", full)
    tenant.set("quiet")
    assert store.expected_wait_s() == 0.0
    tenant.set("busy")
    assert store.expected_wait_s() > limits.admission_wait_s_max
