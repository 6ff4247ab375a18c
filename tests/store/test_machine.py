"""Random commands, given to an engine and to memory as its model: every outcome is the same, and what must always
hold about runs and their logs holds after each of them.
"""

import itertools

import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from runstead import limits
from runstead.append import digest
from runstead.commands.check import check
from runstead.conversation import Conversation
from runstead.errors import Error
from runstead.event import PRIVATE_TYPES, NewEvent
from runstead.run import RunStatus
from runstead.store import Written
from runstead.transitions import NO_FENCE, Fence
from runstead.webhook import Webhook, secret_of

#: Memory is the model itself. PostgreSQL takes longest for each.
EXAMPLES = {"memory": 20, "sqlite": 80, "postgres": 50}
SETTINGS = settings(
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
PROJECT = "11111111-1111-4111-8111-111111111111"
EVERYTHING = Webhook(PROJECT, PROJECT, "https://a.test", ("*",), secret_of(bytes(24)), 1, 1)
PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"
TYPES = ("TEXT_MESSAGE_CONTENT", "RUN_STARTED", "CUSTOM", PRIVATE)
ANSWERS = {"tool": "tool_result", "event": "event", "input": "input", "pause": "unpause"}
AGENT = {"kind": "agent", "implementation_kind": "python"}
PUSHED, PUSHED_TOO = ({"kind": "agent", "push_service_id": f"service-{n}"} for n in (1, 2))
ENDED = ("status", "completed_at", "duration_ms", "error", "output", "metadata", "latest_event_id")

dice = st.sampled_from((0.0, 0.5, 0.999))
places = st.integers(0, 60)
stretches = st.sampled_from((1, 700, 3_000, 9_999, 60_000, 400_000))


def shown(outcome):
    """An outcome without the numbers that are an engine's own."""
    if isinstance(outcome, Written):
        transition = outcome.transition
        told = (transition.accepted, transition.duplicate, transition.events, transition.ended)
        # A parent and its child may end in one command: what each engine counted by then is its own.
        alone = replace(outcome.run, descendants_total=0, descendants_active=0)
        return shown(alone), told, sorted(shown(list(outcome.cancelled)), key=lambda run: run.run_id)
    if isinstance(outcome, list):
        return [shown(one) for one in outcome]
    if isinstance(outcome, Error):
        return outcome.code
    steps = "/" * outcome.path.count("/")
    return replace(outcome, uid="", seq=0, parent_seq=None, root_seq=None, path=steps)


def live(run):
    return not run.terminal


def leased(run):
    return run.lease_expires_at is not None


def dispatchable(run):
    return run.push_service_id is not None and run.available_at is not None


def dispatched(run):
    return run.push_service_id is not None and run.lease_token is not None


def waiting(run):
    return run.status is RunStatus.WAITING


some = precondition(lambda self: self.rows)
several = precondition(lambda self: sum(not run.terminal for run in self.rows.values()) > 2)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, desks):
        super().__init__()
        self.tested, self.model, self.clock, self.runner = desks()
        self.rows = {}  # as the last step left them
        self.logs = {}
        self.tokens = {}  # run → every lease token it ever had, in order
        self.ended = {}  # run → what must never change again
        self.sent = {}  # run → the last append: (events, after)
        self.asked = 0
        for desk in (self.tested, self.model):
            conversation = Conversation("c-1", "p-1", "chat", 1, 1)
            self.runner.run(desk.store.conversations.create(conversation))
            self.runner.run(desk.store.webhooks.create(EVERYTHING, lambda _: None))
        self.names = itertools.count(1)
        self.told = {}  # run → what a follower of its family was told so far, and where it stands

    def every_change_of_status_was_told_once(self):
        """To a webhook that asked for everything: by both, and the end of each run that has ended."""

        async def told(desk):
            found = await desk.store.webhooks.deliveries(EVERYTHING.project_id, EVERYTHING.id, 100_000)
            return sorted((one.run_id, one.event_type, one.created_at) for one in found)

        events = self.runner.run(told(self.tested))
        assert events == self.runner.run(told(self.model))
        ends = [(run_id, kind) for run_id, kind, _ in events if kind not in {"run.started", "run.waiting"}]
        kept = {(run_id, f"run.{run.status.value}") for run_id, run in self.rows.items() if run.terminal}
        assert len(ends) == len(set(ends))
        assert kept <= set(ends)
        assert not {run_id for run_id, _ in ends} & {i for i, run in self.rows.items() if not run.terminal}

    def teardown(self):
        try:
            self.every_change_of_status_was_told_once()
            self.a_store_is_found_sound(self.tested)
        finally:
            self.close()

    def close(self):
        self.runner.run(self.tested.store.close())
        self.runner.run(self.model.store.close())
        self.runner.close()

    def both(self, command):
        """Give a command to both; their outcomes must agree."""
        outcomes = []
        for desk in (self.tested, self.model):
            try:
                outcomes.append(self.runner.run(command(desk)))
            except Error as refused:
                outcomes.append(refused)
        tested, model = outcomes
        assert shown(tested) == shown(model)
        return tested

    def fence(self, run_id, kind):
        run, tokens = self.rows[run_id], self.tokens.get(run_id, [])
        if kind == "none" or (kind == "current" and run.lease_token is None):
            return NO_FENCE
        if kind == "current":
            return Fence(run.attempt, run.lease_token)
        return Fence(None, tokens[0] if tokens else "made up")

    def pick(self, place, likely):
        """A run; three times out of four one for which the command makes sense, where there is one."""
        sensible = [run_id for run_id, run in self.rows.items() if likely(run)] if place % 4 else []
        pool = sensible or list(self.rows)
        return pool[place % len(pool)]

    def move_to(self, moment):
        self.clock.now = max(self.clock.now, moment)

    fences = st.sampled_from(("none", "current", "current", "stale"))

    @rule(
        kind=st.sampled_from(
            ({"kind": "task"}, {"kind": "eval"}, AGENT, {"kind": "agent"}, PUSHED, PUSHED_TOO)
        ),
        parent=st.none() | places,
        backoff_limit=st.sampled_from((None, 0, 1)),
        timeout_seconds=st.sampled_from((None, 2)),
        delay=st.sampled_from((None, 5_000)),
        worker_key=st.sampled_from((None, "w-1")),
        priority=st.sampled_from((0, 5)),
    )
    def create(self, kind, parent, backoff_limit, timeout_seconds, delay, worker_key, priority):
        run_id = f"run-{next(self.names)}"
        parent = None if parent is None or not self.rows else self.pick(parent, lambda run: not run.terminal)
        available_at = None if delay is None else self.clock.now + delay
        fields = {
            "backoff_limit": backoff_limit,
            "timeout_seconds": timeout_seconds,
            "worker_key": worker_key,
            "priority": priority,
        }
        outcome = self.both(
            lambda d: d.create(run_id, parent=parent, available_at=available_at, **fields, **kind)
        )
        if isinstance(outcome, Error):
            driven = kind == {"kind": "agent"} and delay is not None
            assert outcome.code in {"PARENT_CANCELLED", "INVALID_REQUEST" if driven else None}
            assert run_id not in self.rows

    @some
    @rule(at=places)
    def create_again(self, at):
        run_id = self.pick(at, live)
        parent = self.rows[run_id].parent_run_id
        assert self.both(lambda d: d.create(run_id, parent=parent)).run_id == run_id

    @precondition(lambda self: any(run.available_at is not None for run in self.rows.values()))
    @rule(
        patient=st.booleans(),
        kinds=st.sampled_from((("task",), ("agent",), ("eval", "agent", "task"), ("agent", "task"))),
        implementation_kind=st.sampled_from(("python", "python", None)),
        worker_key=st.sampled_from((None, "w-1")),
        worker=st.sampled_from(("ann", "bob")),
        lease_ms=st.sampled_from((5_000, 60_000)),
        limit=st.integers(1, 3),
    )
    def claim(self, patient, kinds, implementation_kind, worker_key, worker, lease_ms, limit):
        if patient:
            self.move_to(min(run.available_at for run in self.rows.values() if run.available_at is not None))
        query = {"kinds": kinds, "implementation_kind": implementation_kind, "worker_key": worker_key}
        claimed = self.both(lambda d: d.claim(worker, lease_ms=lease_ms, limit=limit, **query))
        assert len({run.run_id for run in claimed}) == len(claimed) <= limit
        for run in claimed:
            before = self.rows[run.run_id]
            assert before.lease_expires_at is None, "a leased run was claimed"
            assert run.attempt == before.attempt + 1
            self.tokens.setdefault(run.run_id, []).append(run.lease_token)

    @precondition(lambda self: any(dispatchable(run) for run in self.rows.values()))
    @rule(
        patient=st.booleans(),
        limit=st.integers(1, 3),
        busy=st.sampled_from(((), (), ("service-1",))),
        reached=st.sampled_from((True, True, False)),
        answer=st.sampled_from(
            (None, (None, {}), ("It answered 500", {}), ("It answered 400", {"final": True}))
        ),
    )
    def dispatch(self, patient, limit, busy, reached, answer):
        if patient:
            self.move_to(min(run.available_at for run in self.rows.values() if dispatchable(run)))
        found = self.both(lambda d: d.dispatch(limit, busy, reached=reached))
        for run in found:
            before = self.rows[run.run_id]
            assert before.push_service_id is not None
            assert before.push_service_id not in busy
            assert before.lease_expires_at is None
            assert run.attempt == before.attempt + reached
            if reached:
                self.tokens.setdefault(run.run_id, []).append(run.lease_token)
        if answer is not None and reached:
            for run in found:
                reason, how = answer
                told = (run.run_id, run.lease_token, reason)
                assert self.both(lambda d, told=told, how=how: d.answered(*told, **how)).transition.accepted

    @precondition(lambda self: any(dispatched(run) for run in self.rows.values()))
    @rule(
        at=places, reason=st.sampled_from((None, "It answered 500")), final=st.booleans(), late=st.booleans()
    )
    def answered(self, at, reason, final, late):
        run_id = self.pick(at, dispatched)
        tokens = self.tokens.get(run_id) or ["made up"]
        how = {} if reason is None else {"final": final}
        self.both(lambda d: d.answered(run_id, tokens[0 if late else -1], reason, **how))

    @some
    @rule(at=places)
    def stop(self, at):
        """What a cancel leaves to be told is told once."""
        run_id = self.pick(
            at, lambda run: run.cancel_requested_at is not None and run.cancel_stopped_at is None
        )
        self.both(lambda d: d.stopped_by_service(run_id))
        self.both(lambda d: d.runs.cancelled_pushes(10, ()))

    @some
    @rule(
        at=places,
        types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=4),
        cursor=st.sampled_from(("none", "right", "behind", "ahead", "sequence", "wrong sequence", "both")),
        fence=fences,
    )
    def append(self, at, types, cursor, fence):
        run_id = self.pick(at, live)
        run = self.rows[run_id]
        events = tuple(self.event(kind, f"{run.latest_event_id}.{n}") for n, kind in enumerate(types))
        after = {"right": 0, "both": 0, "behind": -1, "ahead": 1}.get(cursor)
        after = None if after is None else max(0, run.latest_event_id + after)
        sequence = {"sequence": 0, "both": 0, "wrong sequence": 1}.get(cursor)
        sequence = None if sequence is None else run.latest_external_event_sequence + sequence
        options = {"after": after, "sequence": sequence, "fence": self.fence(run_id, fence)}
        outcome = self.both(lambda d: d.append(run_id, *events, **options))
        if not isinstance(outcome, Error) and after is not None:
            self.sent[run_id] = events, after

    def event(self, kind, name):
        payload = msgspec.json.encode({"type": kind, "name": name})
        return NewEvent(kind, payload, external=True, private=kind in PRIVATE_TYPES)

    @some
    @rule(
        at=places,
        sent=st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from((1, 1, 1, 2))), min_size=1, max_size=3
        ),
        cursor=st.sampled_from((None, 0, 1)),
    )
    def append_keyed(self, at, sent, cursor):
        run_id = self.pick(at, live)
        run = self.rows[run_id]
        events = []
        for key, n in sent:
            payload = msgspec.json.encode({"type": "CUSTOM", "idempotency_key": key, "n": n})
            events.append(NewEvent("CUSTOM", payload, external=True, key=key, digest=digest(payload)))
        after = None if cursor is None else max(0, run.latest_event_id - cursor)
        self.both(lambda d: d.append(run_id, *events, after=after))

    @some
    @rule(at=places)
    def pause(self, at):
        run_id = self.pick(at, live)
        self.both(lambda d: d.pause(run_id))

    @some
    @rule(at=places)
    def delete(self, at):
        run_id = self.pick(at, lambda run: run.terminal and not run.descendants_total)
        if not isinstance(self.both(lambda d: d.delete(run_id)), Error):
            for known in (self.rows, self.logs, self.tokens, self.ended, self.sent, self.told):
                known.pop(run_id, None)

    @precondition(lambda self: self.sent)
    @rule(at=places, more=st.integers(0, 2))
    def append_again(self, at, more):
        run_id = list(self.sent)[at % len(self.sent)]
        events, after = self.sent[run_id]
        added = tuple(self.event("CUSTOM", f"more {after}.{n}") for n in range(more))
        before = self.rows[run_id]
        outcome = self.both(lambda d: d.append(run_id, *events, *added, after=after))
        if more == 0:
            assert outcome.transition.duplicate
            assert outcome.run == before

    @some
    @rule(at=places, worker=st.sampled_from((None, "ann", "bob")), fence=fences)
    def renew(self, at, worker, fence):
        run_id = self.pick(at, leased)
        given = self.fence(run_id, fence)
        self.both(lambda d: d.renew(run_id, worker=worker, fence=given))

    @some
    @rule(at=places, fence=fences, retry_after_ms=st.sampled_from((None, 0, 4_000)), dice=dice)
    def release(self, at, fence, retry_after_ms, dice):
        run_id = self.pick(at, leased)
        options = {"fence": self.fence(run_id, fence), "retry_after_ms": retry_after_ms, "dice": dice}
        self.both(lambda d: d.release(run_id, **options))

    @some
    @rule(
        at=places,
        reason=st.sampled_from(("tool", "event", "input")),
        call=st.sampled_from(("call-1", "call-2", None)),
        resume_in=st.none() | stretches,
        expires_in=st.none() | stretches,
    )
    def wait(self, at, reason, call, resume_in, expires_in):
        run_id = self.pick(at, live)
        resume_at = None if resume_in is None else self.clock.now + resume_in
        expires_at = None if expires_in is None else self.clock.now + expires_in
        options = {"call": call, "resume_at": resume_at, "expires_at": expires_at}
        self.both(lambda d: d.wait(run_id, reason, **options))

    @some
    @rule(
        at=places,
        kind=st.sampled_from(("the right one", "the right one", "tool_result", "event", "input")),
        call=st.sampled_from(("call-1", "call-2")),
        result=st.sampled_from(("one", "two")),
    )
    def resume(self, at, kind, call, result):
        run_id = self.pick(at, waiting)
        if kind == "the right one":
            run = self.rows[run_id]
            kind = ANSWERS.get(run.waiting_reason, "tool_result")
            call = run.waiting_tool_call_id or call
        self.both(lambda d: d.resume(run_id, kind, call=call, result=result))

    @some
    @rule(
        at=places,
        call=st.sampled_from(("call-1", "call-3")),
        title=st.sampled_from(("Who?", "What?")),
        expires_in=st.none() | stretches,
    )
    def ask(self, at, call, title, expires_in):
        run_id = self.pick(at, live)
        expires_at = None if expires_in is None else self.clock.now + expires_in
        self.asked += 1
        request_id, options = f"i-{self.asked}", {"call": call, "title": title, "expires_at": expires_at}
        self.both(lambda d: d.ask(run_id, request_id, **options))

    @precondition(lambda self: self.asked and self.rows)
    @rule(
        at=places,
        other=st.integers(0, 9),
        act=st.sampled_from(("respond", "respond", "cancel_input")),
        values=st.sampled_from((b"{}", b'{"a":1}')),
    )
    def answer(self, at, other, act, values):
        run_id = self.pick(at, lambda run: run.waiting_input_id is not None)
        request_id = self.rows[run_id].waiting_input_id or f"i-{self.asked - other}"
        given = (values,) if act == "respond" else ()
        self.both(lambda d: getattr(d, act)(run_id, request_id, *given))

    @some
    @rule(at=places)
    def start(self, at):
        run_id = self.pick(at, live)
        self.both(lambda d: d.start(run_id))

    @several
    @rule(
        at=places,
        status=st.sampled_from(("completed", "failed", "cancelled")),
        message=st.sampled_from((None, "it broke")),
        output=st.sampled_from((None, b"1", b'"' + b"x" * limits.output_bytes_max + b'"')),
        fence=fences,
    )
    def complete(self, at, status, message, output, fence):
        run_id = self.pick(at, live)
        options = {"error_message": message, "output": output, "fence": self.fence(run_id, fence)}
        self.both(lambda d: d.complete(run_id, status, **options))

    @several
    @rule(at=places, reason=st.sampled_from((None, "enough")))
    def cancel(self, at, reason):
        run_id = self.pick(at, live)
        self.both(lambda d: d.cancel(run_id, reason))

    @rule(ms=stretches)
    def time_passes(self, ms):
        self.clock.advance(ms)

    @precondition(lambda self: any(run.due_at is not None for run in self.rows.values()))
    @rule(limit=st.sampled_from((1, 2, 100)), dice=dice, exactly=st.booleans(), ms=stretches)
    def referee(self, limit, dice, exactly, ms):
        if exactly:
            self.move_to(min((run.due_at for run in self.rows.values() if run.due_at is not None), default=0))
        else:
            self.clock.advance(ms)
        decided = self.both(lambda d: d.referee(limit, dice=dice))
        assert len(decided) <= limit

    @invariant()
    def what_must_always_hold(self):
        self.both_hold_the_same_rows()
        self.an_end_is_for_ever()
        self.a_store_is_found_sound(self.model)  # and the tested one is the same
        self.a_key_is_stored_once()
        self.a_run_has_one_live_lease_at_most()
        self.attempts_stay_within_their_limit()
        self.a_request_is_answered_exactly_when_it_says_so()

    def a_request_is_answered_exactly_when_it_says_so(self):
        async def requests(desk):
            return await desk.store.inputs.page("c-1", None, None, 1_000)

        found = self.runner.run(requests(self.tested))
        model = self.runner.run(requests(self.model))
        assert [replace(one, seq=0, run_seq=0) for one in found] == [
            replace(one, seq=0, run_seq=0) for one in model
        ]
        for one in found:
            assert (one.response is not None) == (one.status == "submitted")

    def both_hold_the_same_rows(self):
        async def look(desk):
            return await desk.rows()

        rows = self.both(look)
        seen = {run.run_id: run for run in rows}
        assert self.rows.keys() <= seen.keys()
        changed = [run_id for run_id, run in seen.items() if self.rows.get(run_id) != run]
        self.rows = seen
        for run_id in changed:
            logs = [self.runner.run(desk.whole_log(run_id)) for desk in (self.tested, self.model)]
            assert logs[0] == logs[1]
            public = self.runner.run(self.tested.log(run_id))
            assert public == [e for e in logs[0] if not e.private]
            self.logs[run_id] = logs[0]
            self.attempts_agree(seen[run_id])
        if changed:
            self.a_family_is_told_whole_and_once()

    def a_family_is_told_whole_and_once(self):
        for run_id, run in self.rows.items():
            told, place = self.told.get(run_id, ([], 0))
            more, place = self.runner.run(self.tested.family(run_id, place, step=2))
            told = [one for one in told + more if one[0] in self.rows]
            self.told[run_id] = told, place
            assert (told, place) == self.runner.run(self.model.family(run_id))
            members = [one for one in self.rows.values() if one is run or f"/{run.seq}/" in one.path]
            public = {(m.run_id, e.event_id) for m in members for e in self.logs[m.run_id] if not e.private}
            assert {one[:2] for one in told} == public
            assert len(told) == len(public)
            positions = [one[2] for one in told]
            assert positions == sorted(set(positions))

    def a_key_is_stored_once(self):
        for log in self.logs.values():
            values = [msgspec.json.decode(stored.payload) for stored in log]
            keys = [value["idempotency_key"] for value in values if "idempotency_key" in value]
            assert len(keys) == len(set(keys))

    def attempts_agree(self, run):
        async def ended(desk):
            row = await desk.row(run.run_id)
            return await desk.runs.attempts(row.seq)

        kept = self.runner.run(ended(self.tested))
        assert kept == self.runner.run(ended(self.model))
        lost = [attempt for attempt in kept if attempt.outcome not in {"parked", "paused", "dispatch_failed"}]
        assert run.attempts_lost == len(lost)
        assert [attempt.attempt for attempt in kept] == sorted({attempt.attempt for attempt in kept})

    def a_store_is_found_sound(self, desk):
        async def violations():
            return [violation async for violation in check(desk.store)]

        assert self.runner.run(violations()) == []

    def an_end_is_for_ever(self):
        for run_id, run in self.rows.items():
            facts = tuple(getattr(run, name) for name in ENDED)
            if run_id in self.ended:
                assert facts == self.ended[run_id]
            elif run.terminal:
                self.ended[run_id] = facts

    def a_run_has_one_live_lease_at_most(self):
        for run_id, tokens in self.tokens.items():
            run = self.rows[run_id]
            assert len(tokens) == len(set(tokens)) == run.attempt
            for token in tokens:
                try:
                    Fence(token=token).check(run)
                except Error:
                    continue
                assert token == tokens[-1] == run.lease_token
            if run.lease_live(self.clock.now):
                assert run.lease_token == tokens[-1]

    def attempts_stay_within_their_limit(self):
        for run in self.rows.values():
            limit = run.backoff_limit
            allowed = limits.attempts_default_after_lease_loss if limit is None else limit
            assert run.attempts_lost <= allowed + run.terminal
            assert run.attempts_lost <= run.attempt


@pytest.mark.timeout(300)
def test_every_engine_does_what_the_model_does(desks, engine):
    some = settings(SETTINGS, max_examples=EXAMPLES[engine])
    run_state_machine_as_test(lambda: StoreMachine(desks), settings=some)
