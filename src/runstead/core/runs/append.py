"""Append events to a run's log: check the cursors, and recognise repeated appends."""

import hashlib
from collections.abc import Mapping, Sequence, Set as AbstractSet
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal
from runstead.core.runs.event import EXTERNAL_SOURCES, RUN_STARTED, TERMINAL_TYPES, Event, NewEvent, Source
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions import Fence, lease_renewal, rewrite
from runstead.core.runs.values import NamedValue, Progress, RunValue

_NO_KEYS: Final[Mapping[str, bytes]] = {}

# Clients compare these messages literally.
MISMATCH = "External run event cursor mismatch"
RUN_TERMINAL = "Cannot append external events to a terminal run"
RUN_WAITING = "Cannot append external events while the run is waiting for a tool result"
TOO_LARGE = "Agent run event payload must be less than 256 KB"


def append(
    run: Run,
    *,
    now: int,
    events: Sequence[NewEvent],
    expected_previous_event_id: int | None,
    expected_sequence: int | None,
    tail: Sequence[Event],
    fence: Fence,
    keys: Mapping[str, bytes] = _NO_KEYS,
    value_names: frozenset[str] = frozenset(),
    events_max: int = limits.events_per_run_max,
    event_bytes_max: int | None = None,
) -> Transition:
    """Append all the events or none.

    `tail` holds the stored events after `expected_previous_event_id`, at most one append's worth. It shows
    which of the events were already stored by an earlier append, so that none is stored twice. `keys` holds
    the keys of the events that the run already has, with their digests: these events are skipped, whatever
    the cursors say. `value_names` are those of the run's values. EVENT_RESERVED, EVENT_RUN_TERMINAL,
    EVENT_RUN_WAITING, EVENT_CURSOR_MISMATCH, EVENT_LOG_FULL, IDEMPOTENCY_KEY_REUSED, VALUES_FULL.
    """
    fence.check(run)
    _refuse_reserved(events, fence)
    fresh = _fresh(events, keys)
    known, mismatch = 0, False
    if expected_previous_event_id is None:
        mismatch = expected_sequence is not None and expected_sequence != run.latest_external_event_sequence
    elif expected_previous_event_id > run.latest_event_id:
        mismatch = True
    else:
        known = _committed_prefix(events, tail)
        # A tail that is shorter than the append is the complete rest of the log: the events after it are new.
        mismatch = known < min(len(tail), len(events))
        if expected_sequence is not None and not mismatch:
            mismatch = expected_sequence != _sequence_before(run, tail)
    new = tuple(events[known:])
    if False in fresh:
        new = tuple(one for one, is_fresh in zip(new, fresh[known:], strict=True) if is_fresh)
    if (not mismatch and not new) or True not in fresh:
        return Transition(run, duplicate=True)  # a repeated append, valid even if the run has ended since
    if run.terminal:
        raise Error("EVENT_RUN_TERMINAL", RUN_TERMINAL)
    if run.status is RunStatus.WAITING:
        raise Error("EVENT_RUN_WAITING", RUN_WAITING)
    if mismatch:
        raise Error("EVENT_CURSOR_MISMATCH", MISMATCH)
    # One event is reserved for the terminal event.
    if run.latest_event_id + len(new) >= events_max:
        raise Error("EVENT_LOG_FULL", f"A run holds at most {events_max} events")
    if event_bytes_max is not None:
        size = (run.event_bytes or 0) + sum([len(event.payload) for event in new])
        if size > event_bytes_max:
            raise Error("EVENT_LOG_FULL", f"The events of a run have at most {event_bytes_max:,} bytes")
    counted, sets = _counted(new)
    changes: dict[str, object] = {
        "latest_event_id": run.latest_event_id + len(new),
        "latest_external_event_sequence": run.latest_external_event_sequence + counted,
    }
    values: tuple[RunValue, ...] = ()
    if sets:
        progress, values = _settings(new, run.latest_event_id, now)
        if values:
            _refuse_values(value_names.union(value.name for value in values))
        changes |= progress
    if run.status is RunStatus.PENDING and run.attempt == 0 and any(e.type == RUN_STARTED for e in new):
        # The client that drives the run without a lease has started it. A worker can still claim it.
        changes |= {"status": RunStatus.RUNNING, "started_at": now}
    if run.push_service_id is not None:
        changes |= lease_renewal(run, now)
    return Transition(rewrite(run, now, **changes), events=new, values=values)


def source_of(principal: Principal, fence: Fence) -> Source:
    """Return the source of the events that a caller appends. `append` checks that the lease is the current one."""
    if fence.holds_lease:
        return "worker"
    return "writer" if principal.service_id is not None else "caller"


def _refuse_reserved(events: Sequence[NewEvent], fence: Fence) -> None:
    """EVENT_RESERVED for an event that only the server or the holder of the run's lease may write.

    The attempt number proves nothing here, since it can be guessed.
    """
    for index, event in enumerate(events):
        if event.owner is None or (event.owner == "lease_holder" and fence.holds_lease):
            continue
        raise Error(
            "EVENT_RESERVED",
            "The event run.resumed is written by the server: send the answer to POST /runs/{run_id}/resume"
            if event.owner == "server"
            else "CUSTOM events named run.* and STEP events with a stepId are written by the worker that holds "
            "the run's lease: send its lease token in X-Lease-Token, or use another name",
            errors=((f"$.events[{index}]", "reserved"),),
        )


def _counted(events: Sequence[NewEvent]) -> tuple[int, bool]:
    """Return how many events the external sequence counts, and whether one sets progress or a value."""
    count, sets = 0, False
    for event in events:
        if event.source in EXTERNAL_SOURCES and not event.private:  # `counted`, without a call for each event
            count += 1
        sets = sets or event.sets is not None
    return count, sets


def _settings(
    events: Sequence[NewEvent], latest: int, now: int
) -> tuple[dict[str, object], tuple[RunValue, ...]]:
    """Return the run's field that the events change, and the values that they set: the last one of each name."""
    changes: dict[str, object] = {}
    values: dict[str, RunValue] = {}
    for event_id, event in enumerate(events, latest + 1):
        if isinstance(event.sets, Progress):
            changes["progress"] = event.sets.at(now)
        elif isinstance(event.sets, NamedValue):
            value = event.sets
            values[value.name] = RunValue(value.name, bytes(value.value), event_id, now)
    return changes, tuple(values.values())


def _refuse_values(names: frozenset[str]) -> None:
    """VALUES_FULL for more values than a run can have."""
    if len(names) > limits.values_per_run_max:
        raise Error(
            "VALUES_FULL",
            f"A run has at most {limits.values_per_run_max} named values: set one of them again, or put several "
            "values into one object",
        )


def _fresh(events: Sequence[NewEvent], stored: Mapping[str, bytes]) -> list[bool]:
    """Return for each event whether it is new: its key is not stored and not used earlier in this append."""
    if not any(event.key for event in events):
        return [True] * len(events)
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
                "The run has another event with this idempotency_key; use a new key for a new event",
            )
        seen[event.key] = event.digest
        fresh.append(earlier is None)
    return fresh


def digest(payload: bytes) -> bytes:
    """Return the digest of a JSON value, independent of whitespace and order.

    It identifies the event of a key.
    """
    return hashlib.sha256(_canonical(payload)).digest()


def refuse_terminal_types(types: AbstractSet[str]) -> None:
    """EVENT_TYPE_REFUSED for event types that only a completion may write."""
    for name in sorted(types & TERMINAL_TYPES):
        raise Error("EVENT_TYPE_REFUSED", f"{name} is written by completing the run, not by appending it")


def _committed_prefix(events: Sequence[NewEvent], tail: Sequence[Event]) -> int:
    """Count how many of the events, from the first, are stored in the tail in the same order."""
    count = 0
    for new, stored in zip(events, tail, strict=False):
        same = new.payload == stored.payload or _canonical(new.payload) == _canonical(stored.payload)
        if not same or not stored.external:
            break
        count += 1
    return count


def _canonical(payload: bytes) -> bytes:
    """Encode a JSON value in its canonical form. Compared as text, because in Python 1 equals True."""
    return msgspec.json.encode(msgspec.json.decode(payload), order="sorted")


def _sequence_before(run: Run, tail: Sequence[Event]) -> int:
    """Return the external sequence before the first event of the tail."""
    if not tail:
        return run.latest_external_event_sequence
    first = tail[0]
    return first.sequence - (1 if first.external and not first.private else 0)
