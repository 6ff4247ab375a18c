"""Reports are those of a naive sum, for any order of commands and ticks, over every store."""

import itertools
from collections import Counter, defaultdict

import msgspec
from hypothesis import settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runstead.core.usage.activity import grid, summarize
from runstead.core.usage.report import WAYS
from runstead.core.usage.rollup import DAY, HOUR, QUARTER, Additions, rounded
from tests.support.clock import NOON, Clock
from tests.support.examples import examples
from tests.support.store_driver import StoreDriver

from .rollup_app import activity, as_of_an_older_version, open_app, report, sound


class Sums(RuleBasedStateMachine):
    """Runs are created, end, are deleted and added up in any order; reports are those of a naive sum at any moment."""

    def __init__(self, make, engine):
        super().__init__()
        self.runner, self.driver, self.clock, self.app = make()
        self.engine = engine
        self.names = itertools.count()
        self.alive, self.over = {}, {}  # run_id → what the naive sums need

    def _do(self, work):
        return self.runner.run(work)

    @rule(
        named=strategies.sampled_from(["task:a", "task:b", None]),
        schedule=strategies.sampled_from([None, "nightly"]),
        key=strategies.sampled_from([None, "key"]),
    )
    def create(self, named, schedule, key):
        run_id = f"run-{next(self.names)}"
        run = self._do(self.driver.create(run_id, target=named, schedule_id=schedule, created_by=key))
        self.alive[run_id] = run

    @rule(ms=strategies.sampled_from([1, 90, 60_000, QUARTER, HOUR, DAY - 1]))
    def wait(self, ms):
        self.clock.advance_ms(ms)

    @precondition(lambda self: self.alive)
    @rule(
        data=strategies.data(),
        status=strategies.sampled_from(["completed", "completed", "failed", "cancelled"]),
        tokens=strategies.none() | strategies.integers(0, 100),
        model=strategies.sampled_from(["m", "n", None]),
    )
    def end(self, data, status, tokens, model):
        run_id = data.draw(strategies.sampled_from(sorted(self.alive)))
        metadata = None if tokens is None else msgspec.json.encode({"model": model, "inputTokens": tokens})
        written = self._do(self.driver.complete(run_id, status, metadata=metadata))
        del self.alive[run_id]
        self.over[run_id] = (written.run, tokens, model, True)

    @precondition(lambda self: any(there for *_, there in self.over.values()))
    @rule(data=strategies.data())
    def delete(self, data):
        run_id = data.draw(
            strategies.sampled_from(sorted(name for name, (*_, there) in self.over.items() if there))
        )
        self._do(self.driver.delete(run_id))
        self.over[run_id] = (*self.over[run_id][:3], False)

    @rule(limit=strategies.integers(1, 5))
    def fold(self, limit):
        self._do(self.driver.store.rollups.add_entries(limit))

    @precondition(lambda self: all(there for *_, there in self.over.values()))
    @rule()
    def grow_old(self):
        self._do(as_of_an_older_version(self.driver.store, self.engine))

    @rule(limit=strategies.integers(1, 5))
    def catch_up(self, limit):
        self._do(self.driver.store.rollups.catch_up(limit))

    @rule(limit=strategies.integers(1, 5))
    def crash_in_a_tick(self, limit):
        """The transaction is gone before its commit."""
        plain = Additions._count

        def broken(*_given):
            raise RuntimeError("killed")

        Additions._count = broken
        try:
            self._do(self.driver.store.rollups.add_entries(limit))
        except RuntimeError:
            pass
        finally:
            Additions._count = plain

    @rule(
        since=strategies.integers(0, 3 * 96).map(lambda n: NOON - DAY + n * QUARTER),
        length=strategies.integers(1, 3 * 96).map(lambda n: n * QUARTER),
        by=strategies.sampled_from(WAYS),
    )
    def report(self, since, length, by):
        until = since + length
        found = self._do(report(self.app, since, until, by))
        groups = defaultdict(lambda: (0, 0))
        runs = sum(since <= run.created_at < until for run in self.alive.values())
        for run, tokens, model, there in self.over.values():
            if since <= run.created_at < until:
                runs += 1
                if tokens is not None:
                    key = {
                        "model": model,
                        "target": run.target,
                        "schedule": run.schedule_id,
                        "key": run.created_by,
                        "day": f"2026-03-{20 + (run.created_at - NOON + DAY // 2) // DAY}",
                        "family": run.run_id if there else None,
                    }[by]
                    groups[key] = (groups[key][0] + 1, groups[key][1] + tokens)
        if by == "day":
            assert len(found.groups) == len(groups)
            assert sorted((one.runs, one.tokens.total) for one in found.groups) == sorted(groups.values())
        else:
            assert {one.key: (one.runs, one.tokens.total) for one in found.groups} == dict(groups)
        assert found.runs == runs

    @rule(
        since=strategies.integers(NOON - DAY, NOON + DAY),
        length=strategies.integers(1, 40 * DAY),
        buckets=strategies.integers(1, 60),
        named=strategies.none() | strategies.just("task:a"),
    )
    def chart(self, since, length, buckets, named):
        until = since + length
        found = self._do(activity(self.app, since, until, buckets, targets=(named,) if named else ()))
        where = grid(since, until, buckets)
        counts, took = defaultdict(Counter), defaultdict(Counter)
        there = [run for run, *_, kept in self.over.values() if kept] + list(self.alive.values())
        for run in there:
            if since <= run.created_at < until and named in (None, run.target):
                place = (run.created_at - where.origin) // where.width
                counts[place][run.status] += 1
                if run.status == "completed":
                    took[place][rounded(run.duration_ms)] += 1
        for place, bucket in enumerate(found.buckets):
            assert bucket.counts == counts[place]
            ordered = sorted(took[place].elements())
            middle = ordered[-(-len(ordered) // 2) - 1] if ordered else None
            assert bucket.p50_ms == middle
        assert summarize([], since=since, until=until, where=where).buckets[0].begins_at == where.origin

    @rule()
    def check(self):
        self._do(sound(self.driver.store))


def test_reports_are_those_of_a_naive_sum_at_any_moment(engine, new_store, runner):
    open_stores = []

    def make():
        clock = Clock()
        store = new_store(clock)
        runner.run(store.open())
        open_stores.append(store)
        return runner, StoreDriver(store, clock), clock, runner.run(open_app(store))

    class Machine(Sums):
        def __init__(self):
            super().__init__(make, engine)

        def teardown(self):
            runner.run(open_stores.pop().close())

    number = examples({"sqlite": 25, "postgres": 6}[engine])
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=number, stateful_step_count=40, deadline=None)
    )
