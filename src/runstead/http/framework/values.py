"""The shapes of values that several routes take."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.errors import Error

B = TypeVar("B", bytes, bytes | None)

#: The end of a pattern. Alone, `$` also matches before a line break at the end, in Python though not in ECMA-262.
END = r"$(?!\n)"
NO_CONTROLS = rf"^[^\x00-\x1f\x7f]+{END}"
NO_NUL = r"^[^\x00]*$"

#: Not "/" (a path cannot hold it), no control characters, not "." or "..".
RunId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.run_id_chars_max,
        pattern=rf"^(?!\.{{1,2}}$)(?!event-types$)[^\x00-\x1f\x7f/]+{END}",
        description="A run id: 1 to 128 characters, no slash, no control characters; `event-types` is reserved.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max, pattern=NO_CONTROLS)]
#: What people read: anything but NUL, which no database keeps in a text.
Text = Annotated[str, Meta(max_length=limits.name_chars_max, pattern=NO_NUL)]
Target = Annotated[str, Meta(min_length=1, max_length=limits.target_chars_max, pattern=NO_CONTROLS)]
ToolCallId = Annotated[
    str, Meta(min_length=1, max_length=limits.resume_tool_call_id_chars_max, pattern=NO_CONTROLS)
]
Uuid = Annotated[
    str,
    Meta(
        pattern=rf"^[0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}{END}", description="A UUID."
    ),
]
Count = Annotated[int, Meta(ge=0, le=limits.integer_max)]
Small = Annotated[int, Meta(ge=-(1 << 31), lt=1 << 31)]
Positive = Annotated[int, Meta(ge=1, le=limits.integer_max)]
LeaseSeconds = Annotated[int, Meta(ge=limits.lease_s_min, le=limits.lease_s_max)]
Moment = Annotated[
    datetime,
    Meta(
        tz=True,
        description="ISO-8601 with a time zone, from the year 1970 on.",
        extra_json_schema={"pattern": r"^(19[789]|[2-9][0-9])"},
    ),
]
JsonObject = dict[str, Any]


def json_object(value: JsonObject | None) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def bounded(name: str, text: B, bytes_max: int) -> B:
    """A value of a body as JSON text, where it is no larger than what lists can show."""
    if text is not None and len(text) > bytes_max:
        raise Error(
            "INVALID_REQUEST",
            f"{name} is larger than {bytes_max // limits.KIB} KiB of JSON",
            errors=((f"$.{name}", "too large"),),
        )
    return text


def json_value(value: msgspec.Raw | msgspec.UnsetType) -> bytes | None:
    """A value that was passed through. Absent and null are the same: null."""
    if value is msgspec.UNSET:
        return None
    text = bytes(value)
    return None if text == b"null" else text


def moment_ms(name: str, moment: datetime | None) -> int | None:
    """Ms since 1970; years before that are refused, as what was meant for no time at all."""
    if moment is None:
        return None
    if moment.year < 1970:
        raise Error(
            "INVALID_REQUEST", f"{name} must be a moment from 1970 on", errors=((f"$.{name}", "range"),)
        )
    # The first and the last hours of that range lie beyond it in some time zones
    return min(max(to_ms(moment), 0), limits.timestamp_ms_max)


class RuntimeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run works. main_branch takes neither id, environment and preview_branch their own and not the other."""

    runtime_target_kind: Literal["main_branch", "environment", "preview_branch"] | None = None
    runtime_target_environment_id: Uuid | None = None
    runtime_target_branch_id: Uuid | None = None

    def check(self) -> None:
        wants = {
            None: (False, False),
            "main_branch": (False, False),
            "environment": (True, False),
            "preview_branch": (False, True),
        }[self.runtime_target_kind]
        has = (self.runtime_target_environment_id is not None, self.runtime_target_branch_id is not None)
        if has != wants:
            names = ("runtime_target_environment_id", "runtime_target_branch_id")
            needed = " and ".join(name for name, want in zip(names, wants, strict=True) if want) or "no id"
            raise Error(
                "INVALID_REQUEST",
                f"runtime_target_kind {self.runtime_target_kind or 'null'} takes {needed}"
                + (" and no other id" if any(wants) else ""),
                errors=(("$.request.runtime_target_kind", "ids do not fit the kind"),),
            )


class PageInfo(msgspec.Struct, frozen=True):
    """Cursors of this page and its neighbours. `first` is always null."""

    self: str | None = None
    first: None = None
    next: str | None = None
    prev: str | None = None
