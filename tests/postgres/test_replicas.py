"""Three replicas, everything at once, on few runs: they wait for each other, never in a circle, and agree in the end."""

import asyncio
import random
import uuid

import asyncpg
import pytest

from runstead.core.conversations.conversation import Conversation
from runstead.core.errors import Error
from runstead.core.idempotency import ReplayedResponse
from runstead.core.runs.event import TERMINAL_TYPES
from runstead.engines.postgres.commit import transaction


def whatever(driver, dice, runs, idempotent, event):
    """Some command, mostly for a run of one family."""
    run_id, other = (f"run-{dice.randrange(runs):02}" for _ in range(2))
    idempotency = (
        idempotent(f"key-{dice.randrange(60)}", digest=run_id.encode()) if dice.random() < 0.3 else None
    )
    commands = {
        lambda: driver.create(run_id, parent=other if other < run_id else None, idempotency=idempotency): 30,
        lambda: driver.append(run_id, event(), event(), idempotency=idempotency): 20,
        lambda: driver.complete(run_id, dice.choice(["completed", "failed"]), idempotency=idempotency): 4,
        lambda: driver.cancel(run_id, idempotency=idempotency): 1,
        lambda: driver.claim(dice.choice(["ann", "bob"]), lease_ms=dice.choice([1, 60_000]), limit=3): 8,
        lambda: driver.enforce_deadlines(5): 3,
        lambda: driver.wait(run_id): 4,
        lambda: driver.resume(run_id): 4,
        lambda: driver.renew(run_id): 4,
        lambda: driver.append(run_id, event(key=f"key-{dice.randrange(9)}"), idempotency=idempotency): 4,
        lambda: driver.pause(run_id): 1,
        lambda: driver.ask(run_id, str(uuid.uuid4()), call=str(dice.randrange(3))): 3,
        lambda: driver.delete(run_id): 6,
    }
    return dice.choices(list(commands), list(commands.values()))[0]()


async def restless(driver, dice, runs, idempotent, event):
    for _ in range(40):
        try:
            await whatever(driver, dice, runs, idempotent, event)
        except ReplayedResponse:
            pass
        except Error as refusal:
            if refusal.code.startswith("STORE_"):
                raise


@pytest.fixture
def deadlocks(monkeypatch):
    """Those that were rolled back from."""
    found = []
    roll_back = transaction._roll_back

    async def noted(connection, trouble):
        if isinstance(trouble, asyncpg.DeadlockDetectedError):
            found.append(trouble)
        await roll_back(connection, trouble)

    monkeypatch.setattr(transaction, "_roll_back", noted)
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_replicas_agree_after_concurrent_commands_and_never_deadlock(
    replicas, idempotent, event, deadlocks, seed
):
    drivers = await replicas(3)
    await drivers[0].store.conversations.create(Conversation("c-1", "p", "chat", 1, 1))
    commands = [
        restless(driver, random.Random(100 * seed + n), 40, idempotent, event)
        for n, driver in enumerate(drivers * 8)
    ]
    await asyncio.gather(*commands)
    rows = await drivers[0].rows()
    for run in rows:
        below = [other for other in rows if f"/{run.seq}/" in other.path]
        living = sum(not other.terminal for other in below)
        assert (run.descendants_total, run.descendants_active) == (len(below), living)
        if run.status == "cancelled" and run.cancel_requested_at is not None:
            assert living == 0
        log = await drivers[1].log(run.run_id)
        assert [logged.event_id for logged in log] == list(range(1, run.latest_event_id + 1))
        ends = [logged.event_id for logged in log if logged.type in TERMINAL_TYPES]
        assert ends == ([run.latest_event_id] if run.terminal else [])
        if run.parent_seq is None:
            found, reached = await drivers[2].family(run.run_id)
            positions = [position for _, _, position in found]
            assert positions == sorted(set(positions))
            assert reached >= len(positions)
            for member in (run, *below):
                mine = [event_id for run_id, event_id, _ in found if run_id == member.run_id]
                assert mine == list(range(1, member.latest_event_id + 1))
    assert len(rows) > 20
    assert deadlocks == []
