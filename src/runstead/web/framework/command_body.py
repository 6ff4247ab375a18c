"""Turns form fields into the body of a command, validated as the API validates it."""

from typing import Any, TypeVar

import msgspec

from runstead.core.errors import Error
from runstead.http.framework.body import decode_body

T = TypeVar("T")


def body_of(body_type: type[T], field_errors: dict[str, str], /, **members: Any) -> T:
    """A body of these members; empty members are left out. INVALID_REQUEST.

    `field_errors` maps a member to the message that people see instead of the generic validation error.
    """
    body = {name: value for name, value in members.items() if value not in (None, "", [])}
    try:
        return decode_body(msgspec.json.encode(body), body_type)
    except Error as error:
        for name, message in field_errors.items():
            if any(path.startswith(f"$.{name}") for path, _ in error.errors) or error.message.endswith(
                f"required field {name}"
            ):
                raise Error("INVALID_REQUEST", message) from None
        raise


def json_object_of(text: str, what: str) -> dict[str, Any] | None:
    """The JSON object in a text field, None if the field is empty. INVALID_REQUEST."""
    if not text:
        return None
    try:
        return decode_body(text.encode("utf-8", "surrogatepass"), dict[str, Any])
    except Error as error:
        raise Error("INVALID_REQUEST", f"{what} is not a JSON object: {error.message}") from None
