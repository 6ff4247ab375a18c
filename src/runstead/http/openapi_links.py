"""Links of the OpenAPI document: which operations take what another's answer names (OpenAPI 3.1, "Link Object")."""

import re
from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_PATH_PARTS: Final = re.compile(r"{(\w+)}")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HEADERS: Final = {"X-Lease-Token": "lease_token"}


def add_links(document: Schema) -> None:
    """From every operation that makes or hands out something, to every operation on what it made."""
    schemas = document["components"]["schemas"]
    operations = [
        (path, method, spec) for path, found in document["paths"].items() for method, spec in found.items()
    ]
    for path, method, source in operations:
        status, answer = next(iter(source["responses"].items()))
        given = set(_PATH_PARTS.findall(path))
        told, new = _told(answer.get("content", {}).get("application/json", {}).get("schema", {}), schemas)
        if status not in {"201", "202"}:  # it made nothing: what its path names is not news
            new -= given
            told = {name: at for name, at in told.items() if name not in given}
        links = {}
        for target_path, _, target in operations if method == "post" else ():
            names = _PATH_PARTS.findall(target_path)
            if new & set(names) and set(names) <= told.keys() | given:
                known = {name: f"$request.path.{name}" for name in given} | {
                    name: f"$response.body#{at}" for name, at in told.items()
                }
                links[target["operationId"]] = {
                    "operationId": target["operationId"],
                    "parameters": {name: known[name] for name in names} | _headers(target, told),
                }
        if links:
            answer["links"] = links


def _headers(target: Schema, told: dict[str, str]) -> dict[str, str]:
    """The proof of a claim, for the writes that carry it."""
    takes = {parameter["name"] for parameter in target["parameters"] if parameter["in"] == "header"}
    return {
        f"header.{header}": f"$response.body#{told[member]}"
        for header, member in _HEADERS.items()
        if header in takes and member in told
    }


def _told(schema: Schema, schemas: dict[str, Schema]) -> tuple[dict[str, str], set[str]]:
    """What an answer names, as paths have it → the JSON pointer to it; and which of these are never null."""
    told: dict[str, str] = {}
    new: set[str] = set()
    for name, member, shape in _members(schema, schemas):
        for inner_name, inner, inner_shape in _members(shape, schemas):
            _tell(inner_name, inner, inner_shape, f"/{member}/{inner}", told, new)
        _tell(name, member, shape, f"/{member}", told, new)
    return told, new


def _members(schema: Schema, schemas: dict[str, Schema]) -> Iterator[tuple[str, str, Schema]]:
    """(name of the shape, member, schema of the member)"""
    for option in (schema, *schema.get("anyOf", ())):
        name = option.get("$ref", "").rpartition("/")[2]
        for member, shape in schemas.get(name, {}).get("properties", {}).items():
            yield name, member, shape


def _tell(shape_name: str, member: str, shape: Schema, at: str, told: dict[str, str], new: set[str]) -> None:
    noun = _WORDS.sub("_", shape_name.removeprefix("Created").removesuffix("View")).lower()
    for name in (noun, f"{noun}_id") if member == "id" else (member,):
        told[name] = at
        if shape.get("type") == "string":
            new.add(name)
