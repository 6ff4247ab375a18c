"""Invariants of a run under any sequence of commands at any times."""

import msgspec
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.event import TERMINAL_TYPES
from runstead.core.runs.run import RunStatus
from runstead.core.runs.transitions import NO_FENCE, IfMatch
from tests.support.examples import examples

from .run_builder import NOON, RunBuilder, event

ENDS = ("completed", "failed", "cancelled")
DICE = st.sampled_from((0.0, 0.5, 0.999))
PAST_OR_SOON = st.none() | st.sampled_from((0, 1_000, 90_000))


class Machine(RuleBasedStateMachine):
    @initialize(
        kind=st.sampled_from(("task", "agent")),
        implementation_kind=st.sampled_from((None, "claude")),
        push_service_id=st.sampled_from((None, "service-1")),
        status=st.sampled_from((RunStatus.PENDING, RunStatus.RUNNING)),
        timeout_seconds=st.none() | st.integers(1, 120),
        backoff_limit=st.none() | st.integers(0, 3),
    )
    def create(self, kind, status, push_service_id, **fields):
        if kind == "task":
            status = RunStatus.PENDING
        elif fields["implementation_kind"] is None and status is RunStatus.PENDING:
            fields["push_service_id"] = push_service_id
        self.builder = RunBuilder(kind=kind, status=status, **fields)
        self.outcome = None
        self.version = self.builder.run.version

    def attempt(self, act, *args, fence=None, **named):
        """Apply a rule, which may be refused. A superseded fence must not write."""
        before, stale = self.builder.run, fence is not None and not self.current(fence)
        try:
            act(*args, **(named if fence is None else {**named, "fence": fence}))
        except Error:
            assert self.builder.run is before
        else:
            assert not stale or self.builder.run is before
        if stale:
            assert self.builder.run is before, "a superseded attempt wrote"

    def current(self, fence):
        run = self.builder.run
        if fence is NO_FENCE:
            return True
        return fence.token == run.lease_token and fence.attempt == run.attempt

    def any_fence(self, data):
        return data.draw(st.sampled_from([NO_FENCE, *self.builder.fences[-3:]]), label="fence")

    @rule(ms=st.sampled_from((1, 500, 5_000, 60_000, 400_000)))
    def time_passes(self, ms):
        self.builder.later(ms)

    @property
    def pushed(self):
        return self.builder.run.push_service_id is not None

    @precondition(lambda self: self.builder.claimable and self.pushed)
    @rule(reached=st.booleans(), dice=DICE)
    def dispatch(self, reached, dice):
        failures = self.builder.run.push_failures
        self.builder.dispatch(reached=reached, dice=dice)
        assert self.builder.run.push_failures == failures + (not reached)

    @precondition(lambda self: self.pushed and self.builder.fences)
    @rule(data=st.data(), final=st.booleans(), delivered=st.booleans(), dice=DICE)
    def answer(self, data, final, delivered, dice):
        """The outcome of a dispatch, which may be late."""
        fence = data.draw(st.sampled_from(self.builder.fences[-3:]))
        before = self.builder.run
        if delivered:
            self.builder.dispatched(fence.token)
        else:
            self.builder.undelivered(fence.token, final=final, dice=dice)
        assert self.builder.run is before or (self.builder.fences[-1] is fence and not before.terminal)

    @rule()
    def stop(self):
        before = self.builder.run
        self.builder.stopped_by_service()
        assert before is self.builder.run or self.builder.run.cancel_stopped_at is not None

    @precondition(lambda self: self.builder.claimable and not self.pushed)
    @rule(worker=st.sampled_from("ab"), lease_ms=st.sampled_from((5_000, 60_000)))
    def claim(self, worker, lease_ms):
        attempt = self.builder.run.attempt
        self.builder.claim(worker, lease_ms)
        assert self.builder.run.attempt == attempt + 1

    @rule(data=st.data(), worker=st.sampled_from((None, "a", "b")), lease_ms=st.none() | st.just(9_000))
    def renew(self, data, worker, lease_ms):
        self.attempt(self.builder.renew, worker=worker, lease_ms=lease_ms, fence=self.any_fence(data))

    @rule(data=st.data(), worker=st.sampled_from((None, "a", "b")), dice=DICE)
    def release(self, data, worker, dice):
        self.attempt(self.builder.release, worker=worker, dice=dice, fence=self.any_fence(data))

    @rule(dice=DICE)
    def enforce_deadlines(self, dice):
        due = self.builder.run.due_at
        refereed = self.builder.enforce_deadlines(dice)
        assert refereed.accepted == (due is not None and due <= self.builder.now)
        assert self.builder.run.due_at is None or self.builder.run.due_at > due or self.builder.now < due

    @rule()
    def start(self):
        self.attempt(self.builder.start)

    @rule(
        data=st.data(),
        reason=st.sampled_from(("tool", "event")),
        call=st.sampled_from((None, "c1", "c2")),
        resume_in=PAST_OR_SOON,
        expires_in=PAST_OR_SOON,
    )
    def wait(self, data, reason, call, resume_in, expires_in):
        now = self.builder.now
        self.attempt(
            self.builder.wait,
            reason,
            call=call,
            resume_at=None if resume_in is None else now + resume_in,
            expires_at=None if expires_in is None else now + expires_in,
            fence=self.any_fence(data),
        )

    @rule(
        kind=st.sampled_from(("tool_result", "event", "timer", "unpause")),
        call=st.sampled_from((None, "c1", "c2")),
        result=st.sampled_from("xy"),
    )
    def resume(self, kind, call, result):
        self.attempt(self.builder.resume, result, kind=kind, call=call)

    @rule()
    def pause(self):
        before = self.builder.run
        self.attempt(self.builder.pause)
        run = self.builder.run
        if run is not before:
            assert run.paused
            assert run.lease_token is None
            assert run.attempts_lost == before.attempts_lost, "a pause costs no attempt"

    @precondition(lambda self: self.builder.run.paused)
    @rule(ms=st.sampled_from((0, 60_000)))
    def unpause(self, ms):
        place, queued = self.builder.run.paused_available_at, self.builder.run.implementation_kind
        self.builder.later(ms)
        self.builder.unpause()
        if self.builder.run.kind == "task" or queued is not None:
            assert self.builder.run.available_at == (self.builder.now if place is None else place)

    @rule(
        sent=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from((1, 1, 2))), min_size=1, max_size=3),
        back=st.none() | st.integers(-1, 2),
    )
    def append_keyed(self, sent, back):
        run, known = self.builder.run, dict(self.builder.keys)
        events = [event("CUSTOM", key=key, n=n) for key, n in sent]
        after = None if back is None else max(run.latest_event_id - back, 0)
        self.attempt(self.builder.append, *events, after=after)
        if all(known.get(one.key) == one.digest for one in events):
            assert self.builder.run is run, "what is stored under its key is not stored again"

    @rule(title=st.sampled_from((None, "a", "b")), version=st.integers(-1, 1))
    def rename(self, title, version):
        run = self.builder.run
        self.attempt(self.builder.rename, title=title, if_match=IfMatch(frozenset({run.version + version})))
        assert self.builder.run.title in (run.title, title)
        assert version == 0 or self.builder.run is run

    @rule(descendants=st.integers(0, 1))
    def delete(self, descendants):
        run = replace(self.builder.run, descendants_total=descendants)
        try:
            transition = transitions.delete(run)
        except Error:
            assert descendants or not run.terminal
        else:
            assert transition.deletes
            assert run.terminal

    @rule(
        data=st.data(),
        call=st.sampled_from(("c1", "c2", "c3")),
        title=st.sampled_from("pq"),
        expires_in=st.none() | st.sampled_from((0, 1_000, 90_000)),
    )
    def ask(self, data, call, title, expires_in):
        expires_at = None if expires_in is None else self.builder.now + expires_in
        fence = self.any_fence(data)
        self.attempt(self.builder.ask, call, title=title, expires_at=expires_at, fence=fence)

    @precondition(lambda self: self.builder.inputs)
    @rule(data=st.data(), values=st.sampled_from((b"{}", b'{"a":1}')))
    def respond(self, data, values):
        self.attempt(self.builder.respond, data.draw(st.sampled_from(sorted(self.builder.inputs))), values)

    @precondition(lambda self: self.builder.inputs)
    @rule(data=st.data())
    def cancel_input(self, data):
        self.attempt(self.builder.cancel_input, data.draw(st.sampled_from(sorted(self.builder.inputs))))

    @rule(
        data=st.data(),
        types=st.lists(
            st.sampled_from(("CUSTOM", "RUN_STARTED", "AGENT_RUN_MODEL_CALL_CONTEXT")), min_size=1, max_size=3
        ),
        back=st.none() | st.integers(-1, 3),
        sequence_back=st.none() | st.integers(0, 1),
    )
    def append(self, data, types, back, sequence_back):
        run = self.builder.run
        self.attempt(
            self.builder.append,
            *map(event, types),
            after=None if back is None else max(run.latest_event_id - back, 0),
            sequence=None
            if sequence_back is None
            else max(run.latest_external_event_sequence - sequence_back, 0),
            fence=self.any_fence(data),
        )

    @rule(data=st.data(), status=st.sampled_from(ENDS), code=st.sampled_from((None, "C")))
    def complete(self, data, status, code):
        self.attempt(self.builder.complete, status, error_code=code, fence=self.any_fence(data))

    @rule()
    def cancel(self):
        was_over = self.builder.run.terminal
        assert self.builder.cancel().accepted is not was_over

    @invariant()
    def an_end_is_for_ever(self):
        run = self.builder.run
        outcome = (run.status, run.completed_at, run.duration_ms, run.error, run.output, run.latest_event_id)
        if self.outcome is not None:
            assert outcome == self.outcome
        elif run.terminal:
            self.outcome = outcome
        assert sum(status.value in ENDS for status in self.builder.states) <= 1

    @invariant()
    def the_row_matches_its_events(self):
        run, log = self.builder.run, self.builder.log
        assert [one.event_id for one in log] == list(range(1, run.latest_event_id + 1))
        assert run.latest_external_event_sequence == sum(one.external and not one.private for one in log)
        ends = [one for one in log if one.type in TERMINAL_TYPES]
        assert len(ends) == run.terminal
        if run.terminal:
            assert log[-1] is ends[0], "nothing follows the end"
            assert (ends[0].type == "RUN_FINISHED") == (run.status is RunStatus.COMPLETED)
            if run.status is RunStatus.FAILED:
                error, payload = msgspec.json.decode(run.error), msgspec.json.decode(ends[0].payload)
                assert (error["message"], error.get("code")) == (payload["message"], payload.get("code"))

    @invariant()
    def at_most_one_worker_holds_the_run(self):
        run = self.builder.run
        if run.lease_expires_at is not None and not run.terminal:
            assert run.status in (RunStatus.RUNNING, RunStatus.WAITING)
            assert run.lease_token == self.builder.fences[-1].token
            assert run.available_at is None, "it is not offered to another"
        assert len({fence.token for fence in self.builder.fences}) == run.attempt == len(self.builder.fences)

    @invariant()
    def attempts_stay_within_the_limit(self):
        run = self.builder.run
        lost = sum(
            ended.outcome not in {"parked", "paused", "dispatch_failed"} for ended in self.builder.ended
        )
        assert lost == run.attempts_lost <= run.attempt
        if run.status is RunStatus.PENDING:
            assert lost <= (3 if run.backoff_limit is None else run.backoff_limit)
        assert run.push_failures <= limits.dispatch_tries_max
        numbers = [ended.attempt for ended in self.builder.ended]
        assert numbers == sorted(set(numbers)), "an attempt ends once"

    @invariant()
    def the_deadline_is_the_earliest_of_all(self):
        assert self.builder.run.due_at == transitions.due_at(self.builder.run)

    @invariant()
    def a_run_waits_exactly_while_it_has_a_reason(self):
        run = self.builder.run
        assert (run.waiting_reason is not None) == (run.status is RunStatus.WAITING)
        if run.status is not RunStatus.WAITING:
            assert (run.waiting_tool_call_id, run.wait_expires_at, run.resume_at) == (None, None, None)
        if not run.paused:
            assert run.paused_available_at is None

    @invariant()
    def a_request_is_open_exactly_while_the_run_waits_for_it(self):
        run, inputs = self.builder.run, self.builder.inputs
        held = [] if run.waiting_input_id is None else [run.waiting_input_id]
        assert [one.id for one in inputs.values() if one.status == "open"] == held
        assert not held or (run.status, run.waiting_reason) == (RunStatus.WAITING, "input")
        for one in inputs.values():
            assert (one.ended_at is None) == (one.status == "open")
            assert (one.response is not None) == (one.status == "submitted")
        assert len({one.tool_call_id for one in inputs.values()}) == len(inputs)

    @invariant()
    def every_write_increases_the_version_and_no_time_decreases(self):
        run = self.builder.run
        assert run.version >= self.version
        self.version = run.version
        assert run.updated_at >= NOON
        assert run.duration_ms is None or run.duration_ms >= 0
        assert run.completed_at is None or run.terminal

    @invariant()
    def a_queued_run_is_always_leased_or_available(self):
        run = self.builder.run
        if not run.queued:
            assert run.available_at is None
        elif run.status in (RunStatus.PENDING, RunStatus.RUNNING):
            assert (run.available_at is None) == (run.lease_expires_at is not None)


Machine.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
