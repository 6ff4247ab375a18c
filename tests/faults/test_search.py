"""The checker's search agrees with the simplest one, which tries every order of the operations."""

import itertools
import math

from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from . import model
from .checker import linearizable
from .history import Operation, RunSnapshot, Sent
from .operations import (
    ADA,
    BOB,
    RUN,
)

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
    ("wait", Sent(label="wait:1", match=0)),
    ("publish", Sent(label="e", match=0)),
    ("retry", Sent(label="k", step="failed")),
    ("forks", Sent()),
]
WITHOUT_RUN = {"events", "compensate", "children", "publish", "retry", "forks"}


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
        answer=replace(answer, run=None if operation.kind in WITHOUT_RUN else shown, token=token),
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
