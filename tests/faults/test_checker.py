"""The checker finds each kind of violation that is planted into a history. Times are in seconds."""

import itertools
import math

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from . import checker, model
from .checker import UndecidedError, linearizable, minimal
from .history import Answer, Operation, RunSnapshot, Sent, load, render, save
from .operations import (
    ADA,
    BOB,
    RUN,
    appended,
    children,
    claimed,
    compensated,
    completed,
    created,
    op,
    read,
    signalled,
    snapshot,
    waited,
)

UNDONE = [created(), claimed(1), compensated(2, "a", attempt=1), compensated(2.2, "b")]
LIFE = [
    created(0),
    claimed(1),
    appended(2, "a", events=1),
    appended(3, "b", "c", events=3),
    completed(4, "won", 4),
    read(5, "a", "b", "c", "RUN_FINISHED"),
]


def test_a_history_without_faults_is_linearizable():
    assert linearizable(LIFE)


FINE = {
    "a claim after the lease and the backoff": [
        created(),
        claimed(1),
        claimed(6.6, BOB, 2),
        op("append", 7, refused="ATTEMPT_SUPERSEDED", labels=("late",), attempt=1),
        op("heartbeat", 7, refused="ATTEMPT_SUPERSEDED", attempt=1, lease_s=5),
    ],
    "an expired lease that was not enforced is renewed": [
        created(),
        claimed(1),
        op("heartbeat", 9, answer=Answer(snapshot("running", 1, 0, ADA)), attempt=1, lease_s=5),
    ],
    "a pinned run is claimed again by its version": [
        created(pinned=True),
        claimed(1, version="v0"),
        claimed(6.6, BOB, 2, version="v0"),
    ],
    "a run without a pin moves on": [created(), claimed(1, version="v0"), claimed(6.6, BOB, 2, version="v1")],
    "a claim without an answer took the run": [
        created(),
        op("claim", 1, worker=ADA, lease_s=5),
        op("get", 2, answer=Answer(snapshot("running", 1, 0, ADA))),
    ],
    "an append without an answer never happened": [
        created(),
        claimed(1),
        op("append", 2, labels=("x",)),
        read(3),
    ],
    "an append without an answer happens much later": [
        created(),
        claimed(1),
        op("append", 2, labels=("x",)),
        read(3),
        appended(3.5, "y", events=1),
        read(4, "y", "x"),
    ],
    "an append without an answer is sent again, and was stored the first time": [
        created(),
        claimed(1),
        op("append", 2, labels=("x",), after=0),
        op("append", 3, answer=Answer(snapshot("running", 1, 1, ADA), appended=0), labels=("x",), after=0),
        read(4, "x"),
    ],
    "two completions at once have one winner": [
        created(),
        claimed(1),
        completed(2, "one", 1, until=3),
        completed(2, "two", 1, status="completed", wanted="failed", by="one", accepted=False, until=3),
    ],
    "the fourth lost attempt but one is the last": [
        created(),
        claimed(1),
        claimed(7, BOB, 2),
        claimed(14, ADA, 3),
        claimed(22, BOB, 4),
        op("get", 30, answer=Answer(snapshot("failed", 4, 1, None, None, "LEASE_EXPIRED", "t1"))),
    ],
    "signals are taken in order, and the last by the run that waits": [
        created(),
        signalled(0.5, "a"),
        claimed(1),
        signalled(1.5, "b"),
        waited(2, "c-1", "running", 1, taken="a"),
        waited(3, "c-2", "running", 2, taken="b"),
        waited(4, "c-3", "waiting", 2),
        signalled(5, "c", delivered=True),
        signalled(5.5, "c", delivered=True, duplicate=True),
        read(6, "a for c-1", "b for c-2", "c for c-3"),
    ],
    "a signal without an answer is sent again, and was stored the first time": [
        created(),
        op("signal", 0.5, label="a"),
        signalled(0.7, "a", duplicate=True),
        claimed(1),
        waited(2, "c-1", "running", 1, taken="a"),
    ],
    "a compensation without an answer is registered again, and the server creates all, last first": [
        *UNDONE,
        op("compensate", 2.5, label="c"),
        compensated(2.7, "c", duplicate=True),
        children(3),
        completed(4, "x", 1, status="failed"),
        children(5, "c", "b held", "a held"),
        compensated(6, "c", duplicate=True),
        op("compensate", 7, label="d", refused="RUN_NOT_ACTIVE"),
    ],
    "a completed run has no compensations": [*UNDONE, completed(4, "x", 1), children(5)],
    "a release gives the run to the next at once": [
        created(),
        claimed(1),
        op(
            "release",
            2,
            answer=Answer(RunSnapshot("pending", 1, 0, brief=True)),
            worker=ADA,
            attempt=1,
            retry_after_s=0,
        ),
        claimed(2.2, BOB, 2),
    ],
}


@pytest.mark.parametrize("history", FINE)
def test_a_history_that_the_documentation_allows_is_linearizable(history):
    assert linearizable(FINE[history])


KEPT = [created(), signalled(0.5, "a"), claimed(1)]
FAILED = [*UNDONE, completed(4, "x", 1, status="failed")]
PLANTED = {
    "a pinned run is claimed by another version": [
        created(pinned=True),
        claimed(1, version="v0"),
        claimed(6.6, BOB, 2, version="v1"),
    ],
    "lost compensation": [*FAILED, children(5, "b")],
    "compensation created twice": [*FAILED, children(5, "b", "a held", "a held")],
    "compensations out of order": [*FAILED, children(5, "a", "b held")],
    "compensations at the same time": [*FAILED, children(5, "b", "a")],
    "compensation of a completed run": [*UNDONE, completed(4, "x", 1), children(5, "b", "a held")],
    "repeated compensation registered twice": [*UNDONE, compensated(3, "a")],
    "lost signal": [*KEPT, waited(2, "c-1", "waiting", 0)],
    "signal taken twice": [
        *KEPT,
        waited(2, "c-1", "running", 1, taken="a"),
        waited(3, "c-2", "running", 2, taken="a"),
    ],
    "signals out of order": [*KEPT, signalled(1.5, "b"), waited(2, "c-1", "running", 1, taken="b")],
    "repeated signal kept twice": [*KEPT, signalled(1.5, "a")],
    "signal kept beside a wait": [
        *KEPT,
        waited(2, "c-1", "running", 1, taken="a"),
        waited(3, "c-2", "waiting", 1),
        signalled(4, "b"),
    ],
    "double claim": [created(), claimed(1), claimed(2, BOB, 1)],
    "double claim, both at once": [created(), claimed(1, until=2), claimed(1, BOB, until=2)],
    "claim by another while the lease lives": [created(), claimed(1), claimed(4, BOB, 2)],
    "claim by another while a renewed lease lives": [
        created(),
        claimed(1),
        op("heartbeat", 5, answer=Answer(snapshot("running", 1, 0, ADA)), attempt=1, lease_s=5),
        claimed(7, BOB, 2),
    ],
    "claim before the backoff is over": [created(), claimed(1), claimed(6.0, BOB, 2)],
    "attempt lost without a lost lease": [
        created(),
        claimed(1),
        op("get", 3, answer=Answer(snapshot("pending", 1, 0))),
    ],
    "attempt skipped": [created(), claimed(1), claimed(8, BOB, 3)],
    "lost acknowledged append": [*LIFE[:4], read(4, "a")],
    "lost acknowledged append, seen by its number": [
        *LIFE[:3],
        op("get", 3, answer=Answer(snapshot("running", 1, 0, ADA))),
    ],
    "append stored twice": [*LIFE[:4], read(4, "a", "b", "c", "b", "c")],
    "append stored in part": [*LIFE[:3], op("append", 3, labels=("b", "c")), read(4, "a", "b")],
    "second winner of complete": [
        *LIFE[:5],
        completed(4.5, "me too", 4, status="failed", accepted=True),
    ],
    "second winner of complete, both at once": [
        created(),
        claimed(1),
        completed(2, "one", 1, until=3),
        completed(2, "two", 1, until=3),
    ],
    "loser of a complete overwrites the output": [
        *LIFE[:5],
        completed(4.5, "two", 4, by="two"),
    ],
    "cancel of a completed run": [
        *LIFE[:5],
        op(
            "cancel",
            4.5,
            answer=Answer(snapshot("cancelled", 1, 5, None, "won", "CANCELLED", "t1"), accepted=True),
        ),
    ],
    "end that moves": [
        *LIFE[:5],
        op("get", 4.5, answer=Answer(snapshot("completed", 1, 4, None, "won", None, "t2"))),
    ],
    "append after terminal": [
        *LIFE[:5],
        op(
            "append",
            4.5,
            answer=Answer(snapshot("completed", 1, 5, None, "won", None, "t1"), appended=1),
            labels=("d",),
        ),
    ],
    "event after the terminal one": [
        *LIFE[:5],
        op("append", 4.5, labels=("d",)),
        read(6, *"abc", "RUN_FINISHED", "d"),
    ],
    "event order swapped": [*LIFE[:4], read(4, "b", "a", "c")],
    "event order swapped within a batch": [*LIFE[:4], read(4, "a", "c", "b")],
    "stale read after acknowledged write": [*LIFE[:4], read(4, "a", "b", "c"), read(5, "a")],
    "stale row after acknowledged write": [
        *LIFE[:5],
        op("get", 5, answer=Answer(snapshot("running", 1, 3, ADA))),
    ],
    "run that disappeared": [*LIFE[:5], op("get", 5, refused="NOT_FOUND")],
    "run that exists before it was created": [
        created(),
        op("get", -1, answer=Answer(snapshot("pending", 0, 0))),
    ],
    "write of a superseded attempt": [
        created(),
        claimed(1),
        claimed(7, BOB, 2),
        op(
            "append",
            8,
            answer=Answer(snapshot("running", 2, 1, BOB), appended=1),
            labels=("late",),
            attempt=1,
        ),
    ],
    "completion of a superseded attempt, by its token": [
        created(),
        claimed(1),
        claimed(7, BOB, 2),
        op(
            "complete",
            8,
            answer=Answer(snapshot("completed", 2, 1, None, "x", None, "t1"), accepted=True),
            status="completed",
            label="x",
            token="token-1",
        ),
    ],
    "renewal of a superseded attempt": [
        created(),
        claimed(1),
        claimed(7, BOB, 2),
        op("heartbeat", 8, answer=Answer(snapshot("running", 2, 0, BOB)), attempt=1, lease_s=5),
    ],
    "refusal of the attempt that holds the run": [
        created(),
        claimed(1),
        op("append", 2, refused="ATTEMPT_SUPERSEDED", labels=("x",), attempt=1),
    ],
    "refused append that was stored": [
        *LIFE[:4],
        op("append", 4, refused="EVENT_CURSOR_MISMATCH", labels=("x",), after=1),
        read(5, "a", "b", "c", "x"),
    ],
    "cursor that matched and was refused": [
        *LIFE[:3],
        op("append", 3, refused="EVENT_CURSOR_MISMATCH", labels=("x",), after=1),
    ],
    "cursor that did not match and was accepted": [*LIFE[:4], appended(4, "x", events=4, after=1)],
    "replay that was stored again": [
        *LIFE[:3],
        op("append", 3, answer=Answer(snapshot("running", 1, 2, ADA), appended=1), labels=("a",), after=0),
    ],
    "created twice": [created(0), created(1)],
    "claim of a run that has ended": [*LIFE[:5], claimed(12, BOB, 2, events=4)],
    "more attempts than the documentation allows": [
        created(),
        claimed(1),
        claimed(7, BOB, 2),
        claimed(14, ADA, 3),
        claimed(22, BOB, 4),
        claimed(34, ADA, 5),
    ],
}


@pytest.mark.parametrize("violation", PLANTED)
def test_a_planted_violation_is_found_and_shown(violation):
    history = PLANTED[violation]
    assert linearizable(history[:-1])  # only the last operation is impossible
    assert not linearizable(history)
    shown = minimal(history)
    assert not linearizable(shown)
    assert len(shown) <= len(history)
    assert render(shown).count("\n") == len(shown) - 1


def test_the_minimal_history_ends_with_the_impossible_answer():
    history = [
        *LIFE[:4],
        read(4, "a", "b", "c"),
        op("get", 4.2, answer=Answer(snapshot("running", 1, 3, ADA))),
        read(5, "a"),
        completed(6, "won", 4),
        read(7, "a", "b", "c", "RUN_FINISHED"),
    ]
    kinds = [(each.kind, each.invoked) for each in minimal(history)]
    assert kinds == [("create", 0), ("claim", 1), ("append", 2), ("append", 3), ("events", 5)]


def test_an_aborted_search_raises_undecided(monkeypatch):
    monkeypatch.setattr(checker, "NODES_MAX", 3)
    with pytest.raises(UndecidedError):
        linearizable(LIFE)


def test_a_history_can_be_saved_and_loaded(tmp_path):
    history = [*LIFE, op("append", 8, labels=("x",))]
    save(tmp_path / "history.jsonl", history)
    assert load(tmp_path / "history.jsonl") == history


# Compare the search with the simplest one: every order, with every subset of the operations without an
# answer.

KINDS = [
    ("claim", Sent(worker=ADA, lease_s=5)),
    ("claim", Sent(worker=BOB, lease_s=5)),
    ("append", Sent(labels=("a",))),
    ("append", Sent(labels=("b",), after=0)),
    ("append", Sent(labels=("c",), attempt=1)),
    ("complete", Sent(status="completed", label="x")),
    ("complete", Sent(status="failed", label="y", attempt=1)),
    ("cancel", Sent()),
    ("heartbeat", Sent(attempt=1, lease_s=5)),
    ("release", Sent(worker=ADA, attempt=1, retry_after_s=0)),
    ("get", Sent()),
    ("events", Sent()),
    ("compensate", Sent(label="u", attempt=1)),
    ("children", Sent()),
]


def answered(state, operation):
    """Return the state after the operation, and the operation with the answer of a deployment without faults."""
    verdict = model._RULES[operation.kind](state, operation, operation.sent)
    if verdict is None:
        return state, None
    if isinstance(verdict, model.Refused):
        return state, replace(operation, refused=min(verdict.codes))
    after, answer = verdict
    token = None
    if operation.kind == "claim":
        token = f"token-{after.attempt}"
        after = after._replace(token=token)
    if after.terminal and after.completed_at is None:
        after = after._replace(completed_at="t1")
    owner = after.owner if after.held and not after.terminal else None
    shown = RunSnapshot(
        after.status, after.attempt, len(after.log), owner, after.output, after.error, after.completed_at
    )
    return after, replace(
        operation,
        answer=replace(
            answer, run=None if operation.kind in {"events", "compensate", "children"} else shown, token=token
        ),
    )


@st.composite
def histories(draw):
    """Sequential operations with overlapping intervals of request and answer. Some have no answer, some of
    those no effect, and one answer may be falsified.
    """
    state, history = model.ABSENT, []
    chosen = [("create", Sent()), *draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=5))]
    clock = 0.0
    for kind, sent in chosen:
        clock += draw(st.sampled_from([0.1, 0.1, 3.0, 7.0]))
        before, after = draw(st.tuples(st.floats(0, 4), st.floats(0, 4)))
        asked = Operation(RUN, kind, clock - before, clock + after, sent)
        fate = draw(st.sampled_from(["answered"] * 6 + ["in doubt", "lost"]))
        if fate == "lost":
            history.append(asked.without_answer())
            continue
        for base in filter(None, (state, model._expired(state))):
            if clock >= base.floor:
                changed, done = answered(base, replace(asked, completed=clock))
                if done is not None:
                    state = changed
                    done = replace(done, completed=asked.completed)
                    history.append(done if fate == "answered" else done.without_answer())
                    break
    if history and draw(st.booleans()):
        place = draw(st.integers(0, len(history) - 1))
        history[place] = spoiled(history[place], draw(st.integers(0, 3)))
    return history


def spoiled(operation, how):
    if operation.refused is not None:
        return replace(operation, refused="NOT_FOUND")
    if operation.answer is None:
        return operation
    answer = operation.answer
    if answer.log:
        return replace(operation, answer=replace(answer, log=answer.log[::-1] if how else answer.log[1:]))
    if answer.run is None:
        return replace(operation, answer=replace(answer, log=("a",)))
    numbers = [("attempt", 1), ("attempt", -1), ("latest_event_id", 1), ("latest_event_id", -1)]
    member, by = numbers[how]
    return replace(
        operation,
        answer=replace(answer, run=replace(answer.run, **{member: getattr(answer.run, member) + by})),
    )


def by_every_order(history):
    known = [each for each in history if each.known]
    doubtful = [each for each in history if not each.known]
    for count in range(len(doubtful) + 1):
        for happened in itertools.combinations(doubtful, count):
            for order in itertools.permutations([*known, *happened]):
                if _possible(order):
                    return True
    return False


def _possible(order):
    latest = -math.inf
    for each in order:
        latest = max(latest, each.invoked)
        if each.completed < latest:
            return False  # it was answered before the request of an earlier operation in this order
    states = {model.ABSENT}
    for each in order:
        states = {after for state in states for after in model.steps(state, each)}
    return bool(states)


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_search_agrees_with_trying_every_order(history):
    assert linearizable(history) == by_every_order(history)


@st.composite
def truthful(draw):
    state, history, clock = model.ABSENT, [], 0.0
    chosen = [("create", Sent()), *draw(st.lists(st.sampled_from(KINDS), min_size=10, max_size=40))]
    for number, (kind, sent) in enumerate(chosen):
        clock += draw(st.sampled_from([0.01, 0.3, 6.0]))
        asked = Operation(RUN, kind, clock - draw(st.floats(0, 1)), clock, sent)
        if sent.labels:
            asked = replace(asked, sent=replace(sent, labels=(f"{number}",)))
        later = clock + draw(st.floats(0, 1))
        bases = [state] if draw(st.booleans()) else [model._expired(state) or state]
        for base in bases:
            if clock >= base.floor:
                changed, done = answered(base, asked)
                if done is not None:
                    state = changed
                    history.append(
                        replace(done, completed=later) if draw(st.integers(0, 9)) else done.without_answer()
                    )
    return history


@settings(max_examples=60, deadline=None)
@given(truthful())
def test_a_history_that_really_happened_is_always_linearizable(history):
    assert linearizable(history)
