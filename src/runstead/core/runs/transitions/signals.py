"""Signals: kept for a run until it waits for an event of their name, and taken at most once, oldest first."""

from typing import Any

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.event_match import matches
from runstead.core.runs.run import Run
from runstead.core.runs.signal import SentSignals, Signal
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import not_active, rewrite
from runstead.core.runs.transitions.wait import open_events, take_signal


def send_signal(run: Run, new: Signal, sent: SentSignals, *, now: int) -> Transition:
    """Give a signal to a run that waits for an event of its name, or keep it for the run. `new` has no number yet.

    A repeat of an idempotency key changes nothing. Raises RUN_NOT_ACTIVE, SIGNALS_FULL; IDEMPOTENCY_KEY_REUSED for
    another name or payload.
    """
    if sent.same is not None:
        if sent.same.digest != new.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED", f"The key {new.key} was used for another signal of this run"
            )
        return Transition(run, duplicate=True, signal=sent.same)
    if run.terminal:
        raise not_active(run)
    signal = replace(new, number=sent.latest + 1)
    for awaited in open_events(run):
        if awaited.name == signal.name:
            return take_signal(run, signal, awaited, now=now)
    if sent.untaken >= limits.signals_untaken_max:
        raise Error(
            "SIGNALS_FULL",
            f"The run has {sent.untaken} signals that it has not taken yet, and {limits.signals_untaken_max} is the "
            "maximum: send more when it has taken some",
        )
    return Transition(rewrite(run, now), signal=signal)


def deliver_event(
    run: Run,
    new: Signal,
    sent: SentSignals,
    *,
    tool_call_id: str | None,
    data: Any,
    occurred_at: int | None,
    now: int,
) -> Transition:
    """Resume a run with an event of the bus, if it still has the wait `tool_call_id` and has not got the event yet.

    `new` is the event as a signal, with a key of its own; `data` is its decoded payload. EVENT_LOG_FULL.
    """
    if sent.same is None:
        for awaited in open_events(run):
            if (awaited.name, awaited.tool_call_id) == (new.name, tool_call_id) and matches(
                awaited.match, data
            ):
                signal = replace(new, number=sent.latest + 1)
                return take_signal(run, signal, awaited, now=now, occurred_at=occurred_at)
    return Transition(run, duplicate=True)
