"""Random lives of schedules and their runs, in an engine and in memory as its model: both agree after every step, a
schedule is what its runs make of it, and every run's beginning and end is counts at once.
"""

import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from runstead.commands import changes
from runstead.core.errors import Error
from runstead.core.runs.flow import Debounce, Unique, wanted_keys
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transition import Want
from runstead.core.runs.transitions import Firing, fire, fire_due
from runstead.core.schedules.edits import Edit, delete, edit
from runstead.core.schedules.schedule import Schedule, begun, stored_flow
from runstead.ports.store import ScheduleQuery, Written, WrittenFiring

PROJECT = "11111111-1111-4111-8111-111111111111"
#: Memory is the model itself. PostgreSQL takes longest for each.
EXAMPLES = {"sqlite": 60, "postgres": 30}
SETTINGS = settings(
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TARGETS = (
    {"target_kind": "task"},
    {"target_kind": "workflow"},
    {"target_kind": "agent", "conversation_mode": "create_new"},
    {"target_kind": "agent", "conversation_mode": "existing", "conversation_id": "nowhere"},
)
#: Schedules of one target and key find each other's runs.
FLOWS = (
    None,
    stored_flow(Unique("k"), None),
    stored_flow(Unique("k", 90), None),
    stored_flow(None, Debounce("k", 30, 70)),
)
places = st.integers(0, 2)
keys = st.sampled_from("abcde")


class ScheduleMachine(RuleBasedStateMachine):
    def __init__(self, drivers):
        super().__init__()
        self.tested, self.model, self.clock, self.runner = drivers()
        self.changes_seen = ([], [])

    def teardown(self):
        self.runner.run(self.tested.store.close())
        self.runner.run(self.model.store.close())

    def both(self, command):
        """Give a command to both; what they refuse and what they change must agree."""
        results = []
        for driver, changes_seen in zip((self.tested, self.model), self.changes_seen, strict=True):
            try:
                outcome = self.runner.run(command(driver))
            except Error as refused:
                results.append((refused.code, [], []))
                continue
            found = outcome if isinstance(outcome, list) else [outcome]
            outcomes = [one.fired.outcome for one in found if isinstance(one, WrittenFiring)]
            found = [run for one in found for run in (getattr(one, "written", None) or [one])]
            found = [one for one in found if isinstance(one, Written)]
            new = [change for written in found for change in changes.of_written(written)]
            changes_seen.extend(new)
            results.append((None, outcomes, sorted(map(repr, new))))
        assert results[0] == results[1]
        return results[0][0]

    @initialize(
        chosen=st.lists(st.sampled_from(TARGETS), min_size=3, max_size=3),
        max_runs=st.sampled_from((None, 1, 2)),
        backoff_limit=st.sampled_from((0, 1)),
        policy=st.sampled_from(("Allow", "Forbid", "Replace")),
        flows=st.lists(st.sampled_from(FLOWS), min_size=3, max_size=3),
    )
    def schedules(self, chosen, max_runs, backoff_limit, policy, flows):
        self.names = [str(uuid.UUID(int=place)) for place in range(3)]
        for name, target, flow in zip(self.names, chosen, flows, strict=True):
            fields = {"max_runs": max_runs, "backoff_limit": backoff_limit, "timeout_seconds": 5, **target}
            fields |= {"concurrency_policy": policy}
            fields |= {"flow": None if target["target_kind"] == "agent" else flow}
            made = Schedule(
                id=name,
                project_id=PROJECT,
                name=name,
                target_id="t",
                schedule="* * * * *",
                created_at=1,
                updated_at=1,
                **fields,
            )
            for driver in (self.tested, self.model):
                self.runner.run(
                    driver.store.schedules.create(PROJECT, lambda _count, now, made=made: begun(made, now))
                )

    @rule(place=places, key=keys, elsewhere=st.booleans())
    def run_now(self, place, key, elsewhere):
        name = self.names[place]
        # One run id of two schedules is a conflict.
        run_id = f"shared-{key}" if elsewhere else f"{name}-{key}"
        firing = Firing(
            run_id=run_id,
            uid=run_id,
            message_id=f"m-{run_id}",
            conversation_id=f"c-{run_id}",
            trigger_kind="manual",
        )
        schedule = self.runner.run(self.tested.store.schedules.get(PROJECT, name))
        keys = None if schedule is None else wanted_keys(schedule.flow_control, schedule.target)
        want = Want(schedule_id=name, keys=keys)
        self.both(lambda d: d.runs.apply(d.key(run_id), lambda to: fire(to, firing), want))

    @rule(place=places, key=keys, status=st.sampled_from(("completed", "failed", "cancelled")))
    def complete(self, place, key, status):
        self.both(lambda d: d.complete(f"{self.names[place]}-{key}", status, error_code="E"))

    @rule(place=places, key=keys)
    def cancel(self, place, key):
        self.both(lambda d: d.cancel(f"{self.names[place]}-{key}"))

    @rule(limit=st.integers(1, 3))
    def claim(self, limit):
        ids = [
            self.runner.run(d.claim_ids(kinds=("task", "workflow"), lease_ms=5_000, limit=limit))
            for d in (self.tested, self.model)
        ]
        assert ids[0] == ids[1]

    @rule(limit=st.integers(1, 3))
    def fire_due(self, limit):
        self.both(lambda d: d.runs.fire(limit, fire_due))

    @rule(
        place=places,
        wanted=st.sampled_from(
            (
                Edit(status="paused", paused_reason="why"),
                Edit(status="active"),
                Edit(members={"schedule": "*/5 * * * *"}),
                Edit(members={"concurrency_policy": "Allow"}),
                Edit(flow={"unique": Unique("k"), "debounce": None}),
                Edit(flow={"unique": None}),
            )
        ),
    )
    def change(self, place, wanted):
        name = self.names[place]
        self.both(lambda d: d.store.schedules.change(PROJECT, name, lambda one, now: edit(one, wanted, now)))

    @rule(place=places, really=st.sampled_from((False, False, True)))
    def delete(self, place, really):
        if really:
            self.both(lambda d: d.store.schedules.change(PROJECT, self.names[place], delete))

    @rule(ms=st.sampled_from((1, 5_001, 60_000, 400_000)))
    def time_passes(self, ms):
        self.clock.advance_ms(ms)
        self.both(lambda d: d.enforce_deadlines())

    @invariant()
    def both_agree_and_a_schedule_is_what_its_runs_make_of_it(self):
        query = ScheduleQuery(PROJECT, 100)
        tested, model = (
            self.runner.run(d.store.schedules.page(query)).rows for d in (self.tested, self.model)
        )
        assert tested == model
        rows = self.runner.run(self.tested.rows())
        for schedule in tested:
            runs = [run for run in rows if run.schedule_id == schedule.id]
            assert schedule.run_count == len(runs)
            assert schedule.max_runs is None or len(runs) <= schedule.max_runs
            assert (schedule.completed_at is not None) == (len(runs) == schedule.max_runs)
            assert schedule.last_scheduled_at == max((run.created_at for run in runs), default=None)
            assert schedule.next_fire_at is None or schedule.fires or schedule.status == "deleting"
            scheduled = [run.scheduled_at for run in runs if run.scheduled_at is not None]
            assert len(scheduled) == len(set(scheduled))
            ends = {status: [r.completed_at for r in runs if r.status is status] for status in RunStatus}
            assert schedule.last_successful_at == max(ends[RunStatus.COMPLETED], default=None)
            if schedule.last_failure_at is None or schedule.last_failure_run_id is not None:
                assert schedule.last_failure_at == max(ends[RunStatus.FAILED], default=None)
            else:
                assert schedule.last_failure_code == "NOT_FOUND"  # a firing that could make no run

    @invariant()
    def beginnings_and_ends_are_hinted_at_once_and_in_order(self):
        rows = self.runner.run(self.tested.rows())
        counts = Counter(
            (change.type, change.run_id) for change in self.changes_seen[0] if change.type != "run.updated"
        )
        for run in rows:
            assert counts["run.created", run.run_id] == 1
            assert counts["run.completed", run.run_id] == run.terminal
        order = [(change.type, change.run_id) for change in self.changes_seen[0] if change.run_id is not None]
        for run in rows:
            mine = [kind for kind, run_id in order if run_id == run.run_id]
            assert mine[0] == "run.created"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part", [pytest.param(3, id="short"), pytest.param(1, id="long", marks=pytest.mark.long)]
)
def test_every_engine_keeps_schedules_as_the_model_does(drivers, engine, part):
    some = settings(SETTINGS, max_examples=EXAMPLES[engine] // part)
    run_state_machine_as_test(lambda: ScheduleMachine(drivers), settings=some)
