"""Random commands, given to an engine and to memory as its model: every outcome is the same, and what must always
hold about runs and their logs holds after each of them.
"""

import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.queue.fair_share import FairShare
from runstead.core.runs import retry_from, transitions
from runstead.core.runs.append import digest
from runstead.core.runs.event import PRIVATE_TYPES, NewEvent
from runstead.core.runs.flow import NO_FLOW, Debounce, Flow, Unique
from runstead.core.runs.run import RunStatus
from runstead.core.runs.signal import AwaitedEvent
from runstead.core.runs.transition import Want
from tests.support.store_driver import setting

from .engine_pair import EnginePair

#: Memory is the model itself. PostgreSQL takes longest for each.
EXAMPLES = {"sqlite": 80, "postgres": 50}
SETTINGS = settings(
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
PRIVATE = "AGENT_RUN_MODEL_CALL_CONTEXT"
TYPES = ("TEXT_MESSAGE_CONTENT", "RUN_STARTED", "CUSTOM", "progress", "stage", "total", PRIVATE)
ANSWERS = {"tool": "tool_result", "event": "event", "input": "input", "pause": "unpause"}
AGENT = {"kind": "agent", "implementation_kind": "python"}
PUSHED, PUSHED_TOO = ({"kind": "agent", "push_service_id": f"service-{n}"} for n in (1, 2))

dice = st.sampled_from((0.0, 0.5, 0.999))
places = st.integers(0, 60)
stretches = st.sampled_from((1, 700, 3_000, 9_999, 60_000, 400_000))


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


FLOWS = (
    *(NO_FLOW,) * 5,
    Flow(unique=Unique("u")),
    Flow(unique=Unique("u", 2)),
    Flow(debounce=Debounce("d", 3, 5)),
    *(Flow(concurrency_key=key) for key in ("k-1", "k-2")),
)
some = precondition(lambda self: self.rows)
several = precondition(lambda self: sum(not run.terminal for run in self.rows.values()) > 2)


async def retry(driver, source_id, from_step, run_id):
    """Store a retry of an ended run that goes on from a step."""
    source = await driver.row(source_id)
    copy = retry_from.Copy(source, from_step)
    copy.add(await driver.whole_log(source_id))
    new = driver.new_run(run_id, retry_of=source_id)
    log = copy.finish(run_id)

    def decide(loaded):
        made = transitions.create(
            new,
            now=loaded.now,
            parent=loaded.parent,
            family_cancelled=loaded.family_cancelled,
            message=None,
        )
        assert loaded.source.run_id == source_id
        return log.begin(made, source, loaded.now)

    want = Want(parent_run_id=source.parent_run_id, source_run_id=source_id)
    return (await driver.runs.apply(driver.key(run_id), decide, want)).run


class StoreMachine(EnginePair):
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
        flow=st.sampled_from(FLOWS),
        pinned=st.sampled_from((None, None, True)),
    )
    def create(self, kind, parent, backoff_limit, timeout_seconds, delay, worker_key, priority, flow, pinned):
        run_id = f"run-{next(self.names)}"
        parent = None if parent is None or not self.rows else self.pick(parent, lambda run: not run.terminal)
        available_at = None if delay is None else self.clock.now + delay
        fields = {
            "backoff_limit": backoff_limit,
            "timeout_seconds": timeout_seconds,
            "worker_key": worker_key,
            "priority": priority,
            "pinned": pinned,
        }
        if flow.concurrency_key is not None:
            flow, fields["target"] = (
                (NO_FLOW, None) if kind["kind"] == "agent" else (flow, f"{kind['kind']}:t")
            )
        outcome = self.both(
            lambda d: d.create(run_id, parent=parent, available_at=available_at, flow=flow, **fields, **kind)
        )
        if isinstance(outcome, Error):
            delayed = delay is not None or flow.debounce is not None
            driven = kind == {"kind": "agent"} and delayed
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
        version=st.sampled_from((None, "v1", "v2")),
    )
    def claim(self, patient, kinds, implementation_kind, worker_key, worker, lease_ms, limit, version):
        if patient:
            queued = (run.claimable_at for run in self.rows.values())
            self.move_to(min(at for at in queued if at is not None))
        query = {"kinds": kinds, "implementation_kind": implementation_kind, "worker_key": worker_key}
        query["version"] = version
        claimed = self.both(lambda d: d.claim(worker, lease_ms=lease_ms, limit=limit, **query))
        assert len({run.run_id for run in claimed}) == len(claimed) <= limit
        for run in claimed:
            before = self.rows[run.run_id]
            assert before.lease_expires_at is None, "a leased run was claimed"
            assert run.attempt == before.attempt + 1
            assert before.pinned_to in (None, version), "a run was claimed by another version than its own"
            self.tokens.setdefault(run.run_id, []).append(run.lease_token)

    @precondition(lambda self: any(dispatchable(run) for run in self.rows.values()))
    @rule(
        patient=st.booleans(),
        limit=st.integers(1, 3),
        busy=st.sampled_from(((), (), ("service-1",))),
        per_project=st.sampled_from((1, 9)),
        reached=st.sampled_from((True, True, False)),
        answer=st.sampled_from(
            (None, (None, {}), ("It answered 500", {}), ("It answered 400", {"final": True}))
        ),
    )
    def dispatch(self, patient, limit, busy, per_project, reached, answer):
        if patient:
            self.move_to(min(run.available_at for run in self.rows.values() if dispatchable(run)))
        found = self.both(lambda d: d.dispatch(limit, busy, reached=reached, per_project=per_project))
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
                arguments = (run.run_id, run.lease_token, reason)
                assert self.both(
                    lambda d, arguments=arguments, how=how: d.answered(*arguments, **how)
                ).transition.accepted

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
        """A cancel is delivered once."""
        run_id = self.pick(
            at, lambda run: run.cancel_requested_at is not None and run.cancel_stopped_at is None
        )
        self.both(lambda d: d.stopped_by_service(run_id))
        self.both(lambda d: d.runs.cancelled_pushes(FairShare(10)))

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
        if kind == "progress":
            return setting("run.progress", message=name)
        if kind in {"stage", "total"}:
            return setting("run.value", name=kind, value=name)
        payload = msgspec.json.encode({"type": kind, "name": name})
        return NewEvent(kind, payload, source="caller", private=kind in PRIVATE_TYPES)

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
            events.append(NewEvent("CUSTOM", payload, source="caller", key=key, digest=digest(payload)))
        after = None if cursor is None else max(0, run.latest_event_id - cursor)
        self.both(lambda d: d.append(run_id, *events, after=after))

    @some
    @rule(at=places, step_id=st.sampled_from(("1", "2.1.1", "2.2.1", "3")))
    def finish_step(self, at, step_id):
        """Steps, with a value between them, which a retry may copy."""
        run_id = self.pick(at, live)
        payload = msgspec.json.encode({"type": "STEP_FINISHED", "stepName": "s", "stepId": step_id})
        step = NewEvent("STEP_FINISHED", payload, source="worker")
        self.both(lambda d: d.append(run_id, step, self.event("stage", step_id)))

    @precondition(lambda self: any(run.terminal and run.event_bytes for run in self.rows.values()))
    @rule(at=places, step_id=st.sampled_from(("1", "2.2.1", "failed", "failed")))
    def retry(self, at, step_id):
        source = self.pick(at, lambda run: run.terminal and run.event_bytes)
        if not self.rows[source].terminal:
            return
        run_id = f"run-{next(self.names)}"
        made = self.both(lambda d: retry(d, source, step_id, run_id))
        if isinstance(made, Error):
            assert made.code in {"STEP_NOT_FOUND", "PARENT_CANCELLED"}
        elif made.retry_from is not None:
            assert made.latest_external_event_sequence == 0 < made.latest_event_id

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
            for known in (self.rows, self.logs, self.tokens, self.ended, self.sent, self.followed):
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
        events=st.lists(
            st.sampled_from((AwaitedEvent("paid", "call-1"), AwaitedEvent("sent", "call-2"))), max_size=2
        ),
    )
    def wait(self, at, reason, call, resume_in, expires_in, events):
        run_id = self.pick(at, live)
        resume_at = None if resume_in is None else self.clock.now + resume_in
        expires_at = None if expires_in is None else self.clock.now + expires_in
        options = {"call": call, "resume_at": resume_at, "expires_at": expires_at, "events": tuple(events)}
        self.both(lambda d: d.wait(run_id, reason, **options))

    @some
    @rule(
        at=places,
        name=st.sampled_from(("paid", "paid", "sent")),
        payload=st.sampled_from((b"1", b'"two"')),
        key=st.sampled_from((None, None, "a", "b")),
    )
    def signal(self, at, name, payload, key):
        run_id = self.pick(at, live)
        self.both(lambda d: d.signal(run_id, name, payload, key=key))
        self.both(lambda d: d.signals(run_id))

    @some
    @rule(
        at=places,
        undo=st.sampled_from(("task:undo", "workflow:undo")),
        key=st.sampled_from((None, None, "k")),
    )
    def compensate(self, at, undo, key):
        run_id = self.pick(at, live)
        self.both(lambda d: d.compensate(run_id, undo, key=key))
        self.both(lambda d: d.compensations(run_id))

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
        self.clock.advance_ms(ms)

    @precondition(lambda self: any(run.due_at is not None for run in self.rows.values()))
    @rule(limit=st.sampled_from((1, 2, 100)), dice=dice, exactly=st.booleans(), ms=stretches)
    def enforce_deadlines(self, limit, dice, exactly, ms):
        if exactly:
            self.move_to(min((run.due_at for run in self.rows.values() if run.due_at is not None), default=0))
        else:
            self.clock.advance_ms(ms)
        decided = self.both(lambda d: d.enforce_deadlines(limit, dice=dice))
        assert len(decided) <= limit


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part", [pytest.param(3, id="short"), pytest.param(1, id="long", marks=pytest.mark.long)]
)
def test_every_engine_does_what_the_model_does(drivers, engine, part):
    some = settings(SETTINGS, max_examples=EXAMPLES[engine] // part)
    run_state_machine_as_test(lambda: StoreMachine(drivers), settings=some)
