import time

import msgspec
import pytest
from hypothesis import given, strategies as st

from runstead.core.conversations.projection import Projection
from runstead.core.runs.event import NewEvent
from runstead.core.runs.run import RunStatus

from .run_builder import NOON, RunBuilder, event, stored

RUNNING, COMPLETED = RunStatus.RUNNING, RunStatus.COMPLETED


def log(*events):
    return [stored(number, new) for number, new in enumerate(events, 1)]


def parts(*events, status=RUNNING):
    return Projection(log(*events)).message(status).parts


def text(step, delta=None, message="m1", kind="TEXT_MESSAGE"):
    members = {"messageId": message} | ({} if delta is None else {"delta": delta})
    return event(f"{kind}_{step}", **members)


def call(step, delta=None, call="c1", **members):
    members |= {} if delta is None else {"delta": delta}
    return event(f"TOOL_CALL_{step}", toolCallId=call, **members)


def tool_call(arguments, *, ended=True):
    steps = [call("START", toolCallName="search"), *(call("ARGS", delta) for delta in arguments)]
    return [*steps, call("END")] if ended else steps


def result(content, call="c1", **members):
    return event("TOOL_CALL_RESULT", messageId="r", toolCallId=call, content=content, **members)


def test_text_deltas_become_one_text():
    stream = [text("START"), text("CONTENT", "Hel"), text("CONTENT", "lo"), text("END")]
    assert parts(*stream) == [{"type": "text", "text": "Hello"}]


def test_chunks_need_no_start_and_no_end():
    assert parts(text("CHUNK", "Hel"), text("CHUNK", "lo")) == [{"type": "text", "text": "Hello"}]
    assert parts(event("TEXT_MESSAGE_CHUNK", delta="Hi")) == [{"type": "text", "text": "Hi"}]


def test_reasoning_is_a_separate_part():
    thought = [text("CONTENT", "hm", kind="REASONING_MESSAGE"), text("CONTENT", "Yes")]
    assert parts(*thought) == [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Yes"}]


def test_interleaved_messages_are_separate_parts():
    stream = [text("CONTENT", "a", "m1"), text("CONTENT", "x", "m2"), text("CONTENT", "b", "m1")]
    assert [part["text"] for part in parts(*stream)] == ["ab", "x"]


def test_text_after_a_tool_call_is_a_part_after_it():
    stream = [text("START"), text("CONTENT", "I look"), text("END"), *tool_call(["{}"])]
    stream += [text("START"), text("CONTENT", "Found"), text("END")]
    assert [part["type"] for part in parts(*stream)] == ["text", "tool_call", "text"]
    chunks = [text("CHUNK", "I look"), *tool_call(["{}"]), text("CHUNK", "Found")]
    assert [part["type"] for part in parts(*chunks)] == ["text", "tool_call", "text"]


def test_an_empty_message_is_not_a_part():
    assert parts(text("START"), text("CONTENT", ""), text("END")) == []


def test_a_tool_call_has_its_name_and_its_input():
    assert parts(*tool_call(['{"q":', '"cats"}'])) == [
        {"type": "tool_call", "id": "c1", "name": "search", "input": {"q": "cats"}, "state": "pending"}
    ]


def test_a_tool_call_streams_until_its_arguments_are_complete():
    (part,) = parts(*tool_call(['{"q":'], ended=False))
    assert (part["state"], part["input"], part["input_text"]) == ("streaming", {}, '{"q":')


@pytest.mark.parametrize("arguments", ["[1]", '"cats"', "7", "{", "not json", '{"a":NaN}', "[" * 5_000])
def test_arguments_that_are_not_an_object_are_shown_as_text(arguments):
    (part,) = parts(*tool_call([arguments]))
    assert (part["input"], part["input_text"]) == ({}, arguments)


def test_a_tool_call_without_arguments_has_an_empty_input():
    (part,) = parts(*tool_call([]))
    assert part["input"] == {}
    assert "input_text" not in part


def test_a_chunked_tool_call_is_complete_when_the_next_part_begins():
    chunks = [call("CHUNK", '{"a":', toolCallName="f"), event("TOOL_CALL_CHUNK", delta="1}")]
    assert parts(*chunks)[0]["state"] == "streaming"
    whole = parts(*chunks, text("CHUNK", "so"))[0]
    assert (whole["state"], whole["input"], whole["name"]) == ("pending", {"a": 1}, "f")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("running", "streaming"),
        ("waiting", "pending"),
        ("completed", "pending"),
        ("failed", "error"),
        ("cancelled", "error"),
    ],
)
def test_an_unanswered_tool_call_follows_the_run(status, state):
    assert parts(*tool_call([], ended=False), status=RunStatus(status))[0]["state"] == state


def test_a_result_completes_its_call():
    called, answered = parts(*tool_call(["{}"]), result({"n": 2}))
    assert called["state"] == "completed"
    assert answered == {"type": "tool_result", "tool_call_id": "c1", "output": {"n": 2}, "is_error": False}


def test_a_result_that_is_an_error_marks_its_call():
    called, answered = parts(*tool_call(["{}"]), result("no", isError=True))
    assert (called["state"], answered["is_error"]) == ("error", True)


def test_a_result_may_be_named_result():
    (part,) = parts(event("TOOL_CALL_RESULT", toolCallId="c1", result=[1]))
    assert part["output"] == [1]


def test_a_result_with_a_text_form_uses_the_original_value():
    (part,) = parts(event("TOOL_CALL_RESULT", toolCallId="c1", content="[1]", result=[1]))
    assert part["output"] == [1]


def test_a_result_without_a_call_is_still_a_result():
    assert [part["type"] for part in parts(result("x"))] == ["tool_result"]


def test_a_repeated_result_replaces_the_first_in_its_position():
    projected = parts(*tool_call(["{}"]), result("old"), text("CHUNK", "then"), result("new"))
    assert [part["type"] for part in projected] == ["tool_call", "tool_result", "text"]
    assert projected[1]["output"] == "new"


def test_a_call_that_another_attempt_repeats_has_the_new_arguments():
    (part,) = parts(*tool_call(['{"q":"ca'], ended=False), *tool_call(['{"q":"dogs"}']))
    assert part["input"] == {"q": "dogs"}


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("pending", "pending"),
        ("running", "streaming"),
        ("waiting", "streaming"),
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_the_message_has_the_status_of_its_run(status, wanted):
    assert Projection([]).message(RunStatus(status)).status == wanted


def test_private_events_and_events_of_other_types_are_ignored():
    private = NewEvent("TEXT_MESSAGE_CONTENT", text("CONTENT", "secret").payload, private=True)
    others = [event("STEP_STARTED", stepName="s"), event("TEXT_MESSAGE_SHOUT", delta="x"), event("X")]
    assert parts(private, *others, event("REASONING_START"), event("TOOL_CALL_")) == []


def test_the_result_of_a_resume_answers_the_call():
    builder = RunBuilder()
    builder.append(*tool_call(["{}"]))
    builder.wait(call="c1")
    builder.resume({"ok": True}, call="c1")
    projected = Projection(builder.log).message(builder.run.status)
    assert [part["type"] for part in projected.parts] == ["tool_call", "tool_result"]
    assert projected.parts[1]["output"] == {"ok": True}


def test_a_snapshot_is_the_message_then_the_state_then_the_terminal_event():
    events = log(text("CHUNK", "Hi "), *tool_call(["{}"]), text("CHUNK", "there"))
    end = stored(99, NewEvent("RUN_FINISHED", b'{"type":"RUN_FINISHED"}'))
    projected = Projection([*events, end]).snapshot(COMPLETED, message_id="m")
    (none, messages), (nothing, state), last = projected
    assert (none, nothing) == (None, None)
    assert last == (99, b'{"type":"RUN_FINISHED"}')
    messages = msgspec.json.decode(messages)
    assert messages["type"] == "MESSAGES_SNAPSHOT"
    (message,) = messages["messages"]
    assert (message["id"], message["role"], message["status"]) == ("m", "assistant", "completed")
    assert message["content"] == "Hi there"
    assert [part["type"] for part in message["parts"]] == ["text", "tool_call", "text"]
    assert msgspec.json.decode(state) == {
        "type": "STATE_SNAPSHOT",
        "snapshot": {"invokeAgentChildRuns": {}, "inputRequestsByToolCallId": {}},
    }


def test_a_snapshot_of_an_active_run_has_no_terminal_event():
    projection = Projection(log(text("CHUNK", "Hi")))
    projected = projection.snapshot(
        RUNNING, message_id="m", created_at=NOON, input_requests={"c1": {"id": "i"}}
    )
    assert [number for number, _ in projected] == [None, None]
    assert projection.latest_event_id == 1
    assert msgspec.json.decode(projected[0][1])["messages"][0]["createdAt"] == "2026-03-20T12:00:00.000Z"
    assert msgspec.json.decode(projected[1][1])["snapshot"]["inputRequestsByToolCallId"] == {
        "c1": {"id": "i"}
    }


# Any events of clients

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
types = st.sampled_from(
    [
        f"{kind}_{step}"
        for kind in ("TEXT_MESSAGE", "REASONING_MESSAGE", "TOOL_CALL")
        for step in ("START", "CONTENT", "ARGS", "CHUNK", "END")
    ]
    + ["TOOL_CALL_RESULT", "STATE_SNAPSHOT", "STATE_DELTA", "RUN_ERROR", "CUSTOM", ""]
)
few = st.sampled_from(["a", "b", ""])
members = st.fixed_dictionaries(
    {},
    optional={
        "messageId": few | json_values,
        "toolCallId": few | json_values,
        "toolCallName": json_values,
        "delta": words | json_values,
        "content": json_values,
        "isError": json_values,
        "snapshot": json_values,
    },
)


@given(st.lists(st.tuples(types, members), max_size=20), st.sampled_from(RunStatus))
def test_no_event_makes_the_projection_fail(projected, status):
    events = log(*(event(event_type, **given) for event_type, given in projected))
    message = Projection(events).message(status)
    assert {part["type"] for part in message.parts} <= {"text", "reasoning", "tool_call", "tool_result"}
    for part in message.parts:
        if part["type"] == "tool_call":
            assert isinstance(part["input"], dict)
            assert part["id"]
            assert part["name"]
    for _, payload in Projection(events).snapshot(status, message_id="m"):
        assert "type" in msgspec.json.decode(payload)


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"{", b'{"delta":"\xff"}', b'{"a":' * 900 + b"1" + b"}" * 900]
)
@pytest.mark.parametrize(
    "event_type", ["TEXT_MESSAGE_CONTENT", "TOOL_CALL_START", "TOOL_CALL_RESULT", "STATE_DELTA"]
)
def test_no_payload_makes_the_projection_fail(payload, event_type):
    assert parts(NewEvent(event_type, payload)) == []


@given(st.lists(st.text("ab ", min_size=1), min_size=1, max_size=8), st.sampled_from(["CONTENT", "CHUNK"]))
def test_how_a_text_is_cut_makes_no_difference(pieces, step):
    assert parts(*(text(step, piece) for piece in pieces)) == parts(text(step, "".join(pieces)))


@given(st.dictionaries(words, json_values, max_size=3), st.data())
def test_how_arguments_are_cut_makes_no_difference(arguments, data):
    whole = msgspec.json.encode(arguments).decode()
    cut = data.draw(st.integers(0, len(whole)))
    assert parts(*tool_call([whole[:cut], whole[cut:]])) == parts(*tool_call([whole]))
    assert parts(*tool_call([whole]))[0]["input"] == msgspec.json.decode(whole)


@given(st.data())
def test_parts_are_in_the_order_of_their_first_events(data):
    names = data.draw(st.lists(st.sampled_from("abcd"), max_size=12))
    projected = parts(*(text("CONTENT", name, message=name) for name in names))
    assert [part["text"][0] for part in projected] == list(dict.fromkeys(names))


def test_a_delta_of_a_million_characters_is_a_text():
    assert len(parts(text("CONTENT", "x" * 1_000_000))[0]["text"]) == 1_000_000


def test_projection_takes_linear_time():
    def seconds(count):
        events = log(*([text("CONTENT", "word ")] * (count // 2) + [call("ARGS", "[")] * (count // 2)))
        started = time.thread_time()  # without the time of other processes
        Projection(events).message(RUNNING)
        return time.thread_time() - started

    small = min(seconds(5_000) for _ in range(3))
    assert seconds(50_000) < 40 * small


def test_a_log_can_be_projected_page_by_page():
    events = log(text("CHUNK", "a"), *tool_call(["{}"]), text("CHUNK", "b"), result("x"))
    projection = Projection()
    for one in events:
        projection.add(one)
        projection.message(RUNNING)
    assert projection.message(RUNNING) == Projection(events).message(RUNNING)
