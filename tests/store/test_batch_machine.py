"""Random lives of batches, in an engine and in memory as its model: after every step both agree, the counters are what a
count of the runs gives, and a batch is complete from the end of its last run on, for ever.
"""

import itertools
import uuid
from collections import Counter

from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from runstead.core.batches.batch import COUNTED
from runstead.core.errors import Error
from runstead.ports.store import BatchQuery
from tests.support.examples import examples

PROJECT = "11111111-1111-4111-8111-111111111111"
LABEL = "99999999-9999-4999-8999-999999999999"
SETTINGS = settings(
    max_examples=examples(30),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
places = st.integers(0, 40)


class BatchMachine(RuleBasedStateMachine):
    def __init__(self, drivers):
        super().__init__()
        self.tested, self.model, self.clock, self.runner = drivers()
        self.names = itertools.count(1)
        self.batches = []
        self.deleted = Counter()  # (batch_id, status) → how many
        self.completed = {}
        self.rows = {}

    def teardown(self):
        self.runner.run(self.tested.store.close())
        self.runner.run(self.model.store.close())

    def both(self, command):
        """Give a command to both; what they refuse must agree."""
        outcomes = []
        for driver in (self.tested, self.model):
            try:
                outcomes.append(self.runner.run(command(driver)))
            except Error as refused:
                outcomes.append(refused.code)
        tested, model = outcomes
        assert isinstance(tested, str) == isinstance(model, str), (tested, model)
        assert not isinstance(tested, str) or tested == model
        return tested

    def some_run(self, at):
        ids = sorted(self.rows) or ["unknown"]
        return ids[at % len(ids)]

    @initialize(size=st.integers(1, 4))
    def begin(self, size):
        self.create(size, None, 1)

    @rule(size=st.integers(1, 4), parent=st.none() | places, taken=st.integers(0, 9))
    def create(self, size, parent, taken):
        names = [f"run-{next(self.names)}" for _ in range(size)]
        if not taken and self.rows:
            names[-1] = self.some_run(size)
        batch_id = str(uuid.UUID(int=len(self.batches) + 1))
        above = None if parent is None else self.some_run(parent)
        made = self.both(lambda driver: driver.create_batch(*names, batch_id=batch_id, parent=above))
        if not isinstance(made, str):
            self.batches.append(made.batch)

    @rule(at=places, label=st.integers(0, 4), parent=st.none() | places)
    def join(self, at, label, parent):
        name = f"run-{next(self.names)}"
        batch_id = self.batches[at % len(self.batches)].id if label else LABEL
        above = None if parent is None else self.some_run(parent)
        self.both(lambda driver: driver.create(name, batch_id=batch_id, parent=above))

    @rule(limit=st.integers(1, 3))
    def claim(self, limit):
        self.both(lambda driver: driver.claim(limit=limit, lease_ms=5_000))

    @rule(at=places, status=st.sampled_from(("completed", "completed", "failed", "cancelled")))
    def complete(self, at, status):
        run_id = self.some_run(at)
        self.both(lambda driver: driver.complete(run_id, status))

    @rule(at=places)
    def complete_some(self, at):
        """Half of all, so that batches come to their ends."""
        for run_id in sorted(self.rows)[at % 2 :: 2]:
            self.both(lambda driver, run_id=run_id: driver.complete(run_id))

    @rule(at=places, act=st.sampled_from(("wait", "resume", "release", "pause", "cancel", "delete")))
    def move(self, at, act):
        run_id = self.some_run(at)
        run = self.rows.get(run_id)
        gone = self.both(lambda driver: getattr(driver, act)(run_id))
        if act == "delete" and not isinstance(gone, str):
            self.deleted[run.batch_id, run.status.value] += 1

    @rule(ms=st.sampled_from((1, 1_000, 5_000, 400_000)))
    def time_passes(self, ms):
        self.clock.advance_ms(ms)
        self.both(lambda driver: driver.enforce_deadlines())

    @rule(at=places)
    def call_off(self, at):
        batch = self.batches[at % len(self.batches)]
        self.both(lambda driver: driver.call_off(batch))

    @rule(limit=st.sampled_from((1, 2, 256)))
    def go_on_cancelling(self, limit):
        for batch in self.runner.run(self.model.store.batches.unfinished(10)):
            self.both(lambda driver, batch=batch: driver.cancel_some(batch, limit))

    @invariant()
    def what_must_always_hold(self):
        async def look(driver):
            rows = {run.run_id: run for run in await driver.rows()}
            return rows, (await driver.store.batches.page(BatchQuery(PROJECT, 100))).rows

        (self.rows, found), (rows, model) = (
            self.runner.run(look(driver)) for driver in (self.tested, self.model)
        )
        assert {name: run.status for name, run in self.rows.items()} == {
            name: run.status for name, run in rows.items()
        }
        assert [replace(one, seq=0) for one in found] == [replace(one, seq=0) for one in model]
        counted = self.deleted + Counter((run.batch_id, run.status.value) for run in rows.values())
        for batch in found:
            assert batch.counts == tuple(counted[batch.id, status] for status in COUNTED)
            assert (batch.completed_at is not None) == (batch.active == 0)
            if batch.completed_at is not None:
                assert self.completed.setdefault(batch.id, batch.completed_at) == batch.completed_at
            assert batch.id not in self.completed or batch.completed_at is not None


def test_counters_are_what_a_count_gives(drivers, engine):
    run_state_machine_as_test(lambda: BatchMachine(drivers), settings=SETTINGS)
