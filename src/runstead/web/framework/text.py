"""What comes from a run, made harmless for a page: whatever it holds is shown as text."""

import re
from typing import Any, Final

import msgspec
from markupsafe import Markup

#: Control characters but tab and line feed; marks that reorder text (Unicode Standard Annex 9), which could make a name read
#: as another one.
_STRANGE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

shown_chars_max: Final = 20_000


def harmless(text: str) -> str:
    """The text with a visible sign for each character that would not be seen, or would move others."""
    return _STRANGE.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)  # ␛ and its like: Unicode has pictures of them
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"


def finalize(value: Any) -> Any:
    """For every expression in a template: what is no markup of our own is made harmless, then escaped."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else harmless(str(value))


def cut(text: str, chars_max: int = shown_chars_max) -> str:
    """No more than so many characters, and how many were left out."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}… and {len(text) - chars_max:,} characters more"


def pretty(value: bytes | None) -> str:
    """A JSON value for reading: a string as itself, anything else indented."""
    if value is None:
        return ""
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return cut(value.decode(errors="replace"))
    if isinstance(decoded, str):
        return cut(decoded)
    return cut(msgspec.json.format(value, indent=2).decode())


def preview(value: bytes, chars_max: int = 160) -> str:
    """The beginning of a JSON value, as it stands."""
    text = value[: chars_max * 4].decode(errors="replace")
    return text if len(value) <= chars_max else text[:chars_max] + "…"
