"""Progress and named values of a run, from the events that set them."""

import msgspec
import pytest

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.event import CUSTOM, NewEvent
from runstead.core.runs.values import setting_of

from .run_builder import RunBuilder, event


def setting(name, value, *, key=None):
    made = event(CUSTOM, name=name, value=value, key=key)
    return msgspec.structs.replace(
        made, source="worker", owner="lease_holder", sets=setting_of(name, made.payload)
    )


def progress(**value):
    return setting("run.progress", value)


def value(name, content):
    return setting("run.value", {"name": name, "value": content})


@pytest.fixture
def builder():
    builder = RunBuilder()
    builder.fence = builder.claim()
    return builder


def append(builder, *events):
    return builder.append(*events, fence=builder.fence)


def shown(builder):
    return None if builder.run.progress is None else msgspec.json.decode(builder.run.progress)


def values(builder):
    return {name: msgspec.json.decode(one.value) for name, one in builder.values.items()}


def test_the_last_progress_of_an_append_is_that_of_the_run(builder):
    assert shown(builder) is None
    append(builder, progress(fraction=0.25, message="parsing"), progress(fraction=0.5))
    assert shown(builder) == {"fraction": 0.5, "at": "2026-03-20T12:00:00.000Z"}
    builder.later(1_500)
    append(builder, event(CUSTOM, name="note"))
    assert shown(builder)["fraction"] == 0.5
    append(builder, progress(message="sending"))
    assert shown(builder) == {"message": "sending", "at": "2026-03-20T12:00:01.500Z"}


def test_an_append_without_progress_leaves_its_object_alone(builder):
    append(builder, progress(fraction=1))
    before = builder.run.progress
    assert append(builder, event(CUSTOM, name="run.note")).run.progress is before


@pytest.mark.parametrize(
    "value", [{"fraction": 1.1}, {"fraction": -1}, {"fraction": "half"}, {"fraction": True}, 1, None]
)
def test_a_progress_that_is_not_valid_is_refused(value):
    with pytest.raises(msgspec.ValidationError, match=r"\$\.value"):
        setting("run.progress", value)


def test_a_value_replaces_that_of_the_same_name(builder):
    append(builder, value("stage", "parsing"), value("total", {"lines": 3}), value("stage", "sending"))
    assert values(builder) == {"stage": "sending", "total": {"lines": 3}}
    assert (builder.values["stage"].event_id, builder.values["total"].event_id) == (3, 2)
    append(builder, value("stage", None))
    assert values(builder)["stage"] is None


def test_a_repeated_append_sets_nothing(builder):
    first = (value("stage", "a"), progress(fraction=0.1))
    builder.append(*first, fence=builder.fence, after=0)
    append(builder, value("stage", "b"), progress(fraction=0.2))
    again = builder.append(*first, fence=builder.fence, after=0)
    assert (again.duplicate, again.values) == (True, ())
    assert (values(builder)["stage"], shown(builder)["fraction"]) == ("b", 0.2)


def test_an_event_whose_key_is_known_sets_nothing(builder):
    keyed = setting("run.value", {"name": "stage", "value": "a"}, key="k")
    append(builder, keyed)
    append(builder, value("stage", "b"))
    append(builder, keyed, event(CUSTOM, name="note"))
    assert values(builder) == {"stage": "b"}


def test_a_run_has_a_bounded_number_of_values(builder):
    most = limits.values_per_run_max
    append(builder, *(value(f"v{number}", number) for number in range(most)))
    with pytest.raises(Error, match=f"at most {most} named values") as refused:
        append(builder, value("more", 1))
    assert refused.value.code == "VALUES_FULL"
    append(builder, value("v0", "again"))
    assert values(builder)["v0"] == "again"


@pytest.mark.parametrize(
    "value",
    [
        {"name": "stage"},
        {"value": 1},
        {"name": "", "value": 1},
        {"name": "n" * 129, "value": 1},
        {"name": "a\nb", "value": 1},
        {"name": "large", "value": "x" * limits.value_bytes_max},
        1,
    ],
)
def test_a_value_that_is_not_valid_is_refused(value):
    with pytest.raises(msgspec.ValidationError, match=r"\$\.value"):
        setting("run.value", value)


def test_events_of_other_names_set_nothing():
    assert setting_of("run.log", b'{"value": 1}') is None
    assert NewEvent("CUSTOM", b"{}").sets is None
