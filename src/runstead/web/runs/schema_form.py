"""Form fields from the JSON Schema of a target's input, and the input that was entered into them.

Members that a field cannot express have a field for their JSON. An input that has no such form is entered as JSON.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from runstead.core.errors import Error
from runstead.web.framework.form import Fields

FIELDS_MAX: Final = 50
PATH: Final = "$.request.input"
_NUMBER: Final = re.compile(r"-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?")
_DEFINITION: Final = "#/$defs/"
Control = Literal["text", "number", "boolean", "select", "json"]


class Member(NamedTuple):
    """A member of the input, for display. `name` is that of its field. `value` is what the field shows."""

    name: str
    member: str
    label: str
    control: Control
    required: bool
    hint: str
    options: tuple[str, ...]
    value: str


class SchemaForm(NamedTuple):
    """`digest` identifies the schema that the fields are from."""

    digest: str
    members: tuple[Member, ...]


def form_of(schema: bytes | None, given: Any = None) -> SchemaForm | None:
    """Return the form of an input, filled in from `given`. None: the input is entered as JSON.

    That is so without a schema, for one that is no object with members, and if `given` has other members.
    """
    if schema is None:
        return None
    root = msgspec.json.decode(schema)
    definitions = root.get("$defs")
    shape = _resolved(root, definitions)
    properties, kinds = shape.get("properties"), shape.get("type")
    if not isinstance(properties, dict) or not 1 <= len(properties) <= FIELDS_MAX:
        return None
    if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return None
    if given is not None and not (isinstance(given, dict) and given.keys() <= properties.keys()):
        return None
    required = shape.get("required")
    names = required if isinstance(required, list) else []
    members = tuple(
        _member(number, name, _resolved(one, definitions), name in names, given or {})
        for number, (name, one) in enumerate(properties.items(), 1)
    )
    return SchemaForm(hashlib.sha256(schema).hexdigest()[:16], members)


def _resolved(schema: Any, definitions: Any) -> dict[str, Any]:
    """Return a schema, or the definition that it refers to. `X | null` is X."""
    found = schema if isinstance(schema, dict) else {}
    either = found.get("anyOf")
    if isinstance(either, list):
        kinds = [one for one in either if isinstance(one, dict) and one.get("type") != "null"]
        if len(kinds) == 1:
            found = {**found, **kinds[0]}
    reference = found.get("$ref")
    if isinstance(reference, str) and reference.startswith(_DEFINITION) and isinstance(definitions, dict):
        target = definitions.get(reference.removeprefix(_DEFINITION))
        found = {**found, **target} if isinstance(target, dict) else found
    return found


def _member(number: int, name: str, schema: dict[str, Any], required: bool, given: dict[str, Any]) -> Member:
    control, options = _control(schema)
    value = given.get(name, schema.get("default"))
    if value is not None and not _fits(value, control, options):
        control, options = "json", ()
    shown = value if isinstance(value, str) and control in ("text", "select") else _json(value)
    hint = str(schema.get("description") or "")
    if control == "json":
        hint = f"JSON. {hint}".strip()
    return Member(
        name=f"in.{number}",
        member=name,
        label=str(schema.get("title") or name) if control != "json" else name,
        control=control,
        required=required,
        hint=hint,
        options=options,
        value="" if value is None else shown,
    )


def _fits(value: Any, control: Control, options: tuple[str, ...]) -> bool:
    """Whether a field shows a value as it is: a browser drops line breaks from a text of one line."""
    if control == "select":
        return value in options
    return control != "text" or (isinstance(value, str) and "\n" not in value and "\r" not in value)


def _control(schema: dict[str, Any]) -> tuple[Control, tuple[str, ...]]:
    options = schema.get("enum")
    if isinstance(options, list) and options and all(isinstance(one, str) for one in options):
        return "select", tuple(options)
    kind = schema.get("type")
    if kind == "string":
        return "text", ()
    if kind in ("integer", "number"):
        return "number", ()
    return ("boolean", ("true", "false")) if kind == "boolean" else ("json", ())


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def entered(form: SchemaForm, sent: Fields) -> SchemaForm:
    """Return the form with the values that were sent."""
    members = [one._replace(value=sent.one(one.name)) for one in form.members]
    return form._replace(members=tuple(members))


def input_of(form: SchemaForm) -> str:
    """Return the input that the form holds, as JSON. An empty field is left out; a required text may be empty.

    INVALID_REQUEST with one error for each value that is not what its field expects.
    """
    found: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for one in form.members:
        if not one.value and not (one.required and one.control == "text"):
            continue
        try:
            found[one.member] = _value(one)
        except ValueError as error:
            errors.append((f"{PATH}.{one.member}", str(error)))
    if errors:
        raise Error("INVALID_REQUEST", errors[0][1], errors=tuple(errors))
    return msgspec.json.encode(found).decode()


def _value(one: Member) -> Any:
    if one.control in ("text", "select"):
        return one.value
    if one.control == "number" and not _NUMBER.fullmatch(one.value):
        raise ValueError("Write a number")
    try:
        return msgspec.json.decode(one.value)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"Not JSON: {error}") from None


def errors_of(form: SchemaForm, refusal: Error) -> Mapping[str, str]:
    """Return the errors of a refused input by the names of the fields."""
    found: dict[str, str] = {}
    for one in form.members:
        path = f"{PATH}.{one.member}"
        for where, message in refusal.errors:
            if where == path or where.startswith((f"{path}.", f"{path}[")):
                found.setdefault(one.name, message)
            elif where == PATH and f'"{one.member}" is a required' in message:
                found.setdefault(one.name, "is required")
    return found
