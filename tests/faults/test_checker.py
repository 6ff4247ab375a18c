"""The checker finds each kind of violation that is planted into a history. Times are in seconds."""

import pytest

from . import checker
from .checker import UndecidedError, linearizable, minimal
from .history import Answer, RunSnapshot, load, render, save
from .operations import (
    ADA,
    BOB,
    appended,
    children,
    claimed,
    compensated,
    completed,
    created,
    forked,
    forks,
    op,
    published,
    read,
    retried,
    signalled,
    snapshot,
    spent,
    started,
    stored,
    waited,
)

LOG = ("step 1: a", "note", "step 2: b", "RUN_ERROR")
MARK = "from step 2 of run-1 at 2"
KEPT_LOG = ("step 1: a", MARK)
STEPPED = [
    created(0),
    claimed(1),
    appended(2, *LOG[:2], events=2),
    appended(3, LOG[2], events=3),
    completed(4, "x", 4, status="failed"),
]
WAITING = [created(), claimed(1), waited(2, "wait:1", "waiting", 0, match=0)]
SPENDING = [created(budget=2), claimed(1), appended(2, "usage a", events=1)]
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
    "a retry keeps the results before its step, and each key creates one run": [
        *STEPPED,
        retried(5, "k", "run-2", step="2", appended=2, mark=MARK),
        retried(6, "k", "run-2", step="2", appended=2, mark=MARK),
        retried(7, "l", "run-3", step="failed", appended=3, mark="from step 3 of run-1 at 4"),
        op("retry", 8, refused="STEP_NOT_FOUND", label="m", step="9"),
        forks(9, "k", "l"),
        read(9, *LOG),
    ],
    "a retry without an answer is sent again, and created its run the first time": [
        *STEPPED,
        op("retry", 5, label="k", step="2"),
        forks(6, "k"),
        op("retry", 6.5, refused="IDEMPOTENCY_KEY_IN_USE", label="k", step="2"),
        retried(7, "k", "run-2", step="2", appended=2, mark=MARK),
        forks(8, "k"),
    ],
    "a new run begins with the results": [
        op("fork", 0, labels=KEPT_LOG),
        forked(1, *KEPT_LOG),
        claimed(2, events=2),
        appended(3, "step 4: x", events=3),
        read(4, *KEPT_LOG, "step 4: x"),
    ],
    "an event reaches the run that waits for its value": [
        *WAITING,
        published(3, "other", 1),
        op("get", 4, answer=Answer(snapshot("waiting", 1, 0, ADA))),
        published(5, "e", 0),
        published(6, "e", 0),
        waited(7, "wait:2", "waiting", 1),
        published(8, "f", 1),
        read(9, "e for wait:1", "f for wait:2"),
    ],
    "an event without an answer was stored before the run waited": [
        created(),
        op("publish", 0.5, label="e", match=0),
        *WAITING[1:],
        published(3, "e", 0),
        op("get", 4, answer=Answer(snapshot("waiting", 1, 0, ADA))),
    ],
    "an event is published once, and starts a run": [
        op("store", 0, label="e", match=0),
        stored(1, "e", 0, duplicate=True),
        stored(2, "f", 1),
        started(3, "e"),
    ],
    "reports of usage are counted, and fail the run that reaches its budget": [
        *SPENDING,
        spent(3, 1),
        op("append", 4, labels=("usage b",)),
        op("get", 5, answer=Answer(snapshot("failed", 1, 3, None, None, "BUDGET_REACHED", "t1"))),
        spent(6, 2),
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
RETRIED = [*STEPPED, retried(5, "k", "run-2", step="2", appended=2, mark=MARK)]
GOT = [*WAITING, published(3, "e", 0), read(3.5, "e for wait:1")]
PLANTED = {
    "retry created twice": [*RETRIED, retried(6, "k", "run-3", step="2", appended=2, mark=MARK)],
    "retry created twice, seen in the list": [*RETRIED, forks(6, "k", "k")],
    "two retries with one run": [*RETRIED, retried(6, "l", "run-2", step="2", appended=2, mark=MARK)],
    "lost retry": [*RETRIED, forks(6)],
    "retry without a result": [*STEPPED, retried(5, "k", "run-2", step="2", appended=1, mark=MARK)],
    "retry with the result of its own step": [
        *STEPPED,
        retried(5, "k", "run-2", step="2", appended=3, mark=MARK),
    ],
    "retry from another step": [
        *STEPPED,
        retried(5, "k", "run-2", step="2", appended=2, mark="from step 1 of run-1 at 0"),
    ],
    "retry from a step that the run has not": [
        *STEPPED,
        retried(5, "k", "run-2", step="9", appended=3, mark="from step 9 of run-1 at 4"),
    ],
    "retry of an active run": [
        *STEPPED[:4],
        retried(5, "k", "run-2", step="2", appended=2, mark=MARK),
    ],
    "retry refused although the run has the step": [
        *STEPPED,
        op("retry", 5, refused="STEP_NOT_FOUND", label="k", step="2"),
    ],
    "run changed by its retry": [*RETRIED, read(6, *LOG, MARK)],
    "results of a retry lost": [forked(0, *KEPT_LOG), read(1, MARK)],
    "results of a retry from another history": [forked(0, *KEPT_LOG), read(1, "step 1: b", MARK)],
    "retry seen in part": [
        op("fork", 0, labels=KEPT_LOG),
        op("get", 1, answer=Answer(snapshot("pending", 0, 1))),
    ],
    "event delivered twice": [
        *GOT,
        waited(4, "wait:2", "waiting", 1),
        published(5, "e", 0),
        read(6, "e for wait:1", "e for wait:2"),
    ],
    "lost event": [
        *WAITING,
        published(3, "e", 0),
        op("get", 4, answer=Answer(snapshot("waiting", 1, 0, ADA))),
    ],
    "event lost for the wait that began before it": [
        created(),
        op("publish", 2.5, label="e", match=0),
        *WAITING[1:],
        published(3, "e", 0),
        op("get", 4, answer=Answer(snapshot("waiting", 1, 0, ADA))),
    ],
    "event with another value": [*WAITING, published(3, "e", 1), read(4, "e for wait:1")],
    "event before the wait": [created(), published(0.5, "e", 0), *WAITING[1:], read(4, "e for wait:1")],
    "event kept for a later wait": [
        *GOT,
        published(4, "f", 0),
        waited(5, "wait:2", "running", 2, taken="f"),
    ],
    "event started two runs": [stored(1, "e", 0), started(2, "e", "e")],
    "event started no run": [stored(1, "e", 0), started(2)],
    "event with another value started a run": [stored(1, "e", 1), started(2, "e")],
    "event published twice": [stored(1, "e", 0), stored(2, "e", 0)],
    "new event taken for a repeat": [stored(1, "e", 0), stored(2, "f", 0, duplicate=True)],
    "lost report of usage": [*SPENDING, spent(3, 0)],
    "report of usage counted twice": [*SPENDING, spent(3, 2)],
    "run goes on past its budget": [*SPENDING, appended(3, "usage b", events=2)],
    "run failed below its budget": [
        *SPENDING,
        op("get", 3, answer=Answer(snapshot("failed", 1, 2, None, None, "BUDGET_REACHED", "t1"))),
    ],
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
