"""Measures lists of runs whose filters match many, few or no runs, on a store of `fill.py` or `fill_postgres.py`.

    python bench/fill.py runstead.db --runs 1000000 --events 0 --index
    python bench/lists.py sqlite:///./runstead.db

Reads pages through the store, without HTTP. Prints the first, the median and the longest time in ms. Exits with 1 where
a median exceeds `--most`.
"""

import argparse
import asyncio
import statistics
import sys
import time
from typing import Any, Final

from runstead.ports.store import RunQuery, Store
from runstead.server.engines import make_store
from runstead.server.settings import load

RED: Final = ("team", "red")
UNKNOWN: Final = ("team", "none")
RARE: Final = ("order", "17")
LISTS: Final[dict[str, dict[str, Any]]] = {
    "all": {},
    "completed": {"statuses": ("completed",)},
    "failed": {"statuses": ("failed",)},
    "cancelled, none": {"statuses": ("cancelled",)},
    "completed or cancelled": {"statuses": ("completed", "cancelled")},
    "target": {"targets": ("task:bench-7",)},
    "unknown target": {"targets": ("none",)},
    "kind, none": {"kinds": ("agent",)},
    "label": {"labels": (RED,)},
    "unknown label": {"labels": (UNKNOWN,)},
    "label of one run": {"labels": (RARE,)},
    "labels of no run": {"labels": (RED, ("team", "blue"))},
    "search": {"text": "nightly"},
    "search, nothing found": {"text": "inventory"},
    "search, hexadecimal, nothing found": {"text": "a1b2c3d4e5f6"},
    "search, a few found": {"text": "report 4711"},
    "search, 1 character": {"text": "a"},
    "search, 1 character, nothing found": {"text": "%"},
    "search, 2 characters, nothing found": {"text": "zq"},
    "search and unknown label": {"text": "nightly", "labels": (UNKNOWN,)},
    "failed of a target": {"statuses": ("failed",), "targets": ("task:bench-10",)},
    "failed of a target, none": {"statuses": ("failed",), "targets": ("task:bench-7",)},
    "parent, none": {"parent_run_id": "none"},
    "schedule, none": {"schedule_id": "none"},
    "before the first": {"created_before": 1_000_000_000_000},
    "longest": {"sort": "duration"},
    "longest, of a target": {"sort": "duration", "targets": ("task:bench-7",)},
    "longest, of a label": {"sort": "duration", "labels": (RED,)},
    "longest, of a search": {"sort": "duration", "text": "nightly"},
    "longest, unknown target": {"sort": "duration", "targets": ("none",)},
    "longest, far down": {"sort": "duration", "before": (30_000, 1 << 40)},
}


async def measure(store: Store, times: int, most_ms: float) -> bool:
    await store.open()
    projects = tuple(project.id for project in await store.identity.projects(None))
    fast = True
    for name, filters in LISTS.items():
        took = []
        for _ in range(times):
            began = time.perf_counter()
            found = await store.runs.page(RunQuery(projects, **filters, limit=50))
            took.append((time.perf_counter() - began) * 1000)
        median = statistics.median(took)
        fast = fast and median <= most_ms
        print(f"{took[0]:7.1f} {median:7.1f} {max(took):7.1f} ms  {len(found.rows):2} rows  {name}")
    await store.close()
    return fast


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database")
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--most", type=float, default=50, help="ms")
    options = parser.parse_args()
    store = make_store(load(database=options.database))
    sys.exit(not asyncio.run(measure(store, options.times, options.most)))


if __name__ == "__main__":
    main()
