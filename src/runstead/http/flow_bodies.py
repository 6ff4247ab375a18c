"""Flow control in bodies that create runs."""

from typing import Annotated, Literal, TypedDict

import msgspec

from runstead.core import limits
from runstead.core.runs.flow import NO_FLOW, Debounce, Flow, Unique
from runstead.http.bounds import between, text
from runstead.http.framework.values import NO_CONTROLS

FlowKey = Annotated[str, text(limits.flow_key_chars_max, pattern=NO_CONTROLS)]


class UniqueBody(msgspec.Struct, frozen=True):
    """An existing run of the target with this key is answered in place of a new one: while it is active, or if it was
    created less than `while` seconds ago.
    """

    key: FlowKey
    scope: Literal["active"] | Annotated[int, between(1, limits.unique_s_max)] = msgspec.field(
        default="active", name="while"
    )


class DebounceBody(msgspec.Struct, frozen=True):
    """The run waits `seconds`. A later request for the target with this key replaces its input and config, and lets it
    wait again, until `max_seconds` after it was created.
    """

    key: FlowKey
    seconds: Annotated[int, between(1, limits.debounce_s_max)]
    max_seconds: Annotated[int, between(1, limits.debounce_s_max)] | None = None


def flow_of(unique: UniqueBody | None, debounce: DebounceBody | None, concurrency_key: str | None) -> Flow:
    """Return the flow control of a body. Raises INVALID_REQUEST."""
    if unique is None and debounce is None and concurrency_key is None:
        return NO_FLOW
    flow = Flow(concurrency_key, unique_of(unique), debounce_of(debounce))
    flow.check()
    return flow


def unique_of(body: UniqueBody | None) -> Unique | None:
    return None if body is None else Unique(body.key, None if body.scope == "active" else body.scope)


def debounce_of(body: DebounceBody | None) -> Debounce | None:
    return None if body is None else Debounce(body.key, body.seconds, body.max_seconds)


class FlowMembers(TypedDict):
    """The members of an answer that show flow control. Those that are not set are absent."""

    concurrency_key: str | msgspec.UnsetType
    unique: UniqueBody | msgspec.UnsetType
    debounce: DebounceBody | msgspec.UnsetType


def bodies_of(flow: Flow) -> FlowMembers:
    """Return the members of a body that give this flow control."""
    unique, debounce = flow.unique, flow.debounce
    return {
        "concurrency_key": flow.concurrency_key or msgspec.UNSET,
        "unique": msgspec.UNSET if unique is None else UniqueBody(unique.key, unique.seconds or "active"),
        "debounce": msgspec.UNSET
        if debounce is None
        else DebounceBody(debounce.key, debounce.seconds, debounce.max_seconds),
    }
