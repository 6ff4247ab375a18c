"""JSON text with its characters as themselves, so that a search finds them however a client wrote them."""

import re
from typing import Final

_ESCAPE: Final = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|.)", re.DOTALL
)
_BEGINS: Final = b"\\u"


def unescaped(text: bytes) -> bytes:
    r"""Return JSON text with its characters beyond ASCII in UTF-8: `"\u00e9"` becomes `"é"`. The value is the same.

    Escapes of the characters before U+007F and of single surrogates stay.
    """
    return _ESCAPE.sub(_character, text) if _BEGINS in text else text


def _character(escape: re.Match[bytes]) -> bytes:
    high, low, single = escape.groups()
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00).encode()
    number = 0 if single is None else int(single, 16)
    return escape[0] if number < 0x7F or 0xD800 <= number < 0xE000 else chr(number).encode()
