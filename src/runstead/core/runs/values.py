"""Progress, named values and usage of a run, which its worker reports with the CUSTOM events `run.progress`, `run.value`
and `run.usage`.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.usage.usage import Reported

PROGRESS: Final = "run.progress"
VALUE: Final = "run.value"
USAGE: Final = "run.usage"

encode = msgspec.json.Encoder().encode

ValueName = Annotated[
    str, Meta(min_length=1, max_length=limits.value_name_chars_max, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")
]


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a run is: a fraction from 0 to 1, and a message for people."""

    fraction: Annotated[float, Meta(ge=0, le=1)] | None = None
    message: Annotated[str, Meta(max_length=limits.progress_message_chars_max)] | None = None

    def at(self, now: int) -> bytes:
        """Return the JSON text that the run's row stores. `now` in ms."""
        return encode({**msgspec.to_builtins(self), "at": iso(now)})


class NamedValue(msgspec.Struct, frozen=True):
    """A value (any JSON) and its name."""

    name: ValueName
    value: msgspec.Raw


class RunValue(msgspec.Struct, frozen=True):
    """A named value as the store keeps it: JSON text, the event that set it, and when (ms)."""

    name: str
    value: bytes
    event_id: int
    updated_at: int


class _ProgressEvent(msgspec.Struct):
    value: Progress


class _ValueEvent(msgspec.Struct):
    value: NamedValue


class _UsageEvent(msgspec.Struct):
    value: Reported


_progress = msgspec.json.Decoder(_ProgressEvent).decode
_value = msgspec.json.Decoder(_ValueEvent).decode
_usage = msgspec.json.Decoder(_UsageEvent, strict=False).decode  # a count may be written 7.0


def setting_of(name: object, payload: bytes) -> Progress | NamedValue | Reported | None:
    """Return what a CUSTOM event of this name sets, None for other names.

    Raises msgspec.ValidationError with the path of the member that is not valid.
    """
    if name == PROGRESS:
        return _progress(payload).value
    if name == USAGE:
        return _usage(payload).value
    if name != VALUE:
        return None
    found = _value(payload).value
    if len(bytes(found.value)) > limits.value_bytes_max:
        raise msgspec.ValidationError(
            f"Expected at most {limits.value_bytes_max // limits.KIB} KiB of JSON - at `$.value.value`"
        )
    return found
