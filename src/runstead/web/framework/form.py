"""Fields of a form or of a query string."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from runstead.core.errors import Error

fields_max: Final = 5_000
event_digits_max: Final = 8  # of the number of an event in its run


class Fields:
    """Names with their values, in the order in which they were sent."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def one(self, name: str, default: str = "") -> str:
        """The last value of this name, without surrounding whitespace."""
        return next((value.strip() for key, value in reversed(self.pairs) if key == name), default)

    def all(self, name: str) -> list[str]:
        """All values of this name that are not empty."""
        return [value.strip() for key, value in self.pairs if key == name and value.strip()]

    def number(self, name: str) -> int | str | None:
        """The number in a field, None for an empty one. Any other text stays, to be refused where it is used."""
        text = self.one(name)
        number = whole(text)
        return (text or None) if number is None else number

    def seq(self, name: str) -> int | None:
        """The number of the row after which a list goes on, None at its start. INVALID_REQUEST."""
        text = self.one(name)
        if text and not re.fullmatch("[1-9][0-9]{0,17}", text):
            raise Error("INVALID_REQUEST", "The cursor is not valid: start at the first page")
        return int(text) if text else None

    def required(self, name: str, what: str) -> str:
        """The last value of this name. INVALID_REQUEST if empty; `what` is the field's label."""
        value = self.one(name)
        if not value:
            raise Error("INVALID_REQUEST", f"{what} is missing: fill it in")
        return value


def whole(text: str, digits_max: int = 18) -> int | None:
    """The whole number in a text. None for any other text, and for a longer number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits_max else None


def fields_of(encoded: bytes) -> Fields:
    """Decode `application/x-www-form-urlencoded` (WHATWG URL). INVALID_REQUEST.

    Browsers send the lines of a text area with CRLF: the values have LF.
    """
    try:
        pairs = parse_qsl(
            encoded.decode(), keep_blank_values=True, max_num_fields=fields_max, errors="strict"
        )
    except ValueError as error:
        raise Error("INVALID_REQUEST", "The form is not UTF-8, or has too many fields") from error
    return Fields([(name, value.replace("\r\n", "\n")) for name, value in pairs])


def header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The value of a header. `name` is in lower case."""
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
