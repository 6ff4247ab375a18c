"""Values of users' types in JSON. msgspec knows plain types, dataclasses, attrs and its own; the hooks add pydantic."""

import typing
from typing import Any, Final

import msgspec

#: What the encoding of a value raises that is not JSON.
NOT_JSON: Final = (TypeError, ValueError, OverflowError, RecursionError)


def encode_hook(value: Any) -> Any:
    """Return a value that JSON can encode in place of this one. Raise TypeError where there is none."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(type(value), "get_secret_value"):
        raise TypeError("a secret is not stored: use its value inside of a step, and return something else")
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


def decode_hook(wanted: Any, value: Any) -> Any:
    """Return a value of the type. Raise ValueError or TypeError where the JSON value does not fit it."""
    if hasattr(wanted, "model_validate"):
        return _validated(wanted, value)
    try:
        fits = isinstance(value, typing.get_origin(wanted) or wanted)
    except TypeError:
        return value  # a type that no value can be compared with
    if fits:
        return value
    raise TypeError(f"Expected `{getattr(wanted, '__name__', wanted)}`, got `{type(value).__name__}`")


def _validated(model: Any, value: Any) -> Any:
    if isinstance(value, model):
        return value
    try:
        return model.model_validate(value)
    except ValueError as error:
        first = error.errors()[0]  # type: ignore[attr-defined]  # pydantic.ValidationError
        member = "".join(f".{part}" for part in first["loc"])
        raise ValueError(f"{first['msg']} - at `{member}` of {model.__name__}") from None


def encode(value: Any) -> bytes:
    """Encode a value as JSON. Raise one of NOT_JSON where it is not."""
    return msgspec.json.encode(value, enc_hook=encode_hook)


def convert(value: Any, wanted: Any) -> Any:
    """Convert a JSON value to a type. Raise msgspec.ValidationError, which names the member, where it does not fit.

    Raise TypeError where JSON cannot be converted to the type at all.
    """
    return msgspec.convert(value, wanted, str_keys=True, dec_hook=decode_hook)
