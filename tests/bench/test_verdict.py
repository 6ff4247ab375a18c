"""The cases of the judge that no ordered fake server can bring about."""

import pytest

from runstead.bench.verdict import Answer, Observation, Reading, judge, marker

CANCELLED = {"run_id": "r", "status": "cancelled", "completed_at": "t", "duration_ms": 1}
CANCELLED |= {"error": {"message": "Run cancelled", "code": "CANCELLED"}, "metadata": None}
COMPLETED = {**CANCELLED, "status": "completed", "error": None}
COMPLETED |= {"metadata": {"providerRequestId": marker("r", 0)}}


def event(number, name):
    return {"event_id": number, "event_type": name, "payload": {"type": name}}


def observe(run, answers, events):
    reading = Reading(run, events)
    return Observation(run_id="r", started_as="pending", answers=answers, reading=reading, later=reading)


def answer(caller, call, won, run):
    return Answer(caller=caller, call=call, status=200, won=won, run=run)


def test_a_run_without_an_outcome_is_a_violation():
    run = {**COMPLETED, "status": "running"}
    assert judge(observe(run, [], [])) == [
        "no outcome won: the run is 'running' after every call was answered"
    ]


def test_a_cancelled_run_needs_one_cancel_that_was_answered_true():
    answers = [answer(0, "cancel", False, CANCELLED), answer(1, "cancel", False, CANCELLED)]
    found = judge(observe(CANCELLED, answers, [event(1, "RUN_ERROR")]))
    assert found == ["the run is cancelled, and 0 cancels were answered cancelled: true (callers [])"]


def test_a_cancel_without_an_answer_may_have_been_the_winner():
    lost = Answer(caller=0, call="cancel", status=0, detail="closed")
    found = judge(observe(CANCELLED, [lost, answer(1, "cancel", False, CANCELLED)], [event(1, "RUN_ERROR")]))
    assert found == ["cancel of caller 0 got no answer: closed"]


def test_two_cancels_that_were_answered_true_are_a_violation():
    answers = [answer(0, "cancel", True, CANCELLED), answer(1, "cancel", True, CANCELLED)]
    (found,) = judge(observe(CANCELLED, answers, [event(1, "RUN_ERROR")]))
    assert "2 cancels were answered cancelled: true (callers [0, 1])" in found


def test_a_run_with_values_of_two_outcomes_is_a_violation():
    run = {**COMPLETED, "error": {"message": "Run failed"}}
    found = judge(observe(run, [answer(0, "complete(completed)", True, run)], [event(1, "RUN_FINISHED")]))
    assert found == ['the run is completed, but carries what another outcome wrote: {"message":"Run failed"}']


@pytest.mark.parametrize("numbers", [(1, 3), (2, 1), (1, 1), (0, 1)])
def test_event_ids_with_a_gap_or_a_repeat_are_a_violation(numbers):
    events = [event(numbers[0], "CUSTOM"), event(numbers[1], "RUN_FINISHED")]
    (found,) = judge(observe(COMPLETED, [answer(0, "complete(completed)", True, COMPLETED)], events))
    assert found == f"event ids are not 1 to 2 in order: {list(numbers)}"


def test_one_winner_in_all_answers_is_no_violation():
    answers = [
        answer(0, "complete(completed)", True, COMPLETED),
        answer(1, "complete(failed)", False, COMPLETED),
    ]
    answers += [answer(2, "cancel", False, COMPLETED), answer(3, "complete(completed)", True, COMPLETED)]
    assert judge(observe(COMPLETED, answers, [event(1, "CUSTOM"), event(2, "RUN_FINISHED")])) == []
