"""The state of a run: STATE_SNAPSHOT, and STATE_DELTA as JSON Patch (RFC 6902)."""

import copy

import msgspec
import pytest
from hypothesis import given, strategies as st

from runstead.core import limits
from runstead.core.conversations.projection import Projection

from .run_builder import event, stored

EMPTY = {"invokeAgentChildRuns": {}, "inputRequestsByToolCallId": {}}


def after(start, *patches):
    """The state that began as `start`, without the members that are always there."""
    events = [
        event("STATE_SNAPSHOT", snapshot=start),
        *(event("STATE_DELTA", delta=patch) for patch in patches),
    ]
    shown = Projection(stored(number, new) for number, new in enumerate(events, 1)).state()
    return {name: value for name, value in shown.items() if name not in EMPTY or value}


def op(name, path, **members):
    return {"op": name, "path": path} | {key.rstrip("_"): value for key, value in members.items()}


def test_a_state_begins_with_the_members_that_clients_patch():
    assert Projection([]).state() == EMPTY
    shown = Projection(
        [
            stored(
                1,
                event(
                    "STATE_DELTA", delta=[op("add", "/invokeAgentChildRuns/c1", value={"status": "pending"})]
                ),
            )
        ]
    ).state()
    assert shown["invokeAgentChildRuns"] == {"c1": {"status": "pending"}}


def test_a_snapshot_replaces_the_state():
    assert after({"a": 1}, [op("add", "/b", value=2)]) == {"a": 1, "b": 2}
    events = [event("STATE_SNAPSHOT", snapshot={"a": 1}), event("STATE_SNAPSHOT", snapshot={"b": 1})]
    assert "a" not in Projection(map(stored, (1, 2), events)).state()


@pytest.mark.parametrize("snapshot", [None, 7, [], "x", True])
def test_a_snapshot_that_is_not_an_object_is_ignored(snapshot):
    events = [event("STATE_SNAPSHOT", snapshot={"a": 1}), event("STATE_SNAPSHOT", snapshot=snapshot)]
    assert Projection(map(stored, (1, 2), events)).state() == {"a": 1, **EMPTY}


def test_a_member_that_clients_patch_is_always_an_object():
    assert after({"invokeAgentChildRuns": 7}) == {}


@pytest.mark.parametrize(
    ("start", "operation", "wanted"),
    [
        ({}, op("add", "/a", value=1), {"a": 1}),
        ({"a": 1}, op("add", "/a", value=2), {"a": 2}),
        ({"a": [1, 2]}, op("add", "/a/1", value=9), {"a": [1, 9, 2]}),
        ({"a": [1]}, op("add", "/a/1", value=9), {"a": [1, 9]}),
        ({"a": [1]}, op("add", "/a/-", value=9), {"a": [1, 9]}),
        ({"a": 1}, op("add", "", value={"b": 2}), {"b": 2}),
        ({"a": 1}, op("add", "/b", value=None), {"a": 1, "b": None}),
        ({"": 1}, op("replace", "/", value=2), {"": 2}),
        ({"a/b": 1, "m~n": 2}, op("remove", "/a~1b"), {"m~n": 2}),
        ({"a/b": 1, "m~n": 2}, op("remove", "/m~0n"), {"a/b": 1}),
        ({"~1": 1}, op("remove", "/~01"), {}),
        ({"a": [1, 2, 3]}, op("remove", "/a/1"), {"a": [1, 3]}),
        ({"a": [1, 2]}, op("replace", "/a/0", value=9), {"a": [9, 2]}),
        ({"a": {"b": 1}}, op("move", "/c", from_="/a/b"), {"a": {}, "c": 1}),
        ({"a": [1, 2, 3]}, op("move", "/a/0", from_="/a/2"), {"a": [3, 1, 2]}),
        ({"a": 1}, op("move", "/a", from_="/a"), {"a": 1}),
        ({"a": {"b": 1}}, op("copy", "/c", from_="/a"), {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, op("test", "/a", value=1.0), {"a": 1}),
    ],
)
def test_an_operation_follows_rfc_6902(start, operation, wanted):
    assert after(start, [operation]) == wanted


@pytest.mark.parametrize(
    "bad",
    [
        op("replace", "/missing", value=1),
        op("remove", "/missing"),
        op("remove", ""),
        op("add", "/a/b/c", value=1),
        op("add", "/list/4", value=1),
        op("add", "/list/01", value=1),
        op("add", "/list/x", value=1),
        op("add", "/list/\u00b2", value=1),
        op("add", f"/list/{'9' * 5_000}", value=1),
        op("remove", "/list/-"),
        op("replace", "/list/-", value=1),
        op("replace", "/list/3", value=1),
        op("add", "no slash", value=1),
        op("add", "/a"),
        op("add", 7, value=1),
        op("add", "", value=[1]),
        op("move", "/deep/in", from_="/deep"),
        op("move", "/x", from_="/missing"),
        op("move", "/x", from_=""),
        op("copy", "/x", from_="/missing"),
        op("copy", "/x"),
        op("test", "/a", value=2),
        op("test", "/a", value=True),
        op("test", "/deep", value={}),
        op("shout", "/a", value=1),
        {"path": "/a"},
        7,
        None,
        [],
    ],
)
def test_a_patch_that_does_not_apply_changes_nothing(bad):
    start = {"a": 1, "list": [1, 2, 3], "deep": {"er": {}}}
    before = [
        op("add", "/new", value={"x": []}),
        op("add", "/new/x/-", value=1),
        op("add", "/list/0", value=0),
        op("remove", "/list/2"),
        op("replace", "/list/0", value="z"),
        op("replace", "/a", value=5),
        op("move", "/er", from_="/deep/er"),
        op("copy", "/er/copy", from_="/new"),
        op("move", "/a", from_="/er"),
        op("replace", "", value={"a": 1, "list": [1, 2, 3], "deep": {"er": {}}}),
    ]
    assert after(start, [*before, bad]) == start
    assert after(start, [bad], [op("add", "/b", value=1)]) == {**start, "b": 1}


@pytest.mark.parametrize("delta", [None, 7, {}, "x", {"op": "add", "path": "/a", "value": 1}])
def test_a_delta_that_is_not_a_patch_is_ignored(delta):
    assert after({"a": 1}, delta) == {"a": 1}


def test_a_copy_shares_nothing_with_its_source():
    assert after({"a": {"b": 1}}, [op("copy", "/c", from_="/a"), op("add", "/c/b", value=2)]) == {
        "a": {"b": 1},
        "c": {"b": 2},
    }


def test_the_returned_state_is_a_copy():
    folded = Projection([stored(1, event("STATE_SNAPSHOT", snapshot={"a": [1]}))])
    folded.state()["a"].append(2)
    assert folded.state()["a"] == [1]


def test_copies_of_copies_do_not_fill_the_memory():
    doubling = [[op("copy", "/a/-", from_="/a")]] * 60
    assert len(msgspec.json.encode(after({"a": ["x" * 1_000]}, *doubling))) <= 2 * limits.body_bytes_max


def test_moves_that_make_a_state_too_deep_do_not_fail():
    chain = "/d" * 150
    nested = {}
    for _ in range(150):
        nested = {"d": nested}
    deeper = [
        op("add", "/b", value=copy.deepcopy(nested)),
        op("move", f"/b{chain}/x", from_="/a"),
        op("move", "/a", from_="/b"),
    ]
    assert after({"a": nested}, *([deeper] * 20)) == {}


keys = st.sampled_from(["a", "b", "0", "1", "-", ""])
pointers = st.lists(keys, max_size=3).map(lambda tokens: "".join(f"/{token}" for token in tokens))
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"value": values, "from": pointers},
)


@given(st.dictionaries(keys, values, max_size=4), st.lists(operations, max_size=6))
def test_a_patch_applies_completely_or_not_at_all(start, patch):
    steps = start
    for operation in patch:
        alone = after(steps, [operation])
        steps = alone
    whole = after(start, patch)
    failing = after(start, [*patch, {"op": "fail"}])
    assert failing == {name: value for name, value in start.items() if name not in EMPTY or value}
    assert whole in (steps, failing)
