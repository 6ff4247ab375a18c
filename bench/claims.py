"""Measures claims per second, in rounds of a thousand, from a queue of any length.

    python bench/claims.py --key $KEY             # claims existing runs: fill the store first
    python bench/claims.py --key $KEY --refill    # creates a thousand runs before each round, and claims them all

Prints claims/s of each round and their median.
"""

import argparse
import asyncio
import statistics
import time
from typing import Final

import msgspec
import uvloop

from runstead.bench.connection import Connection, Target
from runstead.bench.deployment import find_project_id, register_worker

ROUND: Final = 1_000
CLAIM: Final = msgspec.json.encode({"lease_duration_seconds": 300, "targets": ["task:bench"]})
BATCH: Final = msgspec.json.encode(
    {"runs": [{"kind": "task", "request": {"target": "task:bench"}} for _ in range(ROUND)]}
)


class _Claimed(msgspec.Struct):
    runs: list[msgspec.Raw]


async def rounds(url: str, key: str, project: str, callers: int, count: int, *, refill: bool) -> list[float]:
    target = Target.from_url(url)
    headers = target.headers(key)
    first = Connection(target)
    project_id = await find_project_id(first, project, headers)
    worker = await register_worker(first, project, headers, kind="bench")
    connections = [Connection(target) for _ in range(callers)]
    rates = []
    for _ in range(count):
        if refill:
            status, body = await first.request("POST", f"/projects/{project_id}/batches", BATCH, headers)
            assert status == 202, body
        left = ROUND

        async def take(connection: Connection) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                status, body = await connection.request("POST", worker.claim_path, CLAIM, worker.headers)
                assert status == 200, body
                assert msgspec.json.decode(body, type=_Claimed).runs, "nothing is left to claim"

        began = time.perf_counter()
        await asyncio.gather(*map(take, connections))
        rates.append(ROUND / (time.perf_counter() - began))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8720")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", default="default")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--refill", action="store_true")
    arguments = parser.parse_args()
    rates = uvloop.run(
        rounds(
            arguments.url,
            arguments.key,
            arguments.project,
            arguments.callers,
            arguments.rounds,
            refill=arguments.refill,
        )
    )
    print("  ".join(f"{rate:,.0f}" for rate in rates))
    print(f"median {statistics.median(rates):,.0f} claims/s")


if __name__ == "__main__":
    main()
