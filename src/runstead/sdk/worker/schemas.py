"""Descriptions of targets: JSON Schemas from the type hints of handlers, and texts from their docstrings."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import docstring_parser
import msgspec

from runstead.sdk.models.user_types import encode
from runstead.sdk.routes.call import members
from runstead.sdk.task import return_type

#: The server's bounds; see docs/bounds.md.
_SCHEMA_BYTES: Final = 64 * 1024
_DESCRIPTION_CHARS: Final = 4_096
_REFERENCE: Final = "#/$defs/{name}"


def definition(
    target: str,
    function: Callable[..., Any],
    parameters: Iterable[tuple[inspect.Parameter, Any]],
    *,
    validate: bool,
) -> dict[str, Any]:
    """Return how a worker describes a target. The input of an agent's run is a start payload, which has no schema.
    `parameters` are those of the input, with their types.

    A schema that is too large, or that JSON Schema cannot express, is left out.
    """
    wanted = return_type(function)
    # The SDK's own functions, such as that of a command, describe no target.
    own = (getattr(function, "__module__", None) or "").startswith("runstead.sdk.")
    text, of_parameters = _documentation(function) if inspect.isroutine(function) and not own else ("", {})
    schema = {} if target.startswith("agent:") else _input_schema(list(parameters), of_parameters)
    return members(
        target=target,
        description=text[:_DESCRIPTION_CHARS] or None,
        input_schema=_bounded(schema),
        output_schema=None if wanted is Any else _bounded(_schema_of(wanted)),
        validate_input=validate or None,
    )


def _documentation(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what a docstring in the style of Google, NumPy or Sphinx says of a function, and of its parameters."""
    text = inspect.getdoc(function) or ""
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text, {}
    of_parameters = {one.arg_name: one.description for one in parsed.params if one.description}
    return (parsed.description or "").strip() if of_parameters else text, of_parameters


def _input_schema(
    parameters: list[tuple[inspect.Parameter, Any]], descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the schema of an input: an object with a member for each parameter, or the type of `input`."""
    for parameter, wanted in parameters:
        if parameter.name == "input":
            return _schema_of(wanted)
    definitions: dict[str, Any] = {}
    properties, required = {}, []
    for parameter, wanted in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        schema = _schema_of(wanted)
        definitions |= schema.pop("$defs", {})
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif "$ref" not in schema:
            schema |= _default(parameter.default)
        if parameter.name in descriptions:
            schema["description"] = descriptions[parameter.name]
        properties[parameter.name] = schema
    if not properties:
        return {}
    found: dict[str, Any] = {"type": "object" if required else ["object", "null"], "properties": properties}
    return found | members(**{"required": required or None, "$defs": definitions or None})


def _default(value: Any) -> dict[str, Any]:
    try:
        return {"default": msgspec.json.decode(encode(value))}
    except (TypeError, ValueError):
        return {}


def _schema_of(wanted: Any) -> dict[str, Any]:
    """Return the schema of a type, with its definitions. `{}` fits any value."""
    definitions: dict[str, Any] = {}

    def of_other(kind: type) -> dict[str, Any]:
        """The schema of a type that msgspec does not know: of a pydantic model, or of any value."""
        if not hasattr(kind, "model_json_schema"):
            return {}
        schema: dict[str, Any] = kind.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        return schema

    try:
        (schema,), known = msgspec.json.schema_components(
            [wanted], schema_hook=of_other, ref_template=_REFERENCE
        )
    except (TypeError, ValueError, NameError, RecursionError):
        return {}
    definitions |= known
    return {**schema, "$defs": definitions} if definitions else dict(schema)


def _bounded(schema: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return schema if schema and len(encode(schema)) <= _SCHEMA_BYTES else None
    except (TypeError, ValueError):
        return None
