"""The write set: what each transition stores, and that all write sets of a run are consistent."""

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import initialize, invariant
from msgspec.structs import replace

from runstead.core.batches.batch import Tally
from runstead.core.conversations.conversation import Conversation
from runstead.core.conversations.input_request import InputRequest
from runstead.core.errors import Error
from runstead.core.runs import transitions
from runstead.core.runs.event import TERMINAL_TYPES, NewEvent
from runstead.core.runs.run import FIELDS, RunStatus
from runstead.core.runs.transition import NewMessage, Transition
from runstead.core.runs.write_set import cancel_descendants, changed_fields, write_set
from runstead.core.usage import rollup
from tests.support.examples import examples

from .run_builder import MINUTE, NOON, PROJECT, RunBuilder, event, new_run
from .test_machine import Machine

#: All that a write set stores beside the row.
STORED = (
    *(
        "events",
        "event_keys",
        "ended_attempt",
        "receipt",
        "values",
        "conversation",
        "message",
        "opened_input",
    ),
    *("closed_input", "schedule", "ancestors", "batch_move", "ends_schedule_run", "webhook_event"),
    *("rollup_entries", "deletes"),
)


def stored(write):
    return {name: value for name in STORED if (value := getattr(write, name))}


def family():
    """A running root and its child."""
    root = RunBuilder(seq=7, run_id="root")
    root.claim()
    return root, RunBuilder(seq=9, run_id="child", parent=root.run)


class Life(Machine):
    """Any sequence of commands on a child that belongs to a batch and to a schedule."""

    @initialize(
        kind=st.sampled_from(("task", "agent")),
        implementation_kind=st.sampled_from((None, "claude")),
        timeout_seconds=st.none() | st.integers(1, 120),
        backoff_limit=st.none() | st.integers(0, 3),
    )
    def create(self, **fields):
        root = RunBuilder(seq=7, run_id="root").run
        self.builder = RunBuilder(
            seq=9, parent=root, batch_id="batch-1", schedule_id="schedule-1", run_id="child", **fields
        )
        self.outcome = None
        self.version = self.builder.run.version

    @property
    def writes(self):
        return self.builder.writes

    @invariant()
    def the_family_counts_the_run_once_and_its_end_once(self):
        moved = [write for write in self.writes if write.ancestors]
        assert all(write.ancestors == (7,) for write in moved)
        assert all(write.family_total or write.family_active for write in moved)
        assert sum(write.family_total for write in moved) == 1
        assert sum(write.family_active for write in moved) == (not self.builder.run.terminal)
        assert [write.joins_family for write in self.writes] == [True] + [False] * (len(self.writes) - 1)

    @invariant()
    def the_batch_counts_the_run_in_its_status_alone(self):
        tally = Tally()
        for write in self.writes:
            if write.batch_move is not None:
                tally.add(write.batch_move)
        [moved] = tally.moved.values()
        assert moved.counts == [status is self.builder.run.status for status in RunStatus]
        assert moved.started_at == self.builder.run.started_at

    @invariant()
    def events_are_numbered_without_a_gap_at_the_time_of_their_write(self):
        events = [one for write in self.writes for one in write.events]
        assert [one.event_id for one in events] == list(range(1, self.builder.run.latest_event_id + 1))
        sequence = 0
        for one in events:
            sequence += one.external and not one.private
            assert one.sequence == sequence
        assert sequence == self.builder.run.latest_external_event_sequence
        for write in self.writes:
            assert {one.created_at for one in write.events} <= {write.now}

    @invariant()
    def an_end_is_stored_once_everywhere(self):
        ended = self.builder.run.terminal
        events = [one for write in self.writes for one in write.events]
        ends = [one for one in events if one.type in TERMINAL_TYPES]
        assert ends == (events[-1:] if ended else [])
        assert sum(write.ends_schedule_run for write in self.writes) == ended
        entries = [entry for write in self.writes for entry in write.rollup_entries]
        assert [entry.action for entry in entries] == ["ended"] * ended
        final = [
            write.webhook_event
            for write in self.writes
            if write.webhook_event not in {None, "run.started", "run.waiting"}
        ]
        assert final == [f"run.{self.builder.run.status.value}"] * ended

    @invariant()
    def keys_name_events_of_the_same_write(self):
        for write in self.writes:
            numbers = {one.event_id for one in write.events}
            assert {name.event_id for name in write.event_keys} <= numbers
            keyed = [one for one in write.transition.events if one.key is not None]
            assert [(name.key, name.digest) for name in write.event_keys] == [
                (one.key, one.digest) for one in keyed
            ]

    @invariant()
    def an_input_request_opens_once_and_closes_once(self):
        opened = [write.opened_input.id for write in self.writes if write.opened_input is not None]
        closed = [write.closed_input.id for write in self.writes if write.closed_input is not None]
        assert len(set(opened)) == len(opened)
        assert len(set(closed)) == len(closed)
        assert set(closed) <= set(opened)

    @invariant()
    def an_unchanged_run_stores_nothing(self):
        for write in self.writes:
            if write.unchanged:
                assert write.run is write.before
                assert stored(write) == {}
                assert not write.cancels_family

    @invariant()
    def the_changed_fields_are_all_that_differs(self):
        write = self.writes[-1]
        if write.before is not None:
            changes = changed_fields(write.before, write.run)
            assert all(getattr(write.before, name) != value for name, value in changes.items())
            assert replace(write.before, **changes) == write.run
            assert ("version" in changes) is not write.unchanged


Life.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def test_a_new_root_gets_the_number_of_the_engine():
    [write] = RunBuilder(seq=7).writes
    assert (write.run.seq, write.run.root_seq, write.run.path) == (7, 7, "/")
    assert (write.before, write.joins_family, write.ancestors) == (None, False, ())


def test_ancestors_are_counted_root_first():
    _, child = family()
    grandchild = RunBuilder(seq=12, run_id="grandchild", parent=child.run)
    assert grandchild.writes[0].ancestors == (7, 9)
    assert (grandchild.run.root_seq, grandchild.run.ancestor_seqs) == (7, (7, 9))
    grandchild.claim()
    assert grandchild.writes[-1].ancestors == (), "a claim moves no counter of the family"
    grandchild.complete()
    assert (grandchild.writes[-1].ancestors, grandchild.writes[-1].family_active) == ((7, 9), -1)


def test_a_cancel_includes_the_descendants_that_have_not_ended():
    root, child = family()
    ended = RunBuilder(seq=10, run_id="ended", parent=root.run)
    ended.cancel("first")
    late = replace(child.run, updated_at=root.now + MINUTE)  # written by a server whose clock is ahead
    root.cancel("second")
    write = root.writes[-1]
    assert write.cancels_family
    [cancelled] = cancel_descendants(write, [late, ended.run])
    assert (cancelled.before, cancelled.run.status) == (late, RunStatus.CANCELLED)
    assert (cancelled.run.cancel_reason, cancelled.now) == ("second", root.now + MINUTE)
    assert (cancelled.ancestors, cancelled.family_active, cancelled.family_total) == ((7,), -1, 0)
    assert [one.type for one in cancelled.events] == ["RUN_ERROR"]
    root.cancel("third")
    assert not root.writes[-1].cancels_family, "only the cancel that is stored cancels the descendants"


def test_a_deletion_changes_the_family_s_total_and_stores_nothing_else():
    _, child = family()
    child.complete()
    write = write_set(child.run, transitions.delete(child.run), child.now)
    assert write.deletes
    assert not write.unchanged
    assert stored(write) == {"deletes": True, "ancestors": (7,)}
    assert (write.family_total, write.family_active) == (-1, 0)
    entries = rollup.gone(rollup.end_of(write.run), rolled_up=False)
    assert [entry.action for entry in entries] == ["ended", "deleted"]


def test_a_child_of_a_cancelled_family_counts_nothing_as_active():
    root, _ = family()
    with pytest.raises(Error):
        RunBuilder(seq=11, run_id="late", parent=root.run, family_cancelled=True)


def test_the_placeholder_of_an_agent_run_has_the_run_s_number_and_the_time_of_the_write():
    message = NewMessage("message_1", "conversation_1", "ada")
    run = new_run(kind="agent", conversation_id="conversation_1")
    created = transitions.create(run, now=NOON, parent=None, family_cancelled=False, message=message)
    write = write_set(None, created, NOON, seq=5)
    assert (write.message.id, write.message.role, write.message.created_by) == (
        "message_1",
        "assistant",
        "ada",
    )
    assert (write.message.run_seq, write.message.created_at, write.message.seq) == (5, NOON, 0)


def test_an_input_request_is_stored_only_if_it_is_new(builder):
    builder.claim()
    asked = InputRequest(
        id="input_1",
        conversation_id="conversation_1",
        run_seq=1,
        run_id="run_1",
        tool_call_id="call_1",
        requested_responder_type="human",
        title="Who?",
        fields=b"[]",
        created_at=0,
        salt=b"salt",
    )
    changed = transitions.rewrite(builder.run, NOON, title="asks")
    assert write_set(builder.run, Transition(changed, input_request=asked), NOON).opened_input is asked
    known = replace(asked, seq=3)
    assert write_set(builder.run, Transition(changed, input_request=known), NOON).opened_input is None


def test_a_new_conversation_is_stored_unchanged():
    conversation = Conversation("conversation_1", PROJECT, "agent_task", NOON, NOON)
    created = transitions.create(
        new_run(kind="agent"), now=NOON, parent=None, family_cancelled=False, message=None
    )
    write = write_set(None, replace(created, conversation=conversation), NOON, seq=5)
    assert write.conversation is conversation


@pytest.mark.parametrize("field", ["seq", "project_id", "run_id", "root_seq", "path"])
def test_a_transition_that_names_another_run_is_refused(builder, field):
    other = {"seq": 2, "root_seq": 2, "path": "/2/"}.get(field, "other")
    changed = replace(transitions.rewrite(builder.run, NOON), **{field: other})
    with pytest.raises(AssertionError):
        write_set(builder.run, Transition(changed), NOON)


@pytest.mark.parametrize(
    "wrong", [{"version": 1}, {"latest_event_id": 1}, {"latest_external_event_sequence": 1}], ids=str
)
def test_a_row_with_a_wrong_count_is_refused(builder, wrong):
    changed = replace(transitions.rewrite(builder.run, NOON), **wrong)
    with pytest.raises(AssertionError):
        write_set(builder.run, Transition(changed), NOON)


def test_a_new_row_needs_a_number(builder):
    created = transitions.create(new_run(), now=NOON, parent=None, family_cancelled=False, message=None)
    with pytest.raises(AssertionError):
        write_set(None, created, NOON)
    with pytest.raises(AssertionError):
        write_set(None, Transition(builder.run), NOON, seq=2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_private_and_internal_events_get_a_number_and_no_sequence(kinds):
    run = RunBuilder().run
    events = tuple(
        NewEvent("CUSTOM", b"{}", source="caller" if external else "server", private=private)
        for external, private in kinds
    )
    counted = sum(external and not private for external, private in kinds)
    changed = transitions.rewrite(
        run, NOON, latest_event_id=len(kinds), latest_external_event_sequence=counted
    )
    write = write_set(run, Transition(changed, events=events), NOON)
    assert [(one.external, one.private) for one in write.events] == kinds
    assert [one.event_id for one in write.events] == list(range(1, len(kinds) + 1))
    assert [one.sequence for one in write.events] == [
        sum(external and not private for external, private in kinds[:count])
        for count in range(1, len(kinds) + 1)
    ]


@given(st.data())
def test_changed_fields_finds_equal_values_that_are_other_objects(data):
    run = RunBuilder().run
    copy = msgspec.convert(msgspec.to_builtins(run), type(run), strict=False)
    assert changed_fields(run, copy) == {}
    names = data.draw(st.sets(st.sampled_from(FIELDS)))
    changed = replace(copy, **dict.fromkeys(names, "another value"))
    assert changed_fields(run, changed) == dict.fromkeys(names, "another value")


def test_an_event_key_names_its_event(builder):
    builder.append(event("A"), event("B", key="k"))
    [name] = builder.writes[-1].event_keys
    assert (name.key, name.event_id) == ("k", 2)
