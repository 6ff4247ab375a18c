import pytest
from hypothesis import given, strategies as st

from runstead.core.runs.event import pascal

from .run_builder import event


@pytest.mark.parametrize(
    ("event_type", "name"),
    [
        ("TOOL_CALL_START", "ToolCallStart"),
        ("RUN_FINISHED", "RunFinished"),
        ("CUSTOM", "Custom"),
        ("STEP__STARTED_", "StepStarted"),
        ("a\nb: c", "Abc"),
        ("", "Event"),
        ("\n\r\u2028", "Event"),
        ("ÄÖ_1", "1"),
    ],
)
def test_a_type_becomes_the_name_of_a_server_sent_event(event_type, name):
    assert pascal(event_type) == name


@given(st.text())
def test_no_type_can_break_a_frame(event_type):
    name = pascal(event_type)
    assert name
    assert name.isascii()
    assert name.isalnum()


def test_the_external_sequence_counts_what_clients_append_in_public():
    assert event("CUSTOM").counted
    assert not event("AGENT_RUN_MODEL_CALL_CONTEXT").counted


@pytest.mark.parametrize(
    ("event_type", "wanted"),
    [
        ("TEXT_MESSAGE_CONTENT", "delta"),
        ("REASONING_MESSAGE_CHUNK", "delta"),
        ("STATE_DELTA", "delta"),
        ("STATE_SNAPSHOT", "fact"),
        ("RUN_ERROR", "fact"),
        ("anything", "fact"),
    ],
)
def test_every_type_is_a_delta_or_a_fact(event_type, wanted):
    assert event(event_type).event_class == wanted
