"""Links of the OpenAPI document: operations whose parameters are in another's answer (OpenAPI 3.1, "Link
Object").
"""

import re
from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_PATH_PARAMETERS: Final = re.compile(r"{(\w+)}")
_WORD_BOUNDARY: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: Type name → name in paths, where they differ.
_NOUNS: Final = {"push_service": "service"}
#: Member of an answer → path parameter, where they differ.
_ALIASES: Final = {"latest_event_id": "event_id"}
_HEADERS: Final = {"X-Lease-Token": "lease_token"}


def add_links(document: Schema) -> None:
    """Link each operation that creates or returns an object to the operations on that object."""
    schemas = document["components"]["schemas"]
    operations = [
        (path, method, spec) for path, found in document["paths"].items() for method, spec in found.items()
    ]
    for path, method, source in operations:
        status, answer = next(iter(source["responses"].items()))
        in_path = set(_PATH_PARAMETERS.findall(path))
        values, new = _values_of(
            answer.get("content", {}).get("application/json", {}).get("schema", {}), schemas
        )
        # With 202, another object of the path's kind was created. Otherwise the path's own object is not new.
        if status != "202":
            new -= in_path
            values = {name: pointer for name, pointer in values.items() if name not in in_path}
        links = {}
        for target_path, _, target in operations if method == "post" else ():
            names = _PATH_PARAMETERS.findall(target_path)
            if new & set(names) and set(names) <= values.keys() | in_path:
                known = {name: f"$request.path.{name}" for name in in_path} | {
                    name: f"$response.body#{pointer}" for name, pointer in values.items()
                }
                links[target["operationId"]] = {
                    "operationId": target["operationId"],
                    "parameters": {name: known[name] for name in names} | _headers(target, values),
                }
        if links:
            answer["links"] = links


def _headers(target: Schema, values: dict[str, str]) -> dict[str, str]:
    """Return the header parameters of an operation that the answer has values for."""
    takes = {parameter["name"] for parameter in target["parameters"] if parameter["in"] == "header"}
    return {
        f"header.{header}": f"$response.body#{values[member]}"
        for header, member in _HEADERS.items()
        if header in takes and member in values
    }


def _values_of(schema: Schema, schemas: dict[str, Schema]) -> tuple[dict[str, str], set[str]]:
    """Return path parameter → JSON pointer into the answer, and the parameters that are never null."""
    values: dict[str, str] = {}
    new: set[str] = set()
    members = list(_members(schema, schemas))
    for _, member, shape in members:
        for inner_name, inner, inner_shape in _members(shape, schemas):
            _add(inner_name, inner, inner_shape, f"/{member}/{inner}", values, new)
    for name, member, shape in members:  # last, since outer members take precedence: they are never null
        _add(name, member, shape, f"/{member}", values, new)
        if (alias := _ALIASES.get(member)) is not None:
            values[alias] = f"/{member}"
            new.add(alias)
    return values, new


def _members(schema: Schema, schemas: dict[str, Schema]) -> Iterator[tuple[str, str, Schema]]:
    """Yield (name of the type, member, schema of the member)."""
    for option in (schema, *schema.get("anyOf", ())):
        name = option.get("$ref", "").rpartition("/")[2]
        for member, shape in schemas.get(name, {}).get("properties", {}).items():
            yield name, member, shape


def _add(
    type_name: str, member: str, shape: Schema, pointer: str, values: dict[str, str], new: set[str]
) -> None:
    noun = _WORD_BOUNDARY.sub("_", type_name.removeprefix("Created").removesuffix("View")).lower()
    noun = _NOUNS.get(noun, noun)
    for name in (noun, f"{noun}_id") if member == "id" else (member,):
        values[name] = pointer
        if shape.get("type") == "string":
            new.add(name)
