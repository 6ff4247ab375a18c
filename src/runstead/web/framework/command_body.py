"""What a form says, judged as the API judges the body of the same command."""

from typing import Any, TypeVar

import msgspec

from runstead.core.errors import Error
from runstead.http.framework.body import decode_body

T = TypeVar("T")


def body_of(shape: type[T], told: dict[str, str], /, **members: Any) -> T:
    """A body of these members without those that are empty. `told` has a sentence for each member whose pattern says little
    to people. INVALID_REQUEST.
    """
    given = {name: value for name, value in members.items() if value not in (None, "", [])}
    try:
        return decode_body(msgspec.json.encode(given), shape)
    except Error as error:
        for name, sentence in told.items():
            if any(path.startswith(f"$.{name}") for path, _ in error.errors) or error.message.endswith(
                f"required field {name}"
            ):
                raise Error("INVALID_REQUEST", sentence) from None
        raise


def json_object_of(text: str, what: str) -> dict[str, Any] | None:
    """A JSON object that somebody typed, None for nothing. INVALID_REQUEST."""
    if not text:
        return None
    try:
        return decode_body(text.encode("utf-8", "surrogatepass"), dict[str, Any])
    except Error as error:
        raise Error("INVALID_REQUEST", f"{what} is no JSON object: {error.message}") from None
