"""An input request as a form of the page: its typed fields shown, and what a browser sends read as their values."""

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

#: Before each field's own name: it may be any, also that of a field of ours.
PREFIX: Final = "value."
_PATH: Final = "$.values."
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}")
rows_max: Final = 20
_LINES: Final = {"text": "text", "email": "email", "url": "text", "password": "password", "number": "number"}

_fields = msgspec.json.Decoder(list[FormField]).decode


class Shown(NamedTuple):
    """A field as it stands on the page. `attributes` are those of its control, `value` what it holds, `why` what was wrong
    with what was sent.
    """

    field: FormField
    id: str
    name: str
    attributes: dict[str, Any]
    value: str
    checked: bool | None
    why: str

    @property
    def description(self) -> str:
        found: str = _or(self.field.description, "")
        return found

    @property
    def hint(self) -> str:
        """Of a select field, what stands there before anything is chosen."""
        found: str = _or(self.field.placeholder, "")
        return found

    @property
    def pattern(self) -> str:
        found: str = _or(self.field.pattern, "")
        return found

    @property
    def options(self) -> list[tuple[str, str, str, bool]]:
        """Of a select or radio field: value, label, description, and whether it is chosen."""
        found = [] if self.field.options is UNSET else self.field.options
        return [(one.value, one.label, _or(one.description, ""), one.value == self.value) for one in found]


def shown(
    request: InputRequest, sent: Fields | None = None, errors: Mapping[str, str] | None = None
) -> list[Shown]:
    """The form's fields: as they begin, or as they were sent and refused. What was typed into a secret one is not shown."""
    return [
        _shown(number, field, sent, (errors or {}).get(field.name, ""))
        for number, field in enumerate(_fields(request.fields), 1)
    ]


def _shown(number: int, field: FormField, sent: Fields | None, why: str) -> Shown:
    name, default = PREFIX + field.name, _or(field.defaultValue, None)
    given = _last(sent, name)
    checked: bool | None
    if sent is None:
        value, checked = (default if isinstance(default, str) else ""), (default is True) or None
    else:
        value, checked = (given or "").replace("\r\n", "\n"), None if given is None else given == "true"
    if field.secret:
        value = ""
    return Shown(field, f"field-{number}", name, _attributes(field), value, checked, why)


def _attributes(field: FormField) -> dict[str, Any]:
    """Those that help to fill it in; what holds is checked by the server. A `pattern` is told and never run, as one can be
    made to run for ever.
    """
    found: dict[str, Any] = {}
    if field.type in _LINES:
        found["type"] = "password" if field.secret else _LINES[field.type]
        if field.type == "number":
            found |= {"step": "any"} if not field.secret else {"inputmode": "decimal"}
    if field.type in _LINES or field.type == "textarea":
        told = {
            "placeholder": field.placeholder,
            "minlength": field.minLength,
            "maxlength": field.maxLength,
            "min": field.min,
            "max": field.max,
            "rows": UNSET if field.rows is UNSET else min(field.rows, rows_max),
        }
        found |= {attribute: value for attribute, value in told.items() if value is not UNSET}
    if field.required and field.type != "checkbox":
        found["required"] = True
    if field.secret:
        found |= {"autocomplete": "off", "class": "secret"}
    return found


def values_of(request: InputRequest, sent: Fields) -> dict[str, Value]:
    """What the browser sent, by field. INVALID_REQUEST where it is too much."""
    told: dict[str, Value] = {}
    for field in _fields(request.fields):
        given = _last(sent, PREFIX + field.name)
        if field.type == "checkbox":
            told[field.name] = given is not None
        elif field.type == "confirm":
            told[field.name] = None if given is None else given == "true"
        elif given is None or given == "":
            told[field.name] = None
        else:
            told[field.name] = _number(given) if field.type == "number" else given.replace("\r\n", "\n")
    if len(msgspec.json.encode(told)) > limits.input_response_bytes_max:
        raise Error(
            "INVALID_REQUEST",
            f"The values are larger than {limits.input_response_bytes_max // limits.KIB} KiB",
        )
    return told


def errors_of(error: Error) -> dict[str, str]:
    """What was wrong, by field."""
    return {path.removeprefix(_PATH): why for path, why in error.errors if path.startswith(_PATH)}


def _number(text: str) -> Value:
    """A whole number as one; anything else as it came: the form's own check reads it."""
    text = text.strip()
    return int(text) if _NUMBER.fullmatch(text) else text


def _last(sent: Fields | None, name: str) -> str | None:
    """As it was sent: blanks around it may belong to it."""
    pairs = [] if sent is None else sent.pairs
    return next((value for key, value in reversed(pairs) if key == name), None)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is UNSET else value
