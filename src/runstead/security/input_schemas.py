"""JSON Schemas that workers register: how they are compiled, and which checks are certainly short."""

import functools
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from runstead.core import limits

_DEFINITION: Final = "#/$defs/"
#: Keywords by which a schema can apply parts of itself again, or apply them to what other parts have matched.
_UNBOUNDED: Final = frozenset(
    {"$dynamicRef", "$dynamicAnchor", "$anchor", "$id", "$recursiveRef", "$vocabulary"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_PATTERNS: Final = ("pattern", "patternProperties")
_CLASS_STATES: Final = 100  # of a class of Unicode such as \\w, which a pattern names with two characters


class Fault(NamedTuple):
    """A value that does not fit: its place, such as `.lines[0]`, and why."""

    place: str
    message: str


@functools.lru_cache(maxsize=limits.input_schemas_compiled_max)
def compiled(schema: bytes) -> Any:
    """Compile a schema (JSON text). ValueError if it is not valid.

    The package is imported only where a target asks for validation. No schema is fetched from elsewhere, and patterns
    take linear time. Messages never contain the value, which may be as large as the input.
    """
    import jsonschema_rs  # noqa: PLC0415

    try:
        return jsonschema_rs.Draft202012Validator(
            msgspec.json.decode(schema),
            retriever=_refuse_reference,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
    except jsonschema_rs.ReferencingError as error:
        raise ValueError(str(error)) from None


def _refuse_reference(address: str) -> Any:
    raise ValueError(f"a schema cannot refer to {address}: put it into $defs")


def faults(schema: bytes, value: bytes | None) -> list[Fault]:
    """Return what of a value (JSON text, None for null) does not fit, at most `limits.input_errors_max` of it."""
    found: list[Fault] = []
    for error in compiled(schema).iter_errors(None if value is None else msgspec.json.decode(value)):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        most = limits.input_error_chars_max
        found.append(Fault(place[:most], error.message[:most]))
        if len(found) == limits.input_errors_max:
            break
    return found


def is_short(schema: bytes, value: bytes | None) -> bool:
    """Whether a check certainly takes a few milliseconds, by the sizes of the schema and of the value."""
    size = size_of(schema)
    return size is not None and size * len(value or b"") <= limits.input_check_steps_max


@functools.lru_cache(maxsize=limits.input_schemas_compiled_max)
def size_of(schema: bytes) -> int | None:
    """Return the size of a schema with its definitions in the place of references. None: it has no bound."""
    root = msgspec.json.decode(schema)
    definitions = root.get("$defs") if isinstance(root, dict) else None
    known: dict[str, int | None] = {}

    def of_definition(reference: object) -> int | None:
        name = str(reference)
        if name not in known:
            known[name] = None  # until it is known: a definition that contains itself has no bound
            place = name.removeprefix(_DEFINITION)
            if name.startswith(_DEFINITION) and isinstance(definitions, dict) and place in definitions:
                known[name] = of(definitions[place])
        return known[name]

    def of(part: Any) -> int | None:
        if isinstance(part, str):
            return 1 + len(part)
        total = 1
        for name, each in _members(part):
            if name in _UNBOUNDED or (name in _PATTERNS and _repeats(name, each)):
                return None
            size = of_definition(each) if name == "$ref" else of(each)
            if size is None:
                return None
            total += len(name) + size * (_CLASS_STATES if name in _PATTERNS else 1)
        return total

    try:
        return of({name: each for name, each in root.items() if name != "$defs"} if definitions else root)
    except RecursionError:
        return None


def _members(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        yield from part.items()
    elif isinstance(part, list):
        yield from (("", each) for each in part)


def _repeats(name: str, part: Any) -> bool:
    """Whether patterns count repetitions: `a{1000}` is as long as a thousand characters."""
    patterns = part if name == "patternProperties" and isinstance(part, dict) else [part]
    return any("{" in str(pattern) for pattern in patterns)
