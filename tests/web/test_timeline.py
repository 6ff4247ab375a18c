"""The timeline of a run: its bars from events, attempts and children, and their layout."""

import pytest

from runstead.core.runs.transition import EndedAttempt
from runstead.web.runs.timeline import Timeline
from runstead.web.runs.waterfall import layout

from .run_records import NOON, custom, event, run


def build_timeline(events, limit):
    found = Timeline(limit)
    for one in events:
        found.add(one)
    return found


def bars(*events, of=None, attempts=(), children=(), limit=500):
    return build_timeline(events, limit).bars(of or run(), attempts, children)


def described(found):
    """Name, kind, depth, start and end in seconds after noon, and state."""
    return [
        (bar.name, bar.kind, bar.depth, seconds(bar.start), bar.end and seconds(bar.end), bar.state)
        for bar in found
    ]


def seconds(at):
    return (at - NOON) / 1_000


def step(number, name, step_id, **more):
    return event(number, "STEP_STARTED", stepName=name, stepId=step_id, **more)


def end(number, name, step_id, **more):
    return event(number, "STEP_FINISHED", stepName=name, stepId=step_id, **more)


def test_a_step_is_a_bar_from_its_start_to_its_end():
    found = bars(step(1, "fetch", "1"), end(4, "fetch", "1", result=3))
    assert described(found) == [
        ("Attempt 1", "attempt", 0, 0, None, "open"),
        ("fetch", "step", 1, 1, 4, "done"),
    ]
    assert found[1].event_id == 1


def test_the_step_that_created_a_child_gives_way_to_the_bar_of_the_child():
    spawned = step(1, "spawn task:pay", "1"), end(1, "spawn task:pay", "1", result={"run_id": "run_pay"})
    assert [bar.kind for bar in bars(*spawned)] == ["attempt", "step"]
    child = run(run_id="run_pay", created_at=NOON + 1_000)
    assert [bar.kind for bar in bars(*spawned, children=[child])] == ["attempt", "child"]


def test_a_failed_step_shows_its_error():
    found = bars(step(1, "fetch", "1"), end(2, "fetch", "1", error={"message": "no route", "code": "E"}))
    assert (found[1].state, found[1].note) == ("failed", "no route")


def test_an_open_step_shows_its_retries():
    retried = custom(2, "run.step_retried", {"step_id": "1", "tries": 1, "message": "no route"})
    assert bars(step(1, "fetch", "1"), retried)[1].note == "try 1 failed: no route"


def test_steps_of_a_gather_stand_below_a_bar_as_long_as_all_of_them():
    found = bars(step(1, "a", "1.1.1"), step(2, "b", "1.2.1"), end(3, "b", "1.2.1"), end(5, "a", "1.1.1"))
    assert described(found)[1:] == [
        ("gather", "step", 1, 1, 5, "done"),
        ("a", "step", 2, 1, 5, "done"),
        ("b", "step", 2, 2, 3, "done"),
    ]
    assert described(bars(step(1, "a", "1.1.1")))[1] == ("gather", "step", 1, 1, None, "open")


def test_a_gather_in_a_gather_stands_below_it():
    found = bars(step(1, "a", "1.1.1"), step(2, "b", "1.1.2.1.1"))
    assert [(bar.name, bar.depth) for bar in found[1:]] == [("gather", 1), ("a", 2), ("gather", 2), ("b", 3)]


def test_steps_without_ids_are_matched_by_their_names():
    found = bars(
        event(1, "STEP_STARTED", stepName="plan"),
        event(2, "STEP_STARTED", stepName="plan"),
        event(3, "STEP_FINISHED", stepName="plan"),
        event(5, "STEP_FINISHED", stepName="plan"),
    )
    assert [(seconds(bar.start), seconds(bar.end)) for bar in found[1:]] == [(1, 5), (2, 3)]


def test_a_tool_call_lasts_until_its_result_and_stands_below_the_step_that_makes_it():
    found = bars(
        step(1, "think", "1"),
        event(2, "TOOL_CALL_START", toolCallId="c", toolCallName="search"),
        event(3, "TOOL_CALL_END", toolCallId="c"),
        event(6, "TOOL_CALL_RESULT", toolCallId="c", content="x", isError=True),
    )
    assert described(found)[2] == ("search", "tool", 2, 2, 6, "failed")


def test_a_tool_call_without_a_result_ends_with_its_arguments_once_the_run_is_over():
    events = (
        event(2, "TOOL_CALL_START", toolCallId="c", toolCallName="search"),
        event(3, "TOOL_CALL_END", toolCallId="c"),
    )
    assert bars(*events)[1].end is None
    over = run("completed", completed_at=NOON + 9_000)
    assert described(bars(*events, of=over))[1] == ("search", "tool", 1, 2, 3, "done")


def test_open_bars_are_interrupted_when_the_run_ends():
    found = bars(step(1, "fetch", "1"), of=run("failed", completed_at=NOON + 9_000))
    assert described(found) == [
        ("Attempt 1", "attempt", 0, 0, 9, "failed"),
        ("fetch", "step", 1, 1, 9, "broken"),
    ]


def test_a_sleep_is_a_wait_until_the_server_resumes_it():
    found = bars(
        step(1, "sleep", "2", until="2026-03-20T12:00:05Z"),
        custom(6, "run.resumed", {"type": "timer", "tool_call_id": "sleep:2"}),
        end(7, "sleep", "2"),
    )
    assert described(found)[1:] == [("sleep", "wait", 1, 1, 6, "done")]


def test_an_approval_shows_its_question():
    asked = custom(2, "run.asked", {"tool_call_id": "approval:3", "question": "Write it?"})
    found = bars(step(1, "approval", "3"), asked)
    assert (found[1].kind, found[1].note, found[1].end) == ("wait", "Write it?", None)


def test_a_wait_without_a_start_event_starts_at_the_end_of_the_attempt():
    parked = EndedAttempt(1, "w", NOON, NOON + 2_000, "parked")
    resumed = custom(9, "run.resumed", {"type": "run", "tool_call_id": "run:child:4"})
    found = bars(resumed, of=run(attempt=2, attempt_started_at=NOON + 9_500), attempts=[parked])
    assert described(found) == [
        ("Attempt 1", "attempt", 0, 0, 2, "done"),
        ("Waited for a child run", "wait", 1, 2, 9, "done"),
        ("Attempt 2", "attempt", 0, 9.5, None, "open"),
    ]
    assert (found[1].run_id, found[1].note) == ("child", "")  # a link


def test_a_current_wait_is_open():
    waiting = run("waiting", waiting_reason="tool", waiting_tool_name="search", updated_at=NOON + 3_000)
    assert described(bars(of=waiting))[-1] == ("Waiting for a tool: search", "wait", 1, 3, None, "open")
    paused = run("waiting", waiting_reason="pause", updated_at=NOON + 3_000)
    assert described(bars(of=paused))[-1] == ("Paused", "wait", 1, 3, None, "open")


def test_an_open_tool_call_is_not_shown_twice():
    call = event(1, "TOOL_CALL_START", toolCallId="c", toolCallName="search")
    waiting = run("waiting", waiting_reason="tool", waiting_tool_call_id="c")
    assert [bar.kind for bar in bars(call, of=waiting)] == ["attempt", "tool"]


def test_a_retry_of_the_handler_is_a_wait_until_it_resumes():
    found = bars(
        custom(3, "run.retried", {"retry": 1, "of": 3, "message": "no route"}),
        custom(5, "run.resumed", {"type": "timer", "tool_call_id": "retry:1"}),
    )
    assert described(found)[1:] == [("Retry 1 of 3", "wait", 1, 3, 5, "done")]
    assert found[1].note == "no route"


def test_a_wait_for_other_code_is_one_bar_whatever_the_number_of_tries():
    value = {"step_id": "2", "expected": "charge", "found": "pay", "file": "app.py", "line": 4}
    events = [
        custom(3, "run.blocked", value),
        *(
            custom(3 + number, "run.resumed", {"type": "timer", "tool_call_id": f"blocked:{number}"})
            for number in (1, 2)
        ),
    ]
    found = bars(*events)
    assert described(found)[1:] == [("Blocked: its code has changed", "wait", 1, 3, 5, "done")]
    assert found[1].note == "pay instead of charge"
    waiting = run("waiting", waiting_reason="event", waiting_tool_name="blocked: step 2", attempt=2)
    assert [(bar.end, bar.state) for bar in bars(*events, of=waiting) if bar.kind == "wait"] == [
        (None, "open")
    ]


def test_lost_attempts_and_the_time_in_the_queue_are_bars():
    lost = EndedAttempt(1, "w", NOON + 4_000, NOON + 6_000, "lease_expired")
    now = run(started_at=NOON + 4_000, attempt=2, attempt_started_at=NOON + 8_000)
    assert described(bars(of=now, attempts=[lost])) == [
        ("In the queue", "wait", 0, 0, 4, "done"),
        ("Attempt 1", "attempt", 0, 4, 6, "broken"),
        ("Attempt 2", "attempt", 0, 8, None, "open"),
    ]


def test_an_unclaimed_run_is_in_the_queue():
    pending = run("pending", started_at=None, attempt=0, attempt_started_at=None)
    assert described(bars(of=pending)) == [("In the queue", "wait", 0, 0, None, "open")]


def test_children_are_bars_of_their_own():
    child = run("failed", run_id="run-2", title="below", created_at=NOON + 1_000, completed_at=NOON + 2_000)
    bar = bars(children=[child])[1]
    assert (bar.name, bar.kind, bar.state, bar.run_id) == ("below", "child", "failed", "run-2")


def test_no_more_bars_are_made_than_there_is_room_for():
    timeline = build_timeline([step(n, f"s{n}", str(n)) for n in range(1, 10)], limit=4)
    assert [bar.name for bar in timeline.bars(run())] == ["Attempt 1", "s1", "s2", "s3", "s4"]
    assert timeline.full_at == 5


@pytest.mark.parametrize(
    "members",
    [
        {"kind": "STEP_STARTED", "stepName": 7, "stepId": ["x"]},
        {"kind": "STEP_FINISHED", "stepName": None, "error": 3},
        {"kind": "TOOL_CALL_START", "toolCallId": {}, "toolCallName": []},
        {"kind": "TOOL_CALL_RESULT", "toolCallId": None},
        {"kind": "CUSTOM", "name": "run.resumed", "value": 7},
        {"kind": "CUSTOM", "name": "run.resumed", "value": {"type": [], "tool_call_id": 3}},
        {"kind": "CUSTOM", "name": ["run.asked"], "value": {"tool_call_id": {}}},
        {"kind": "CUSTOM", "name": "run.step_retried", "value": {"step_id": 1}},
        {"kind": "CUSTOM", "name": "run.retried", "value": {}},
    ],
)
def test_malformed_events_are_ignored(members):
    kind = members.pop("kind")
    found = bars(event(1, kind, **members), step(2, "fetch", "1"), end(3, "fetch", "1"))
    assert ("fetch", "step", 1, 2, 3, "done") in [(*bar[:2], 1, *bar[3:]) for bar in described(found)]
    assert layout(found, NOON + 9_000).rows


def test_names_are_cut():
    assert len(bars(step(1, "x" * 100_000, "1"))[1].name) == 200


def test_bars_are_drawn_between_the_first_beginning_and_the_last_end():
    found = bars(step(1, "a", "1"), end(2, "a", "1"), step(2, "b", "2"))
    waterfall = layout(found, NOON + 4_000)
    assert [(row.bar.name, row.x, row.width) for row in waterfall.rows] == [
        ("Attempt 1", "0.00%", "100.00%"),
        ("a", "25.00%", "25.00%"),
        ("b", "50.00%", "50.00%"),
    ]
    assert waterfall.rows[1].summary == "a (step), done, 1.0 s, 1.0 s after the start"
    assert [(mark.x, mark.label) for mark in waterfall.marks][:2] == [("0.00%", "0"), ("25.00%", "1 s")]


@pytest.mark.parametrize("span", [0, 1, 7, 999, 61_000, 3_600_000, 30 * 86_400_000, 10 * 366 * 86_400_000])
def test_an_axis_has_few_marks_however_long_the_run_is(span):
    over = run("completed", completed_at=NOON + span)
    waterfall = layout(bars(of=over), NOON + span)
    assert 1 <= len(waterfall.marks) <= 6
    assert len({mark.label for mark in waterfall.marks}) == len(waterfall.marks)


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (2_100, ["0", "500 ms", "1 s", "1.5 s", "2 s"]),
        (100_000, ["0", "30 s", "1 min", "1 min 30 s"]),
        (2 * 3_600_000, ["0", "30 min", "1 h", "1 h 30 min", "2 h"]),
        (40 * 3_600_000, ["0", "12 h", "1 d", "1 d 12 h"]),
    ],
)
def test_marks_are_in_units_that_people_use(span, labels):
    over = run("completed", completed_at=NOON + span)
    assert [mark.label for mark in layout(bars(of=over), NOON + span).marks] == labels


def test_the_open_step_or_else_the_failed_one_is_the_focus():
    open_step = bars(step(1, "a", "1"), end(2, "a", "1"), step(2, "b", "2"))
    assert [row.bar.name for row in layout(open_step, NOON + 4_000).rows if row.focus] == ["b"]
    failed = bars(
        step(1, "a", "1"), end(2, "a", "1", error="no route"), of=run("failed", completed_at=NOON + 3_000)
    )
    assert [row.bar.name for row in layout(failed, NOON + 4_000).rows if row.focus] == ["a"]


def test_bars_stay_inside_the_picture_with_clock_differences():
    late = event(1, "STEP_FINISHED", stepName="a", stepId="1", at=-5_000)
    found = bars(step(1, "a", "1"), late, of=run("completed", completed_at=NOON - 3_000))
    for row in layout(found, NOON).rows:
        assert 0 <= float(row.x[:-1]) <= 100
        assert 0 <= float(row.width[:-1]) <= 100 - float(row.x[:-1]) + 0.01
