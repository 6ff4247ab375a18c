"""Results of steps and outputs of handlers as JSON, and their return annotations."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from runstead.sdk.durable.step_results import ResultNotStoredError
from runstead.sdk.errors import RunFailed
from runstead.sdk.models.user_types import NOT_JSON, convert, encode
from runstead.sdk.task import return_type

#: The result is part of an event, and the server accepts events below 256 KiB. Above it, an artifact holds the result.
RESULT_BYTES_MAX: Final = 255 * 1024


def encode_result(result: Any) -> bytes:
    """Encode a step's result as JSON. Raise ResultNotStoredError where it is not JSON."""
    try:
        return encode(result)
    except NOT_JSON as error:
        raise ResultNotStoredError(f"Its result is not JSON: {error}", "STEP_RESULT_NOT_JSON") from error


def decode_result(value: Any, function: Callable[..., Any], original: Any = msgspec.UNSET) -> Any:
    """Convert a stored result to the function's return annotation, where it has one that can be resolved.

    Raise ResultNotStoredError with STEP_RESULT_INVALID where it does not fit. `original` is what the function returned.
    """
    wanted = return_type(function)
    try:
        return value if wanted is Any else convert(value, wanted)
    except msgspec.ValidationError as error:
        why = str(error)
    except TypeError as error:
        # The annotation is not for JSON. That matters only where JSON changed the value.
        if original is msgspec.UNSET or isinstance(original, str | int | float | list | dict | tuple | None):
            return value
        why = str(error)
    raise ResultNotStoredError(
        f"Its result does not fit its annotation {shown(wanted)}: {why}", "STEP_RESULT_INVALID"
    )


def checked_output(output: Any, function: Callable[..., Any]) -> Any:
    """Return a handler's output. Raise RunFailed with OUTPUT_INVALID where it does not fit its return annotation."""
    wanted = return_type(function)
    if wanted is Any or type(output) is wanted:
        return output
    try:
        convert(msgspec.json.decode(encode(output)), wanted)
    except msgspec.ValidationError as error:
        raise RunFailed(
            f"The output does not fit the handler's annotation {shown(wanted)}: {error}", "OUTPUT_INVALID"
        ) from None
    except NOT_JSON:
        return output  # not JSON, or an annotation that is not for JSON
    return output


def shown(annotation: Any) -> str:
    return annotation.__name__ if type(annotation) is type else str(annotation)
