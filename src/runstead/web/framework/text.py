"""Makes text from runs harmless for a page: whatever it contains is shown as text."""

import re
from typing import Any, Final

import msgspec
from markupsafe import Markup

#: Control characters except tab and line feed, and characters that reorder text (Unicode Standard Annex 9),
#: which could make one name look like another.
_HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

shown_chars_max: Final = 20_000


def harmless(text: str) -> str:
    """The text with a visible sign in place of each character that is invisible or reorders others."""
    return _HARMFUL.sub(_sign, text)


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's Control Pictures, such as ␛
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"


def finalize(value: Any) -> Any:
    """Jinja's hook for every expression: makes all values except Markup harmless, before escaping."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else harmless(str(value))


def cut(text: str, chars_max: int = shown_chars_max) -> str:
    """The first `chars_max` characters, with the number of characters that were left out."""
    if len(text) <= chars_max:
        return text
    return f"{text[:chars_max]}… and {len(text) - chars_max:,} more characters"


def pretty(value: bytes | None) -> str:
    """A JSON value for people: a string without quotes, anything else indented."""
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
    """The first characters of a JSON value, unformatted."""
    text = value[: chars_max * 4].decode(errors="replace")
    return text if len(value) <= chars_max else text[:chars_max] + "…"


#: Browsers by the product that only they name, in the order of the search: most name those of others too.
_BROWSERS: Final = {
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "Chrome": "Chrome",
    "Version": "Safari",
}
_SYSTEMS: Final = {
    "Windows": "Windows",
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


def browser_name(user_agent: str | None) -> str:
    """`Firefox 140 on Linux` for the header User-Agent (RFC 9110, 10.1.5); of other programs the first product."""
    if not user_agent:
        return "unknown"
    for product, name in _BROWSERS.items():
        if found := re.search(rf"\b{product}/(\d+)", user_agent):
            system = next((shown for sign, shown in _SYSTEMS.items() if sign in user_agent), None)
            return f"{name} {found[1]}" + ("" if system is None else f" on {system}")
    return cut(user_agent.partition(" ")[0], 40)
