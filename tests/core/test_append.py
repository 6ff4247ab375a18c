import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs import append as rules
from runstead.core.runs.event import NewEvent
from runstead.core.runs.run import RunStatus

from .run_builder import NOON, RunBuilder, event

A, B, C, D = (event("CUSTOM", name=name) for name in "ABCD")
PRIVATE = event("AGENT_RUN_MODEL_CALL_CONTEXT", prompt="long")


@pytest.fixture
def builder():
    """A run with the events A, B."""
    builder = RunBuilder()
    builder.append(A, B)
    return builder


def refusal(call, *args, **named):
    with pytest.raises(Error) as caught:
        call(*args, **named)
    return caught.value


def mismatch(call, *args, **named):
    error = refusal(call, *args, **named)
    assert error.message == "External run event cursor mismatch"
    return error.code == "EVENT_CURSOR_MISMATCH"


def test_events_are_numbered_from_one_without_a_gap(builder):
    builder.append(C)
    assert [one.event_id for one in builder.log] == [1, 2, 3]
    assert [one.sequence for one in builder.log] == [1, 2, 3]
    assert (builder.run.latest_event_id, builder.run.latest_external_event_sequence) == (3, 3)


def test_an_append_without_a_cursor_always_appends(builder):
    builder.append(A, B)
    builder.append(A, B)
    assert len(builder.log) == 6


def test_an_append_at_the_end_of_the_log_appends(builder):
    assert builder.append(C, after=2).events == (C,)


def test_a_cursor_past_the_end_is_a_mismatch(builder):
    assert mismatch(builder.append, C, after=3)


def test_a_repeated_append_is_stored_once(builder):
    builder.append(C, D, after=2)
    again = builder.append(C, D, after=2)
    assert (again.duplicate, again.events) == (True, ())
    assert builder.append(A, B, after=0).duplicate, "other events may have followed"


def test_an_append_whose_first_events_are_stored_adds_the_others(builder):
    builder.append(C, after=2)
    assert builder.append(C, D, after=2).events == (D,)
    assert builder.types == ["CUSTOM"] * 4


def test_an_append_whose_first_events_are_followed_by_other_events_is_a_mismatch(builder):
    builder.append(C, after=2)
    builder.append(A)
    assert mismatch(builder.append, C, D, after=2)


def test_other_events_at_an_old_cursor_are_a_mismatch(builder):
    assert mismatch(builder.append, C, after=0)
    assert mismatch(builder.append, A, C, after=0)
    assert mismatch(builder.append, B, after=0)
    assert mismatch(builder.append, C, D, A, after=1)


def test_a_replay_is_recognised_by_its_value_and_not_by_its_encoding(builder):
    spelled = NewEvent("CUSTOM", b'{ "name" : "\\u0041", "type":"CUSTOM" }', source="caller")
    assert builder.append(spelled, after=0).duplicate


@pytest.mark.parametrize(("one", "other"), [(b"1", b"true"), (b"0", b"false")])
def test_true_is_not_one(one, other):
    builder = RunBuilder()
    builder.append(NewEvent("CUSTOM", b'{"type":"CUSTOM","value":%s}' % one, source="caller"))
    changed = NewEvent("CUSTOM", b'{"type":"CUSTOM","value":%s}' % other, source="caller")
    assert mismatch(builder.append, changed, after=0)


def test_the_expected_sequence_must_match_the_run(builder):
    assert builder.append(C, sequence=2).events == (C,)
    assert mismatch(builder.append, D, sequence=2)
    assert mismatch(builder.append, D, sequence=4)


def test_both_cursors_must_match(builder):
    assert mismatch(builder.append, C, after=2, sequence=1)
    assert mismatch(builder.append, C, after=1, sequence=2)
    assert builder.append(C, after=2, sequence=2).events == (C,)
    assert builder.append(C, after=2, sequence=2).duplicate, "the same call again"
    assert mismatch(builder.append, C, after=2, sequence=3)


def test_a_partial_replay_with_both_cursors_adds_the_rest(builder):
    builder.append(C, after=2, sequence=2)
    assert builder.append(C, D, after=2, sequence=2).events == (D,)
    assert builder.run.latest_external_event_sequence == 4


def test_private_events_are_numbered_but_not_counted(builder):
    builder.append(PRIVATE, after=2)
    assert (builder.run.latest_event_id, builder.run.latest_external_event_sequence) == (3, 2)
    assert builder.append(C, sequence=2).events == (C,)
    assert builder.log[-1].sequence == 3


def test_private_events_are_replayed_like_others(builder):
    builder.append(PRIVATE, C, after=2, sequence=2)
    assert builder.append(PRIVATE, C, after=2, sequence=2).duplicate
    assert (builder.run.latest_event_id, builder.run.latest_external_event_sequence) == (4, 3)


def test_an_event_of_the_server_is_not_part_of_a_replay(builder):
    builder.wait(call="call_1")
    builder.resume("x", call="call_1")
    forged = NewEvent("TOOL_CALL_RESULT", builder.log[-1].payload, source="caller")
    assert mismatch(builder.append, forged, after=2)
    assert builder.append(C, sequence=2).events == (C,)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_ended_run_accepts_no_events(builder, status):
    builder.complete(status)
    for cursors in ({}, {"after": 3}, {"sequence": 2}, {"after": 99}):
        error = refusal(builder.append, C, **cursors)
        assert error.code == "EVENT_RUN_TERMINAL"
        assert error.message == "Cannot append external events to a terminal run"


def test_a_replay_after_the_end_is_still_a_replay(builder):
    builder.complete()
    ended = builder.run
    assert builder.append(A, B, after=0, sequence=0).duplicate
    assert builder.run is ended


def test_a_partial_replay_after_the_end_is_refused(builder):
    builder.complete()
    assert refusal(builder.append, B, C, after=1).code == "EVENT_RUN_TERMINAL"


def test_a_waiting_run_accepts_no_new_events_but_recognises_a_replay(builder):
    builder.wait()
    error = refusal(builder.append, C)
    assert error.message == "Cannot append external events while the run is waiting for a tool result"
    assert builder.append(A, B, after=0).duplicate


def test_the_start_of_a_run_without_a_worker_sets_it_running():
    builder = RunBuilder(kind="agent")
    builder.append(event("CUSTOM"))
    assert builder.run.status is RunStatus.PENDING
    builder.later(10).append(event("RUN_STARTED"))
    assert (builder.run.status, builder.run.started_at) == (RunStatus.RUNNING, NOON + 10)


def test_a_late_start_event_of_a_lost_attempt_does_not_set_the_run_running():
    builder = RunBuilder()
    builder.claim()
    builder.later(60_000).enforce_deadlines()
    builder.append(event("RUN_STARTED"))
    assert builder.run.status is RunStatus.PENDING


@pytest.mark.parametrize("name", ["RUN_FINISHED", "RUN_ERROR"])
def test_terminal_events_are_not_appended(name):
    assert refusal(rules.refuse_terminal_types, {"CUSTOM", name}).code == "EVENT_TYPE_REFUSED"


def test_any_other_type_may_be_appended():
    rules.refuse_terminal_types({"RUN_STARTED", "anything at all", ""})


def test_a_log_keeps_its_last_place_for_the_terminal_event(builder):
    builder.run = replace(builder.run, latest_event_id=limits.events_per_run_max - 2)
    builder.append(C)
    assert refusal(builder.append, C).code == "EVENT_LOG_FULL"
    builder.complete()
    assert builder.run.latest_event_id == limits.events_per_run_max


def test_a_full_append_is_recognised_in_a_longer_log():
    builder = RunBuilder()
    batch = [event("CUSTOM", n=n) for n in range(limits.events_per_append_max)]
    builder.append(*batch, after=0)
    builder.append(A)
    assert builder.append(*batch, after=0).duplicate
    assert mismatch(builder.append, *batch[:-1], B, after=0)


names = st.lists(st.sampled_from("xy"), min_size=1, max_size=5)


@given(log=st.lists(st.sampled_from("xy"), max_size=6), batch=names, after=st.integers(0, 8))
def test_an_append_at_any_cursor_appends_replays_or_mismatches(log, batch, after):
    def events(letters):
        return [event("CUSTOM", name=letter) for letter in letters]

    builder = RunBuilder()
    if log:
        builder.append(*events(log))
    behind = log[after:]
    if after > len(log):
        wanted = "mismatch"
    elif behind[: len(batch)] == batch:
        wanted = []
    elif batch[: len(behind)] == behind:
        wanted = batch[len(behind) :]
    else:
        wanted = "mismatch"
    if wanted == "mismatch":
        assert mismatch(builder.append, *events(batch), after=after)
        assert len(builder.log) == len(log)
    else:
        transition = builder.append(*events(batch), after=after)
        assert [msgspec.json.decode(new.payload)["name"] for new in transition.events] == wanted
        assert transition.duplicate == (wanted == [])
