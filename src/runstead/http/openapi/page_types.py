"""Render JSON Schema as short HTML."""

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from runstead.http.framework.values import END, NO_CONTROLS, NO_NUL

Schema = dict[str, Any]

#: Keyword of the lower bound, of the upper bound, and the unit.
_BOUNDS: Final = (
    ("minLength", "maxLength", " characters"),
    ("minimum", "maximum", ""),
    ("minItems", "maxItems", " items"),
    ("minProperties", "maxProperties", " members"),
)
_PATTERNS: Final = {NO_CONTROLS: "no control characters", NO_NUL: "no NUL"}
_HUGE: Final = 1 << 31  # larger bounds are not shown


def members(schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Yield (name, schema, required) of each member."""
    required = schema.get("required", ())
    for name, member in schema.get("properties", {}).items():
        yield name, member, name in required


def type_of(schema: Schema) -> tuple[str, str]:
    """Return the type as HTML with links to objects, and its limits as plain text."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#object-{name}">{name}</a>', ""
    if len(schema.get("allOf", ())) == 1 and "$ref" in schema["allOf"][0]:
        return type_of(schema["allOf"][0])[0], "; ".join(_notes(schema))
    if "oneOf" in schema:
        return " or ".join(type_of(kind)[0] for kind in schema["oneOf"]), ""
    if "anyOf" in schema:
        found = [type_of(kind) for kind in schema["anyOf"]]
        notes = "; ".join(note for _, note in found if note)
        default = schema.get("default")
        if default is not None:
            notes = f"{notes}; default {_value(default)}" if notes else f"default {_value(default)}"
        return " or ".join(dict.fromkeys(kind for kind, _ in found)), notes
    return _kind(schema), "; ".join(_notes(schema))


def _kind(schema: Schema) -> str:
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    kind = schema.get("type")
    if kind is None:
        return "any JSON value"
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array" and schema.get("items"):
        return f"array of {type_of(schema['items'])[0]}"
    if schema.get("format") == "date-time":
        return "time"
    return str(kind)


def _notes(schema: Schema) -> Iterator[str]:
    for lower, upper, what in _BOUNDS:
        least, most = _shown_bound(schema.get(lower)), _shown_bound(schema.get(upper))
        if least is not None and most is not None:
            yield f"{least:,} to {most:,}{what}"
        elif least is not None:
            yield f"at least {least:,}{what}"
        elif most is not None:
            yield f"at most {most:,}{what}"
    pattern = schema.get("pattern")
    if pattern is not None and (pattern in _PATTERNS or "description" not in schema):
        yield _PATTERNS.get(pattern, f"matches {pattern.removesuffix(END)}$")
    if (default := schema.get("default")) not in (None, []):
        yield f"default {_value(default)}"


def _shown_bound(bound: int | None) -> int | None:
    return None if bound is None or abs(bound) >= _HUGE else bound


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
