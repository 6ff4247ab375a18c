"""Measures claims per second, in rounds of a thousand, from a queue of any length.

    python bench/claims.py --key $KEY             # claims existing runs: fill the store first
    python bench/claims.py --key $KEY --refill    # creates a thousand runs before each round, and claims them all
    python bench/claims.py --key $KEY --refill --keys 1000  # the same with so many concurrency keys
    python bench/claims.py --key $KEY --blocked 100000  # the same with a concurrency key each, behind as many runs of one
                                                        # key at its limit

With `--limited`, the target has a limit and a rate that never hold it back, so that claims count running runs.
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
RUN: Final = {"kind": "task", "request": {"target": "task:bench"}}
BLOCKED: Final = msgspec.json.encode({"runs": [{**RUN, "concurrency_key": "blocked"}] * ROUND})
LIMITED: Final = b'{"max_running": 10000, "rate": {"limit": 1000000, "period_seconds": 1}}'


class _Claimed(msgspec.Struct):
    runs: list[msgspec.Raw]


def batch(keys: int, prefix: str = "key") -> bytes:
    """A round of runs with so many keys in turn; 0: without keys."""
    runs = [{**RUN, "concurrency_key": f"{prefix}-{n % keys:07}"} if keys else RUN for n in range(ROUND)]
    return msgspec.json.encode({"runs": runs})


async def rounds(
    url: str,
    key: str,
    project: str,
    callers: int,
    count: int,
    *,
    refill: bool,
    keys: int,
    blocked: int,
    limited: bool,
) -> list[float]:
    target = Target.from_url(url)
    headers = target.headers(key)
    first = Connection(target)
    project_id = await find_project_id(first, project, headers)
    worker = await register_worker(first, project, headers, kind="bench")
    connections = [Connection(target) for _ in range(callers)]
    batches = f"/projects/{project_id}/batches"
    limit = f"/projects/{project_id}/limits/task:bench"
    if limited:
        status, body = await first.request("PUT", limit, LIMITED, headers)
        assert status == 200, body
    if blocked:
        await first.request("PUT", limit, b'{"max_running_per_key": 1}', headers)
        for _ in range(-(-blocked // ROUND)):
            status, body = await first.request("POST", batches, BLOCKED, headers)
            assert status == 202, body
        await first.request("POST", worker.claim_path, CLAIM, worker.headers)
    rates = []
    for number in range(count):
        if refill or blocked:
            more = batch(ROUND, f"key-{worker.id}-{number}") if blocked else batch(keys)
            status, body = await first.request("POST", batches, more, headers)
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
    parser.add_argument("--keys", type=int, default=0)
    parser.add_argument("--blocked", type=int, default=0)
    parser.add_argument("--limited", action="store_true")
    arguments = parser.parse_args()
    rates = uvloop.run(
        rounds(
            arguments.url,
            arguments.key,
            arguments.project,
            arguments.callers,
            arguments.rounds,
            refill=arguments.refill,
            keys=arguments.keys,
            limited=arguments.limited,
            blocked=arguments.blocked,
        )
    )
    print("  ".join(f"{rate:,.0f}" for rate in rates))
    print(f"median {statistics.median(rates):,.0f} claims/s")


if __name__ == "__main__":
    main()
