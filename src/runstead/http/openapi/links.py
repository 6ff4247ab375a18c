"""Links of the OpenAPI document: which operations take what another's answer names (OpenAPI 3.1, "Link Object")."""

import re
from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_PATH_PARTS: Final = re.compile(r"{(\w+)}")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: Where a path has another name than the shape.
_NOUNS: Final = {"push_service": "service"}
#: Of an answer, where the path has another name than the member.
_ALIASES: Final = {"latest_event_id": "event_id"}
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
        if (
            status != "202"
        ):  # another one like that of the path was made; else what the path names is not news
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
    members = list(_members(schema, schemas))
    for _, member, shape in members:
        for inner_name, inner, inner_shape in _members(shape, schemas):
            _tell(inner_name, inner, inner_shape, f"/{member}/{inner}", told, new)
    for name, member, shape in members:  # last: what stands further out is never null with what is around it
        _tell(name, member, shape, f"/{member}", told, new)
        if (alias := _ALIASES.get(member)) is not None:
            told[alias] = f"/{member}"
            new.add(alias)
    return told, new


def _members(schema: Schema, schemas: dict[str, Schema]) -> Iterator[tuple[str, str, Schema]]:
    """(name of the shape, member, schema of the member)"""
    for option in (schema, *schema.get("anyOf", ())):
        name = option.get("$ref", "").rpartition("/")[2]
        for member, shape in schemas.get(name, {}).get("properties", {}).items():
            yield name, member, shape


def _tell(shape_name: str, member: str, shape: Schema, at: str, told: dict[str, str], new: set[str]) -> None:
    noun = _WORDS.sub("_", shape_name.removeprefix("Created").removesuffix("View")).lower()
    noun = _NOUNS.get(noun, noun)
    for name in (noun, f"{noun}_id") if member == "id" else (member,):
        told[name] = at
        if shape.get("type") == "string":
            new.add(name)
