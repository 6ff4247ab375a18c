"""Measures a tick of the deadline loop, a tick of the dispatcher and a claim, with few and with very many projects.

    python bench/tenants.py                              # SQLite in a temporary folder
    python bench/tenants.py --database postgresql://...  # an empty database

First with ten busy projects, then with a thousand busy ones and a hundred thousand with one run that waits for a distant
time. Prints medians in ms and their ratio.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import uvloop

from runstead.core.clock import now_ms
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Loaded, Transition
from runstead.ports.store import ClaimRequest, RunKey, Store
from runstead.server.engines import make_store
from runstead.server.settings import load

FEW: Final = 10
MANY: Final = 1_000
IDLE: Final = 100_000
RUNS: Final = 2_000  # due runs, and as many queued runs, in all busy projects
TICK: Final = 256
HOUR: Final = 3_600_000


async def create(store: Store, project: str, **fields: Any) -> None:
    run_id = str(uuid.uuid4())
    members: dict[str, Any] = {
        "kind": "task",
        "target": "task:bench",
        "status": RunStatus.PENDING,
        "owner_kind": "project",
    }
    members |= {"owner_id": project, "uid": run_id, "root_run_id": run_id, "created_at": 0, "updated_at": 0}
    run = Run(project_id=project, run_id=run_id, **(members | fields))

    def decide(loaded: Loaded) -> Transition:
        return transitions.create(run, now=loaded.now, parent=None, family_cancelled=False, message=None)

    await store.runs.apply(RunKey(project, run_id), decide)


async def claim(store: Store, project: str, limit: int, lease_ms: int) -> list[Run]:
    query = ClaimRequest(project, ("task",), (), "bench", "bench", limit)

    def decide(run: Run, now: int) -> Transition:
        return transitions.claim(run, now=now, worker="bench", lease_ms=lease_ms, token=uuid.uuid4().hex)

    return await store.runs.claim(query, decide)


async def at_once(work: Sequence[Callable[[], Awaitable[Any]]]) -> None:
    for first in range(0, len(work), 500):
        await asyncio.gather(*(one() for one in work[first : first + 500]))


async def fill(store: Store, prefix: str, projects: int, runs: int, lease_ms: int) -> list[str]:
    """Create projects with `runs` claimed runs in total, and return the projects' names."""
    names = [f"{prefix}-{n:06}" for n in range(projects)]
    each = max(runs // projects, 1)
    await at_once([lambda name=name: create(store, name) for name in names for _ in range(each)])  # type: ignore[misc]
    await at_once([lambda name=name: claim(store, name, each, lease_ms) for name in names])  # type: ignore[misc]
    return names


async def timed(work: Callable[[], Awaitable[Any]], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def measure(store: Store, prefix: str, projects: int) -> dict[str, float]:
    def decide(run: Run, now: int) -> Transition:
        return transitions.enforce_deadlines(run, now=now, dice=0.5)

    def refuse(*_: object) -> Transition:
        raise AssertionError("no run is for a push service")

    names = await fill(store, prefix, projects, RUNS, HOUR)
    found = {"idle tick": await timed(lambda: store.runs.enforce_deadlines(TICK, decide), 20)}
    await fill(store, f"{prefix}-due", projects, RUNS, 1)
    found[f"tick that ends {TICK}"] = await timed(lambda: store.runs.enforce_deadlines(TICK, decide), 5)
    while await store.runs.enforce_deadlines(TICK, decide):
        pass
    found["idle dispatch"] = await timed(lambda: store.runs.dispatch(TICK, (), refuse), 20)
    await at_once([lambda name=name: create(store, name) for name in names for _ in range(RUNS // projects)])  # type: ignore[misc]
    turns = itertools.cycle(names)
    found["claim"] = await timed(lambda: claim(store, next(turns), 1, HOUR), 200)
    return found


async def run(url: str) -> None:
    store = make_store(load(database=url))
    await store.open()
    try:
        few = await measure(store, "few", FEW)
        began = now_ms()
        await fill(store, "idle", IDLE, IDLE, 1_000 * HOUR)
        print(f"filled {IDLE:,} projects in {(now_ms() - began) / 1000:.0f} s")
        many = await measure(store, "many", MANY)
        for name, before in few.items():
            print(f"{name}: {before:.2f} ms, then {many[name]:.2f} ms: {many[name] / before:.2f} times")
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database")
    url = parser.parse_args().database
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(run(url or f"sqlite:///{folder}/tenants.db"))


if __name__ == "__main__":
    main()
