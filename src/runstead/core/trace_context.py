"""The trace context of a request, which a run keeps (W3C Trace Context, https://www.w3.org/TR/trace-context/).

A stored context is `<traceparent>`, or `<traceparent> <tracestate>`.
"""

import re
from contextvars import ContextVar
from typing import Final

from runstead.core import limits

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# Keys of level 2, which also begin with a digit.
_MEMBER: Final = re.compile(
    r"([a-z0-9][a-z0-9_*/@-]{0,255})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_SAMPLED_AND_RANDOM: Final = 3

#: The context that a run gets which the current task creates.
current: Final[ContextVar[str | None]] = ContextVar("trace_context", default=None)


def parse(traceparent: str, tracestate: str | None) -> str | None:
    """Return the context of two headers, to be stored. None: `traceparent` is malformed, so both are ignored.

    A malformed or too large `tracestate` is ignored alone. A later version of `traceparent` becomes version 00.
    """
    matched = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if matched is None:
        return None
    version, trace_id, parent_id, flags, more = matched.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not parent_id.strip("0"):
        return None
    known = f"00-{trace_id}-{parent_id}-{int(flags, 16) & _SAMPLED_AND_RANDOM:02x}"
    state = None if tracestate is None else _parse_state(tracestate)
    return f"{known} {state}" if state else known


def _parse_state(tracestate: str) -> str | None:
    members = [member for one in tracestate.split(",") if (member := one.strip(" \t"))]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = {matched[1] for matched in matches if matched is not None}
    state = ",".join(members)
    if len(keys) < len(members) or len(members) > limits.trace_state_members_max:
        return None
    return state if len(state) <= limits.trace_state_chars_max else None


def split(context: str | None) -> tuple[str | None, str | None]:
    """Return the headers `traceparent` and `tracestate` of a stored context."""
    traceparent, _, tracestate = (context or "").partition(" ")
    return traceparent or None, tracestate or None
