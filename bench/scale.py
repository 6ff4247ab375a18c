"""Simulates a deployment of many machines: does it keep up with the runs per minute, and how long do commands take?

    python bench/scale.py                             # a million runs a minute, with the costs measured below
    python bench/scale.py --runs-per-minute 200000 --shards 1 --replicas 8
    python bench/scale.py --check                     # compares the model with the measurements it is based on

It is a discrete-event simulation of queues. Each run is four commands (create, claim, append ten events, complete). A
command uses its replica's event loop, waits in the replica's commit group (the rules of
`engines/postgres/commit/group.py`), and shares a transaction. The transaction uses a core of its database and then one
flush of the WAL, which all waiting transactions share. Project sizes follow Zipf's law, and each project belongs to one
shard. The network, checkpoints and vacuum are not simulated. docs/scale.md describes the results.
"""

import argparse
import bisect
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from runstead.engines.postgres import session_limits

COMMANDS = 4  # of one run
WARM_UP_S = 2.0


@dataclass(frozen=True)
class Costs:
    """The costs of one run, as `bench/cost.py` measures them. docs/scale.md has the dates and machines."""

    loop_ms: float  # CPU time of a replica
    transaction_ms: float  # CPU time of the database for a transaction
    command_ms: float  # CPU time of the database for each command in it
    wal_bytes: int
    flush_ms: float = 1.0  # duration of a flush of the WAL
    wal_bytes_per_s: float = 400e6


MEASURED = Costs(loop_ms=2.0, transaction_ms=0.38, command_ms=0.07, wal_bytes=18_000)


class Simulation:
    """Runs events in the order of their times, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), then))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = until


class Station:
    """Cores that serve jobs in the order of arrival. With a `pool` they are part of that station's cores."""

    def __init__(self, simulation: Simulation, cores: int, pool: "Station | None" = None) -> None:
        self._simulation = simulation
        self._pool = pool
        self._free = cores
        self._cores = cores
        self._queue: deque[tuple[float, Callable[[], None]]] = deque()
        self.busy_s, self._since = 0.0, 0.0

    @property
    def utilisation(self) -> float:
        return self.busy_s / self._cores / (self._simulation.now - self._since)

    def serve(self, seconds: float, then: Callable[[], None]) -> None:
        if self._free:
            self._begin(seconds, then)
        else:
            self._queue.append((seconds, then))

    def _begin(self, seconds: float, then: Callable[[], None]) -> None:
        self._free -= 1
        self.busy_s += seconds

        def done() -> None:
            self._free += 1
            if self._queue:
                self._begin(*self._queue.popleft())
            then()

        if self._pool is None:
            self._simulation.after(seconds, done)
        else:
            self._pool.serve(seconds, done)

    def reset(self) -> None:
        """Reset the utilisation."""
        self.busy_s, self._since = 0.0, self._simulation.now


class Database:
    """One PostgreSQL: its cores, and its WAL. All waiting transactions share a flush."""

    def __init__(self, simulation: Simulation, costs: Costs, cores: int, pool: Station | None = None) -> None:
        self._simulation = simulation
        self._costs = costs
        self.cores = Station(simulation, cores, pool)
        self._waiting: list[tuple[int, Callable[[], None]]] = []
        self._flushing = False
        self.written = 0.0

    def transact(self, commands: int, then: Callable[[], None]) -> None:
        work = (self._costs.transaction_ms + commands * self._costs.command_ms) / 1000

        def commit() -> None:
            self._waiting.append((commands, then))
            self._flush()

        self.cores.serve(work, commit)

    def _flush(self) -> None:
        if self._flushing or not self._waiting:
            return
        group, self._waiting, self._flushing = self._waiting, [], True
        written = sum(commands for commands, _ in group) * self._costs.wal_bytes / COMMANDS
        seconds = self._costs.flush_ms / 1000 + written / self._costs.wal_bytes_per_s
        self.written += written

        def done() -> None:
            self._flushing = False
            for _, then in group:
                then()
            self._flush()

        self._simulation.after(seconds, done)


class Replica:
    """An event loop and a commit group over one database."""

    def __init__(
        self, simulation: Simulation, costs: Costs, database: Database, pool: Station | None = None
    ) -> None:
        self._database = database
        self._loop_s = costs.loop_ms / 1000 / COMMANDS
        self.loop = Station(simulation, 1, pool)
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = 0

    def command(self, then: Callable[[], None]) -> None:
        def arrived() -> None:
            self._queue.append(then)
            self._begin()

        self.loop.serve(self._loop_s, arrived)

    def _begin(self) -> None:
        enough = len(self._queue) > self._busy * session_limits.batch_commands_min
        if not self._queue or not enough or self._busy >= session_limits.batches_max:
            return
        group = [
            self._queue.popleft() for _ in range(min(len(self._queue), session_limits.batch_commands_max))
        ]
        self._busy += 1

        def done() -> None:
            self._busy -= 1
            for then in group:
                then()
            self._begin()

        self._database.transact(len(group), done)


@dataclass
class Result:
    """The result of a simulation: times in ms, and the utilisation (0 to 1) of the busiest part of each kind."""

    runs_per_s: float
    loop: float
    database: float
    wal: float
    latencies: list[float] = field(repr=False)
    backlog: int = 0  # commands without an answer at the end

    def percentile(self, share: float) -> float:
        return (
            sorted(self.latencies)[int(share * (len(self.latencies) - 1))] if self.latencies else float("inf")
        )

    @property
    def keeps_up(self) -> bool:
        """Whether no part is busy for more than 80 %. Above that, queues grow with each burst."""
        return max(self.loop, self.database, self.wal) <= 0.8


class Deployment:
    """Shards with `replicas` and a database of `cores` cores each; with `shared`: all on one machine of that many cores."""

    def __init__(
        self,
        costs: Costs,
        *,
        shards: int,
        replicas: int,
        cores: int,
        shared: int | None = None,
        seed: int = 1,
    ) -> None:
        self.simulation = one = Simulation()
        self._costs = costs
        self._random = random.Random(seed)  # noqa: S311 - the same results every time
        pool = None if shared is None else Station(one, shared)
        self._databases = [Database(one, costs, cores, pool) for _ in range(shards)]
        self._replicas = [
            [Replica(one, costs, each, pool) for _ in range(replicas)] for each in self._databases
        ]
        self._latencies: list[float] = []
        self._sent = self._ended = 0

    def _send(self, shard: int, then: Callable[[], None]) -> None:
        began = self.simulation.now
        self._sent += 1

        def answered() -> None:
            self._latencies.append((self.simulation.now - began) * 1000)
            then()

        self._random.choice(self._replicas[shard]).command(answered)

    def _run(self, shard: int, work_s: float, then: Callable[[], None], left: int = COMMANDS) -> None:
        """Simulate one run: its commands in sequence, with a worker's pauses."""
        if not left:
            self._ended += 1
            then()
            return
        pause = self._random.expovariate(1 / work_s) if work_s else 0.0

        def next_one() -> None:
            self.simulation.after(pause, lambda: self._run(shard, work_s, then, left - 1))

        self._send(shard, next_one)

    def arrivals(
        self, runs_per_s: float, seconds: float, *, projects: int = 2_000, zipf: float = 1.0
    ) -> Result:
        """Simulate runs that arrive at random, in projects whose sizes follow Zipf's law, in random shards."""
        sizes = list(itertools.accumulate(1 / rank**zipf for rank in range(1, projects + 1)))
        places = [self._random.randrange(len(self._databases)) for _ in range(projects)]

        def arrive() -> None:
            project = bisect.bisect(sizes, self._random.random() * sizes[-1])
            self._run(places[min(project, projects - 1)], 0.2, lambda: None)
            self.simulation.after(self._random.expovariate(runs_per_s), arrive)

        arrive()
        return self._result(seconds)

    def callers(self, count: int, seconds: float) -> Result:
        """Simulate `runstead bench`: callers that start their next run when the last one has ended."""

        def again() -> None:
            self._run(0, 0.0, again)

        for _ in range(count):
            again()
        return self._result(seconds)

    def _result(self, seconds: float) -> Result:
        """Simulate the warm-up, then count for `seconds`."""
        self.simulation.run(WARM_UP_S)
        unanswered = self._sent - len(self._latencies)
        self._latencies.clear()
        self._ended, self._sent = 0, unanswered
        for database in self._databases:
            database.cores.reset()
            database.written = 0.0
        for replica in itertools.chain(*self._replicas):
            replica.loop.reset()
        self.simulation.run(WARM_UP_S + seconds)
        return Result(
            runs_per_s=self._ended / seconds,
            loop=max(one.loop.utilisation for group in self._replicas for one in group),
            database=max(one.cores.utilisation for one in self._databases),
            wal=max(one.written for one in self._databases) / seconds / self._costs.wal_bytes_per_s,
            latencies=self._latencies,
            backlog=self._sent - len(self._latencies),
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs-per-minute", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--replicas", type=int, default=6, help="for each shard")
    parser.add_argument("--cores", type=int, default=8, help="of each shard's database")
    parser.add_argument("--seconds", type=float, default=5.0, help="of simulated time")
    parser.add_argument(
        "--check", action="store_true", help="callers on one shard, as `runstead bench` drives it"
    )
    options = parser.parse_args()
    if options.check:
        for callers in (1, 16, 64):
            found = Deployment(MEASURED, shards=1, replicas=1, cores=2, shared=2).callers(
                callers, options.seconds
            )
            print(
                f"{callers:3} callers: {found.runs_per_s:6.0f} lifecycles/s, p99 {found.percentile(0.99):5.1f} ms"
            )
        return
    deployment = Deployment(MEASURED, shards=options.shards, replicas=options.replicas, cores=options.cores)
    found = deployment.arrivals(options.runs_per_minute / 60, options.seconds)
    print(
        f"{found.runs_per_s * 60:,.0f} runs a minute ended, {found.backlog:,} commands under way at the end"
    )
    print(f"busiest replica {found.loop:.0%}, database {found.database:.0%}, WAL {found.wal:.0%}")
    print(f"a command takes {found.percentile(0.5):.1f} ms (p50), {found.percentile(0.99):.1f} ms (p99)")
    print("keeps up" if found.keeps_up else "does NOT keep up")


if __name__ == "__main__":
    main()
