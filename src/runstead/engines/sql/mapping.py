"""Records to rows and back, by the names of fields and columns."""

from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from functools import cache
from inspect import Parameter, signature
from operator import itemgetter
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Struct
from msgspec.structs import asdict

R = TypeVar("R")


def decoder(record: Callable[..., R], columns: tuple[str, ...]) -> Callable[[Sequence[Any]], R]:
    """A function that makes a record from a row with these columns. Each column has the name of a field, in any order.

    `record` is a msgspec Struct or a NamedTuple. A field without a column keeps its default; TypeError without one.
    """
    hints = get_type_hints(record)
    assert len(set(columns)) == len(columns), (record, columns)
    assert hints.keys() >= set(columns), (record, columns)
    converted = {name: convert for name in columns if (convert := _conversion(hints[name])) is not None}
    parameters = signature(record).parameters
    if not converted and len(columns) > 1 and set(columns) == _positional(parameters.values()):
        pick = itemgetter(*(columns.index(name) for name in parameters))
        return lambda row: record(*pick(row))

    def decode(row: Sequence[Any]) -> R:
        values = dict(zip(columns, row, strict=True))
        for name, convert in converted.items():
            if values[name] is not None:
                values[name] = convert(values[name])
        return record(**values)

    return decode


def _positional(parameters: Iterable[Parameter]) -> set[str]:
    return {each.name for each in parameters if each.kind is Parameter.POSITIONAL_OR_KEYWORD}


def fields(record: Struct) -> dict[str, Any]:
    """Field → value as a column holds it."""
    values = asdict(record)
    for name in _fields_of_words(type(record)):
        values[name] = _text(values[name])
    return values


def changed_fields(old: Struct, new: Struct) -> dict[str, Any]:
    """Field → value as a column holds it, of the fields that differ."""
    before = fields(old)
    return {name: value for name, value in fields(new).items() if value != before[name]}


def _text(words: Collection[str] | None) -> str | None:
    """A set or tuple of words is stored as one text."""
    if words is None:
        return None
    return " ".join(sorted(words) if isinstance(words, frozenset) else words)


@cache
def _fields_of_words(record: type[Struct]) -> tuple[str, ...]:
    hints = get_type_hints(record)
    return tuple(name for name in record.__struct_fields__ if get_origin(hints[name]) in {tuple, frozenset})


def _conversion(hint: Any) -> Callable[[Any], Any] | None:
    """From a column's value to a field's. SQLite has no booleans, and no engine has enums, tuples or sets."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    kind = kinds[0] if get_origin(hint) not in {tuple, frozenset} else hint
    if kind is bool:
        return bool
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if get_origin(kind) is tuple:
        return lambda text: tuple(text.split())
    if get_origin(kind) is frozenset:
        (word,) = get_args(kind)
        return lambda text: frozenset(map(word, text.split()))
    return None
