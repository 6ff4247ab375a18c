"""An event with an idempotency key is stored once per run, at any cursors."""

import pytest

from runstead.core.errors import Error
from runstead.core.runs.append import digest

from .run_builder import RunBuilder, event


def k(name, n=1):
    return event("CUSTOM", key=name, n=n)


def refused(act, *args, **named):
    with pytest.raises(Error) as caught:
        act(*args, **named)
    return caught.value.code


@pytest.fixture
def builder():
    """A run that holds the events a and b."""
    made = RunBuilder()
    made.append(k("a"), k("b"))
    return made


def stored_labels(builder):
    return [builder.payload(n)["idempotency_key"] for n in range(len(builder.log))]


def test_an_event_with_a_stored_key_is_skipped(builder):
    transition = builder.append(k("b"), k("c"))
    assert len(transition.events) == 1
    assert stored_labels(builder) == ["a", "b", "c"]
    assert builder.run.latest_external_event_sequence == 3


def test_an_append_whose_events_are_all_stored_is_a_replay_at_any_cursor(builder):
    run = builder.run
    for cursors in ({}, {"after": 0}, {"after": 1}, {"after": 2}, {"after": 9}, {"sequence": 0}):
        assert builder.append(k("b"), k("a"), **cursors).duplicate
        assert builder.run is run


def test_a_replay_is_accepted_even_if_the_run_has_ended_or_waits(builder):
    builder.wait("event", call=None)
    assert builder.append(k("a")).duplicate
    assert refused(builder.append, k("a"), k("new")) == "EVENT_RUN_WAITING"
    builder.complete()
    assert builder.append(k("a")).duplicate
    assert refused(builder.append, k("new")) == "EVENT_RUN_TERMINAL"


def test_an_append_with_another_event_for_a_stored_key_is_refused_completely(builder):
    run = builder.run
    assert refused(builder.append, k("c"), k("a", 2)) == "IDEMPOTENCY_KEY_REUSED"
    assert builder.run is run


def test_the_same_key_twice_in_an_append_is_one_event():
    builder = RunBuilder()
    assert len(builder.append(k("a"), k("a"), event()).events) == 2
    assert refused(builder.append, k("x"), k("x", 2)) == "IDEMPOTENCY_KEY_REUSED"


def test_cursors_are_checked_for_new_events(builder):
    assert refused(builder.append, k("c"), after=1) == "EVENT_CURSOR_MISMATCH"
    assert refused(builder.append, k("a"), k("c"), sequence=1) == "EVENT_CURSOR_MISMATCH"
    # A prefix was committed: only the rest is new
    builder.append(k("a"), k("b"), k("c"), after=0)
    # Stored events may also be before the cursor
    builder.append(k("a"), k("d"), k("b"), after=3, sequence=3)
    assert stored_labels(builder) == ["a", "b", "c", "d"]


def test_events_without_a_key_are_never_skipped(builder):
    for _ in range(2):
        builder.append(event(), k("a"))
    assert builder.run.latest_event_id == 4


def test_the_encoding_of_an_event_makes_no_difference():
    assert digest(b'{"a":1,"b":[true]}') == digest(b'{ "b": [true], "a": 1 }')
    assert digest(b'{"a":1}') != digest(b'{"a":true}')
