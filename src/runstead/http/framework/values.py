"""Types of values that several routes share."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from runstead.core import limits
from runstead.core.clock import to_ms
from runstead.core.errors import invalid_at
from runstead.core.json_text import unescaped

B = TypeVar("B", bytes, bytes | None)

#: The end of a pattern. In Python, but not in ECMA-262, `$` alone also matches before a final line break.
END = r"$(?!\n)"
NO_CONTROLS = rf"^[^\x00-\x1f\x7f]+{END}"
NO_NUL = r"^[^\x00]*$"

_RUN_ID = rf"^(?!\.{{1,2}}$)(?!event-types$)[^\x00-\x1f\x7f/]+{END}"
UUID = rf"^[0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}{END}"
WORD = rf"^[a-zA-Z0-9_-]+{END}"
DOTTED_WORD = rf"^[a-zA-Z0-9_.:-]+{END}"
SLUG = rf"^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?{END}"
SHA256 = "^[0-9a-f]{64}$"
SECRET = r"^whsec_[A-Za-z0-9+/]{32,86}={0,2}$(?!\n)"  # noqa: S105 - a pattern
ANY_TARGET = rf"^(task|workflow|eval|agent):[^\x00-\x1f\x7f]+{END}"
WORK_TARGET = rf"^(task|workflow):[^\x00-\x1f\x7f]+{END}"
COST = rf"^[0-9]{{1,12}}(\.[0-9]{{1,6}})?{END}"
AUDIT_CURSOR = rf"^[0-9]{{1,15}}-[0-9]{{1,18}}{END}"
#: Pattern → what it asks for, in words for error messages.
PATTERNS: Final = {
    NO_CONTROLS: "text of at least one character, without control characters",
    NO_NUL: "text without the character NUL",
    _RUN_ID: "a run id without slashes and control characters, other than `.`, `..` and `event-types`",
    UUID: "a UUID, such as 9b2f5d3c-7a41-4e0b-8f7a-0d3c2b1a4f5e",
    WORD: "letters, digits, _ and - only",
    DOTTED_WORD: "letters, digits and _ . : - only",
    SLUG: "a slug: lower-case letters, digits and inner hyphens",
    SHA256: "a sha256 as 64 lower-case hexadecimal digits",
    SECRET: "whsec_ and the base64 of 24 to 64 bytes",
    ANY_TARGET: "a target: task:<id>, workflow:<id>, eval:<id> or agent:<id>",
    WORK_TARGET: "a target: task:<id> or workflow:<id>",
    COST: "a decimal as text with at most 6 places, such as 2.50",
    AUDIT_CURSOR: "the cursor of an earlier page",
}

#: No "/" (it would split the path), no control characters, not "." or "..".
RunId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=limits.run_id_chars_max,
        pattern=_RUN_ID,
        description="A run id: 1 to 128 characters, no slash, no control characters; `event-types` is reserved.",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=limits.name_chars_max, pattern=NO_CONTROLS)]
IdempotencyKey = Annotated[
    str, Meta(min_length=1, max_length=limits.idempotency_key_chars_max, pattern=NO_CONTROLS)
]
PageLimit = Annotated[int, Meta(ge=1, le=limits.page_rows_max)]
#: Text for people: any character except NUL, which PostgreSQL cannot store.
Text = Annotated[str, Meta(max_length=limits.name_chars_max, pattern=NO_NUL)]
Target = Annotated[str, Meta(min_length=1, max_length=limits.target_chars_max, pattern=NO_CONTROLS)]
ToolCallId = Annotated[
    str, Meta(min_length=1, max_length=limits.resume_tool_call_id_chars_max, pattern=NO_CONTROLS)
]
Uuid = Annotated[
    str,
    Meta(pattern=UUID, description="A UUID."),
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
    """Return a value of at most `bytes_max` bytes, whole KiB. Raises INVALID_REQUEST."""
    if text is not None and len(text) > bytes_max:
        mib, rest = divmod(bytes_max, limits.MIB)
        raise invalid_at(
            f"$.{name}",
            "too large",
            f"{name} is larger than {f'{bytes_max // limits.KIB} KiB' if rest else f'{mib} MiB'}",
        )
    return text


def json_value(value: msgspec.Raw | msgspec.UnsetType) -> bytes | None:
    """Return a raw value as JSON text without needless escapes. Absent and null both give None."""
    if value is msgspec.UNSET:
        return None
    text = unescaped(bytes(value))
    return None if text == b"null" else text


def moment_ms(name: str, moment: datetime | None) -> int | None:
    """Convert a time into ms since 1970.

    Raises INVALID_REQUEST for earlier years, which mean no real time.
    """
    if moment is None:
        return None
    if moment.year < 1970:
        raise invalid_at(f"$.{name}", "range", f"{name} must be a time from 1970 on")
    # In some time zones, the first and last hours of the range are outside it.
    return min(max(to_ms(moment), 0), limits.timestamp_ms_max)


class RuntimeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run executes.

    `environment` and `preview_branch` need their own id; other ids must be left out.
    """

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
            raise invalid_at(
                "$.request.runtime_target_kind",
                "ids do not match the kind",
                f"runtime_target_kind {self.runtime_target_kind or 'null'} takes {needed}"
                + (" and no other id" if any(wants) else ""),
            )


class PageInfo(msgspec.Struct, frozen=True):
    """Cursors of this page and the next one. `first` and `prev` are always null."""

    self: str | None = None
    first: None = None
    next: str | None = None
    prev: str | None = None
