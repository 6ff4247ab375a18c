"""Appending to a run's log: which events fit where, and what a repeated append means."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.event import RUN_STARTED, TERMINAL_TYPES, Event, NewEvent
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import Fence, lease_renewal, rewrite

_NO_KEYS: Final[Mapping[str, bytes]] = {}

# Clients match these sentences literally.
MISMATCH = "External run event cursor mismatch"
RUN_TERMINAL = "Cannot append external events to a terminal run"
RUN_WAITING = "Cannot append external events while the run is waiting for a tool result"
TOO_LARGE = "Agent run event payload must be less than 256 KB"


def append(
    run: Run,
    *,
    now: int,
    events: Sequence[NewEvent],
    expected_event_id: int | None,
    expected_sequence: int | None,
    tail: Sequence[Event],
    fence: Fence,
    keys: Mapping[str, bytes] = _NO_KEYS,
) -> Transition:
    """Store the events after the last one, all or none.

    `tail` holds the stored events after `expected_event_id` (one append's worth at most): with them a batch that was
    committed before is recognised, whole or in part, and never stored twice. `keys` holds the digests of those of the
    events' keys that the run has already: such events are dropped, wherever the cursors stand.
    """
    fence.check(run)
    fresh = _fresh(events, keys)
    known, mismatch = 0, False
    if expected_event_id is None:
        mismatch = expected_sequence is not None and expected_sequence != run.latest_external_event_sequence
    elif expected_event_id > run.latest_event_id:
        mismatch = True
    else:
        known = _committed_prefix(events, tail)
        # Where the tail is shorter than the batch, it is all there is: what comes after it is new.
        mismatch = known < min(len(tail), len(events))
        if expected_sequence is not None and not mismatch:
            mismatch = expected_sequence != _sequence_before(run, tail)
    new = tuple(one for one, is_fresh in zip(events[known:], fresh[known:], strict=True) if is_fresh)
    if (not mismatch and not new) or not any(fresh):
        return Transition(run, duplicate=True)  # a replay, true even of a run that has ended since
    if run.terminal:
        raise Error("EVENT_RUN_TERMINAL", RUN_TERMINAL)
    if run.status is RunStatus.WAITING:
        raise Error("EVENT_RUN_WAITING", RUN_WAITING)
    if mismatch:
        raise Error("EVENT_CURSOR_MISMATCH", MISMATCH)
    # One place is kept for the terminal event.
    if run.latest_event_id + len(new) >= limits.events_per_run_max:
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    changes: dict[str, object] = {
        "latest_event_id": run.latest_event_id + len(new),
        "latest_external_event_sequence": run.latest_external_event_sequence + sum(e.counted for e in new),
    }
    if run.status is RunStatus.PENDING and run.attempt == 0 and any(e.type == RUN_STARTED for e in new):
        # Whoever drives the run without a lease has begun. A worker may still claim it.
        changes |= {"status": RunStatus.RUNNING, "started_at": now}
    if run.push_service_id is not None:
        changes |= lease_renewal(run, now)
    return Transition(rewrite(run, now, **changes), events=new)


def _fresh(events: Sequence[NewEvent], stored: Mapping[str, bytes]) -> list[bool]:
    """Which of the events the run does not hold under their keys yet. One key means one event."""
    seen = dict(stored)
    fresh = []
    for event in events:
        if event.key is None or event.digest is None:
            fresh.append(True)
            continue
        earlier = seen.get(event.key)
        if earlier is not None and earlier != event.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED",
                "The run holds another event under this idempotency_key; a new event takes a new key",
            )
        seen[event.key] = event.digest
        fresh.append(earlier is None)
    return fresh


def digest(payload: bytes) -> bytes:
    """Of the value, however it is spelled: what tells two events under one key apart."""
    return hashlib.sha256(_canonical(payload)).digest()


def refuse_terminal_types(types: Sequence[str]) -> None:
    for name in types:
        if name in TERMINAL_TYPES:
            raise Error("EVENT_TYPE_REFUSED", f"{name} is written by completing the run, not by appending it")


def _committed_prefix(events: Sequence[NewEvent], tail: Sequence[Event]) -> int:
    """How many of the events, from the first, stand in the tail in the same order."""
    count = 0
    for new, stored in zip(events, tail, strict=False):
        same = new.payload == stored.payload or _canonical(new.payload) == _canonical(stored.payload)
        if not same or not stored.external:
            break
        count += 1
    return count


def _canonical(payload: bytes) -> bytes:
    """One spelling for one value. Text, since Python holds 1 and true to be equal."""
    return msgspec.json.encode(msgspec.json.decode(payload), order="sorted")


def _sequence_before(run: Run, tail: Sequence[Event]) -> int:
    """The external sequence as it stood before the tail."""
    if not tail:
        return run.latest_external_event_sequence
    first = tail[0]
    return first.sequence - (1 if first.external and not first.private else 0)
