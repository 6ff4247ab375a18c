"""What a new run begins with, and which events of the bus a run may get, follow from the operations of a load."""

import random

import pytest
from msgspec.structs import replace

from .checker import linearizable
from .history import Answer, by_run
from .labels import FAILED, kept, step_of
from .operations import (
    RUN,
    appended,
    claimed,
    completed,
    created,
    op,
    published as published_to,
    read,
    retried,
    snapshot,
    stored,
    waited,
)
from .subject import Subject, forks, published

LOG = ("step 1: a", "note", "x for wait:2", "step 3: c", "RUN_ERROR")
MARK = f"from step 2 of {RUN} at 2"
ENDED = [
    created(),
    claimed(1),
    appended(2, *LOG[:2], events=2),
    completed(4, "x", 5, status="failed"),
    op("get", 4.5, answer=Answer(snapshot("failed", 1, 5, None, "x", "PLANNED", "t1"))),
    read(5, *LOG),
]
NEW = "run-2"


def subject():
    return Subject(RUN, "task:x", "group", random.Random(0), slow=False)


def fork():
    made = subject().fork(NEW, "k", random.Random(0))
    made.pinned, made.budget = False, None
    return made


@pytest.mark.parametrize(
    ("step", "log"),
    [
        ("1", (f"from step 1 of {RUN} at 0",)),
        ("2", (LOG[0], MARK)),
        ("3", (LOG[0], LOG[2], f"from step 3 of {RUN} at 3")),
        (FAILED, (LOG[0], LOG[2], LOG[3], f"from step 4 of {RUN} at 5")),
        ("9", None),
    ],
)
def test_a_retry_keeps_the_results_of_the_steps_before(step, log):
    assert kept(LOG, RUN, step, completed=False) == log


def test_a_completed_run_has_no_failed_step():
    assert kept(LOG, RUN, FAILED, completed=True) is None
    assert kept(LOG, RUN, "2", completed=True) == (LOG[0], MARK)


def test_a_run_without_steps_keeps_nothing():
    assert kept(("note", "RUN_ERROR"), RUN, FAILED, completed=False) == ()


def test_the_retry_of_a_retry_keeps_both_marks():
    log = (LOG[0], MARK, "step 4: d", "RUN_ERROR")
    assert kept(log, NEW, FAILED, completed=False) == (*log[:3], f"from step 5 of {NEW} at 4")
    assert [step_of(label) for label in log] == [1, None, 4, None]


def made_by(history):
    """Return the history of the new run, as the load assembles it."""
    [*mine] = forks(history, [subject(), fork()])
    return [each for each in history if each.run_id == NEW] + mine


def test_a_new_run_begins_with_the_results_of_the_ended_run():
    history = [*ENDED, retried(6, "k", NEW, step="2", appended=2, mark=MARK)]
    [begun] = made_by(history)
    assert (begun.kind, begun.sent.labels, begun.known) == ("fork", (LOG[0], MARK), True)
    assert linearizable([begun, replace(read(7, LOG[0], MARK), run_id=NEW)])
    assert not linearizable([begun, replace(read(7, "step 1: of another run", MARK), run_id=NEW)])


def test_a_retry_without_an_answer_may_have_created_the_run_that_was_claimed():
    claim = replace(claimed(7, events=2), run_id=NEW)
    assert linearizable(made_by([*ENDED, op("retry", 6, label="k", step="2"), claim]))
    assert not linearizable(made_by([*ENDED, op("retry", 8, label="k", step="2"), claim]))
    assert not linearizable(
        made_by([*ENDED, op("retry", 6, refused="STEP_NOT_FOUND", label="k", step="2"), claim])
    )


def events(*operations):
    return [replace(each, run_id="group") for each in operations]


def test_an_event_is_an_operation_of_each_run_that_may_have_waited_for_it():
    history = [
        *events(stored(0.2, "early", 0), stored(0.3, "twice", 0), stored(3, "e", 0), stored(9, "late", 0)),
        *events(stored(3.2, "twice", 0, duplicate=True), op("store", 3.5, label="unknown", match=1)),
        created(),
        claimed(1),
        waited(2, "wait:1", "waiting", 0),
        op("get", 8, answer=Answer(snapshot("failed", 1, 2, None, None, "LEASE_EXPIRED", "t1"))),
    ]
    found = published(history, [subject()])
    assert [each.sent.label for each in found] == ["twice", "e", "twice", "unknown"]
    assert {(each.run_id, each.kind) for each in found} == {(RUN, "publish")}
    assert [each.known for each in found] == [True, True, True, False]
    assert found[1] == published_to(3, "e", 0)


def test_an_event_that_a_waiting_run_missed_is_found():
    history = [
        created(),
        claimed(1),
        waited(2, "wait:1", "waiting", 0, match=0),
        *events(stored(3, "e", 0)),
    ]
    for log, fine in ((("e for wait:1",), True), ((), False)):
        seen = [*history, read(4, *log)]
        whole = by_run(seen)[RUN] + published(seen, [subject()])
        assert linearizable(whole) == fine


def test_a_run_that_never_waited_gets_no_events():
    assert published([created(), *events(stored(3, "e", 0))], [subject()]) == []
    refused = op("wait", 1, refused="RUN_NOT_ACTIVE", label="wait:1")
    assert published([created(), refused, *events(stored(3, "e", 0))], [subject()]) == []
