"""Forms: the fields that an input request asks for, and values checked against them.

Members have the names that published clients use (`HumanInputField`). An error about a value never contains
the value, because it may be a secret.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from runstead.core import limits
from runstead.core.errors import Error

FieldType = Literal[
    "text", "email", "url", "password", "number", "textarea", "select", "checkbox", "radio", "confirm"
]
Value = str | bool | Annotated[int, Meta(ge=-limits.integer_max, le=limits.integer_max)] | float | None

_NO_NUL: Final = r"^[^\x00]*$"
_Short = Annotated[str, Meta(max_length=limits.field_button_chars_max, pattern=_NO_NUL)]
_Line = Annotated[str, Meta(max_length=limits.field_hint_chars_max, pattern=_NO_NUL)]
_Long = Annotated[str, Meta(max_length=limits.field_value_chars_max, pattern=_NO_NUL)]
_Text = Annotated[str, Meta(max_length=limits.field_text_chars_max, pattern=_NO_NUL)]
_Length = Annotated[int, Meta(ge=0, le=limits.integer_max)]
_Positive = Annotated[int, Meta(ge=1, le=limits.integer_max)]
_Number = Annotated[int, Meta(ge=-limits.integer_max, le=limits.integer_max)] | float


class FormOption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One choice of a select or radio field."""

    value: _Text
    label: _Text
    description: _Text | UnsetType = UNSET
    recommended: bool | UnsetType = UNSET


class FormField(msgspec.Struct, frozen=True, kw_only=True):
    """One field. Members that do not belong to its type are dropped. A `password` is always secret.

    `pattern` is for the client that shows the form. The server does not run it: a hostile pattern could run
    forever.
    """

    name: Annotated[str, Meta(min_length=1, max_length=limits.field_name_chars_max, pattern=_NO_NUL)]
    label: Annotated[str, Meta(min_length=1, max_length=limits.field_label_chars_max, pattern=_NO_NUL)]
    type: FieldType
    description: _Text | UnsetType = UNSET
    required: bool = False
    secret: bool = False
    placeholder: _Line | UnsetType = UNSET
    defaultValue: _Long | bool | UnsetType = UNSET  # noqa: N815 - names of the wire format
    pattern: _Line | UnsetType = UNSET
    minLength: _Length | UnsetType = UNSET  # noqa: N815
    maxLength: _Positive | UnsetType = UNSET  # noqa: N815
    min: _Number | UnsetType = UNSET
    max: _Number | UnsetType = UNSET
    rows: _Positive | UnsetType = UNSET
    options: (
        Annotated[list[FormOption], Meta(min_length=1, max_length=limits.field_options_max)] | UnsetType
    ) = UNSET
    confirmLabel: _Short | UnsetType = UNSET  # noqa: N815
    denyLabel: _Short | UnsetType = UNSET  # noqa: N815


_LINE: Final = ("placeholder", "defaultValue", "pattern", "minLength", "maxLength", "min", "max")
#: The members of each type besides name, label, type, description, required and secret.
_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("text", "email", "url", "password", "number"), _LINE),
    "textarea": ("placeholder", "defaultValue", "minLength", "maxLength", "rows"),
    "select": ("options", "defaultValue", "placeholder"),
    "checkbox": ("defaultValue",),
    "radio": ("options", "defaultValue"),
    "confirm": ("confirmLabel", "denyLabel"),
}
_OPTIONAL: Final = frozenset(member for members in _MEMBERS.values() for member in members)
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "textarea": {"rows": 3},
    "checkbox": {"defaultValue": False},
    "confirm": {"confirmLabel": "Yes", "denyLabel": "No"},
}


def check_fields(fields: list[FormField]) -> bytes:
    """Return the fields as stored JSON: with defaults, and without members of other types.

    INVALID_REQUEST.
    """
    errors: list[tuple[str, str]] = []
    seen: set[str] = set()
    checked = []
    for place, field in enumerate(fields):
        if field.name in seen:
            errors.append((f"$.fields[{place}].name", "another field has this name"))
        seen.add(field.name)
        members = _MEMBERS[field.type]
        drop: dict[str, Any] = dict.fromkeys(_OPTIONAL.difference(members), UNSET)
        if field.secret or field.type == "password":
            drop |= {"secret": True, "defaultValue": UNSET}  # every reader of the form could see the default
        kept = msgspec.structs.replace(field, **drop)
        missing = {name: value for name, value in _DEFAULTS.get(field.type, {}).items() if name not in drop}
        kept = msgspec.structs.replace(
            kept, **{name: value for name, value in missing.items() if getattr(kept, name) is UNSET}
        )
        errors += [(f"$.fields[{place}].{member}", why) for member, why in _field_errors(kept)]
        checked.append(kept)
    if errors:
        raise _refused("The form is not consistent", errors)
    return msgspec.json.encode(checked)


def _field_errors(field: FormField) -> list[tuple[str, str]]:
    found = []
    if "options" in _MEMBERS[field.type]:
        if field.options is UNSET:
            found.append(("options", f"a {field.type} needs options"))
        elif len({option.value for option in field.options}) < len(field.options):
            found.append(("options", "two options have the same value"))
    if field.defaultValue is not UNSET and isinstance(field.defaultValue, bool) != (field.type == "checkbox"):
        found.append(
            ("defaultValue", "must be a boolean" if field.type == "checkbox" else "must be a string")
        )
    for low, high in (("minLength", "maxLength"), ("min", "max")):
        least, most = getattr(field, low), getattr(field, high)
        if least is not UNSET and most is not UNSET and least > most:
            found.append((low, f"is larger than {high}"))
    return found


class Filled(msgspec.Struct, frozen=True):
    """Values that match their form.

    In `values`, secret fields are null; `secrets` holds the values of those that have one.
    """

    values: dict[str, Value]
    secrets: dict[str, Value]
    canonical: bytes  # all values, including secrets: only for a digest

    def digest(self, salt: bytes) -> bytes:
        """Return 32 bytes that identify these values.

        With a secret among them, scrypt makes guessing slow (20 ms).
        """
        if self.secrets:
            return hashlib.scrypt(self.canonical, salt=salt, n=1 << 13, r=8, p=1, dklen=32)
        return hashlib.sha256(salt + self.canonical).digest()


_fields = msgspec.json.Decoder(list[FormField])


def fill(fields: bytes, values: Mapping[str, Value]) -> Filled:
    """Check values against stored fields. INVALID_REQUEST with one error for each invalid value."""
    known = {field.name: field for field in _fields.decode(fields)}
    errors = [
        (f"$.values.{name[: limits.field_name_chars_max]}", "the form has no such field")
        for name in values
        if name not in known
    ]
    accepted: dict[str, Value] = {}
    secrets: dict[str, Value] = {}
    for name, field in known.items():
        value = values.get(name)
        given = value is not None and value != ""
        if given and (why := _value_error(field, value)) is not None:
            errors.append((f"$.values.{name}", why))
        elif field.required and not given:
            errors.append((f"$.values.{name}", "is required"))
        if name in values:
            accepted[name] = None if field.secret else value
            if field.secret and given:
                secrets[name] = value
    if errors:
        raise _refused("The values do not fit the form", errors)
    return Filled(accepted, secrets, msgspec.json.encode(dict(values), order="sorted"))


def _value_error(field: FormField, value: Value) -> str | None:
    """Return why a value is invalid for its field, None if it is valid."""
    if field.type in {"checkbox", "confirm"}:
        return None if isinstance(value, bool) else "must be a boolean"
    if field.type == "number":
        return _number_error(field, value)
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > limits.field_value_chars_max:
        return f"has more than {limits.field_value_chars_max} characters"
    if field.options is not UNSET:
        chosen = any(option.value == value for option in field.options)
        return None if chosen else "must be the value of one of the options"
    if field.minLength is not UNSET and len(value) < field.minLength:
        return f"has fewer than {field.minLength} characters"
    if field.maxLength is not UNSET and len(value) > field.maxLength:
        return f"has more than {field.maxLength} characters"
    shape = _SHAPES.get(field.type)
    return None if shape is None or shape[0].fullmatch(value) else shape[1]


_SHAPES: Final = {
    "email": (re.compile(r"[^@\s]+@[^@\s]+"), "must be an e-mail address"),
    "url": (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+"), "must be an absolute URL"),
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


def _number_error(field: FormField, value: Value) -> str | None:
    """As `_value_error`. A number may also be sent as text, because HTML forms send text."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    if field.min is not UNSET and value < field.min:
        return "is smaller than the field's min"
    if field.max is not UNSET and value > field.max:
        return "is larger than the field's max"
    return None


def _refused(what: str, errors: list[tuple[str, str]]) -> Error:
    first, why = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Error("INVALID_REQUEST", f"{what}: {first} {why}{more}", errors=tuple(errors))
