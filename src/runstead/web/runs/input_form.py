"""An input request as an HTML form: renders its typed fields, and reads the posted values."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from runstead.core import limits
from runstead.core.conversations.form import FormField, Value
from runstead.core.conversations.input_request import InputRequest
from runstead.core.errors import Error
from runstead.web.framework.form import Fields

#: Prefix of the fields' names, which could otherwise equal those of our own fields.
PREFIX: Final = "value."
_PATH: Final = "$.values."
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}")
rows_max: Final = 20
_LINES: Final = {"text": "text", "email": "email", "url": "text", "password": "password", "number": "number"}

_fields = msgspec.json.Decoder(list[FormField]).decode


class FieldView(NamedTuple):
    """A field for display. `attributes` are those of its HTML control; `error` explains a rejected value."""

    field: FormField
    id: str
    name: str
    attributes: dict[str, Any]
    value: str
    checked: bool | None
    error: str

    @property
    def description(self) -> str:
        found: str = _value_or(self.field.description, "")
        return found

    @property
    def hint(self) -> str:
        """The placeholder of a select field, shown before a choice."""
        found: str = _value_or(self.field.placeholder, "")
        return found

    @property
    def pattern(self) -> str:
        found: str = _value_or(self.field.pattern, "")
        return found

    @property
    def options(self) -> list[tuple[str, str, str, bool]]:
        """The options of a select or radio field: value, label, description, and whether it is selected."""
        found = [] if self.field.options is UNSET else self.field.options
        return [
            (one.value, one.label, _value_or(one.description, ""), one.value == self.value) for one in found
        ]


def field_views(
    input_request: InputRequest, sent: Fields | None = None, errors: Mapping[str, str] | None = None
) -> list[FieldView]:
    """The form's fields with their default or posted values. Posted secrets are not shown."""
    return [
        _field_view(number, field, sent, (errors or {}).get(field.name, ""))
        for number, field in enumerate(_fields(input_request.fields), 1)
    ]


def _field_view(number: int, field: FormField, sent: Fields | None, error: str) -> FieldView:
    name, default = PREFIX + field.name, _value_or(field.defaultValue, None)
    posted = _last(sent, name)
    checked: bool | None
    if sent is None:
        value, checked = (default if isinstance(default, str) else ""), (default is True) or None
    else:
        value, checked = posted or "", None if posted is None else posted == "true"
    if field.secret:
        value = ""
    return FieldView(
        field=field,
        id=f"field-{number}",
        name=name,
        attributes=_attributes(field),
        value=value,
        checked=checked,
        error=error,
    )


def _attributes(field: FormField) -> dict[str, Any]:
    """Attributes that help to fill in the control; the server validates the value.

    A `pattern` is shown as text but never evaluated, as a hostile one may take for ever.
    """
    found: dict[str, Any] = {}
    if field.type in _LINES:
        found["type"] = "password" if field.secret else _LINES[field.type]
        if field.type == "number":
            found |= {"step": "any"} if not field.secret else {"inputmode": "decimal"}
    if field.type in _LINES or field.type == "textarea":
        optional = {
            "placeholder": field.placeholder,
            "minlength": field.minLength,
            "maxlength": field.maxLength,
            "min": field.min,
            "max": field.max,
            "rows": UNSET if field.rows is UNSET else min(field.rows, rows_max),
        }
        found |= {attribute: value for attribute, value in optional.items() if value is not UNSET}
    if field.required and field.type != "checkbox":
        found["required"] = True
    if field.secret:
        found |= {"autocomplete": "off", "class": "secret"}
    return found


def values_of(input_request: InputRequest, sent: Fields) -> dict[str, Value]:
    """The posted values by field. INVALID_REQUEST if they are too large."""
    values: dict[str, Value] = {}
    for field in _fields(input_request.fields):
        posted = _last(sent, PREFIX + field.name)
        if field.type == "checkbox":
            values[field.name] = posted is not None
        elif field.type == "confirm":
            values[field.name] = None if posted is None else posted == "true"
        elif posted is None or posted == "":
            values[field.name] = None
        else:
            values[field.name] = _number(posted) if field.type == "number" else posted
    if len(msgspec.json.encode(values)) > limits.input_response_bytes_max:
        raise Error(
            "INVALID_REQUEST",
            f"The values are larger than {limits.input_response_bytes_max // limits.KIB} KiB",
        )
    return values


def errors_of(error: Error) -> dict[str, str]:
    """Error messages by field."""
    return {path.removeprefix(_PATH): error for path, error in error.errors if path.startswith(_PATH)}


def _number(text: str) -> Value:
    """An integer as a number; any other text unchanged, to be rejected by validation."""
    text = text.strip()
    return int(text) if _NUMBER.fullmatch(text) else text


def _last(sent: Fields | None, name: str) -> str | None:
    """The last posted value, with its surrounding whitespace, which may be part of it."""
    pairs = [] if sent is None else sent.pairs
    return next((value for key, value in reversed(pairs) if key == name), None)


def _value_or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
