"""Signals: named messages to a run, kept in order until the run takes each of them, at most once."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.runs.event_match import Match

SignalName = Annotated[
    str, Meta(min_length=1, max_length=limits.signal_name_chars_max, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")
]


class AwaitedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that a waiting run awaits: a signal of this name resumes it, as the result of the call. So does an event
    of the project's bus with this name whose data has the values of `match`.
    """

    name: SignalName
    tool_call_id: str | None = None
    match: Match | None = None


class Signal(msgspec.Struct, frozen=True):
    """A signal. Times in ms. `number` counts the signals of its run, from 1 (0: not stored yet).

    `payload` is JSON text. `key` is the caller's idempotency key, `digest` a digest of name and payload. The event
    `event_id` gave it to the run at `taken_at`; None: it is not taken yet.
    """

    number: int
    id: str
    name: str
    payload: bytes
    created_at: int
    key: str | None
    digest: bytes
    taken_at: int | None = None
    event_id: int | None = None


class SentSignals(msgspec.Struct, frozen=True):
    """The signals of a run: the number of the latest one, how many are not taken, and the one with the wanted key."""

    latest: int = 0
    untaken: int = 0
    same: Signal | None = None


class WantedSignals(msgspec.Struct, frozen=True):
    """What a rule needs of a run's signals: the oldest untaken one of each name, or what a new one with `key` needs."""

    names: tuple[str, ...] = ()
    sends: bool = False
    key: str | None = None


class FoundSignals(msgspec.Struct, frozen=True):
    """The wanted signals. `oldest`: name → the oldest signal that is not taken."""

    oldest: Mapping[str, Signal] = msgspec.field(default_factory=dict)
    sent: SentSignals = SentSignals()


_encode = msgspec.json.Encoder().encode
_awaited = msgspec.json.Decoder(tuple[AwaitedEvent, ...]).decode


def encode_awaited(events: tuple[AwaitedEvent, ...]) -> bytes | None:
    """Return the JSON text that a run's row stores of the events it awaits. None: it awaits none."""
    return _encode(events) if events else None


def awaited_in(stored: bytes | None) -> tuple[AwaitedEvent, ...]:
    return () if stored is None else _awaited(stored)
