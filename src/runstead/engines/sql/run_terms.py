"""Terms of the run index: those of a run, and those that a query requires.

Every run that matches a query has the terms of the query. A run with these terms may still not match: values are
hashed, grams need not be adjacent in the run, and the run may have changed. So candidates are checked against the rows.

A term is a gram (three characters of a searchable text), or begins with a byte that no text contains.
"""

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec

from runstead.core import limits
from runstead.ports.store.runs import RunQuery

#: Terms whose value is not a set of runs: the bounds and the durations of a block.
BOUNDS: Final = b"\xffc"
DURATIONS: Final = b"\xffd"
ROOT: Final = b"\xffr"
PROJECTS: Final = (b"\xffp", b"\xffq")  # all terms from the first up to the second
_STATUS: Final = {"completed": b"\xffsc", "failed": b"\xffsf", "cancelled": b"\xffsx"}
OPEN: Final = b"\xffso"
ENDED: Final = tuple(_STATUS.values())
#: Appended to a text, so that its last characters begin a gram as well. No stored text contains it.
_END: Final = "\0\0"
#: Grams of a text that are read first; the others are read only if these are found.
_grams_first: Final = 3
_grams_max: Final = 32
_projects_max: Final = 32  # more projects are not filtered by the index
_LOWER: Final = str.maketrans({chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)})
_labels = msgspec.json.Decoder(dict[str, str])
_ESCAPED_IN_JSON: Final = re.compile(r'[\x00-\x1f"\\]')


class Facts(msgspec.Struct, frozen=True, gc=False):
    """The indexed fields of a run."""

    seq: int
    project_id: str
    run_id: str
    kind: str
    status: str
    created_at: int
    duration_ms: int | None
    target: str | None
    title: str | None
    labels: bytes | None
    schedule_id: str | None
    parent_run_id: str | None
    searched: str | None  # the parts of the error, and of input and output, that a search reads


#: The columns of `index_facts` in their order; each engine has an expression for the last one.
FACTS: Final = Facts.__struct_fields__


@lru_cache(maxsize=4_096)
def _term(letter: bytes, value: str) -> bytes:
    return b"\xff" + letter + blake2b(value.encode(), digest_size=8).digest()


def status_term(status: str) -> bytes:
    return _STATUS.get(status, OPEN)


def _lowercase(text: str) -> str:
    """Lower ASCII letters only, as LIKE of the engines ignores only their case."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


@cache
def _trigrams_of(count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    return itemgetter(*(slice(place, place + 3) for place in range(count)), slice(0, 0))


def grams(text: str) -> tuple[bytes, ...]:
    """The grams of a text: one begins at each character."""
    padded = _lowercase(text) + _END
    if text.isascii():
        return _trigrams_of(len(text))(padded.encode())[:-1]
    return tuple(padded[place : place + 3].encode() for place in range(len(text)))


def grams_of_long(text: str) -> set[bytes]:
    """The grams of a text of any length."""
    padded = _lowercase(text) + _END
    if text.isascii():
        encoded = padded.encode()
        return {encoded[place : place + 3] for place in range(len(text))}
    return {padded[place : place + 3].encode() for place in range(len(text))}


def own_grams(run: Facts) -> set[bytes]:
    """The grams of texts that no other run shares: its id, and what a search reads of its values."""
    own = set(grams(run.run_id))
    return own if run.searched is None else own | grams_of_long(run.searched)


def _label_term(key: str, value: str) -> bytes:
    return _term(b"l", f"{key}\0{value}")


def terms_of(run: Facts) -> set[bytes]:
    """All terms of a run."""
    return {*own_grams(run), *(term for value in values_of(run) for term in terms_of_value(value))}


class Shape(NamedTuple):
    """Values that many runs share."""

    project_id: str
    kind: str
    status: str
    target: str | None
    schedule_id: str | None
    parent_run_id: str | None


Value: TypeAlias = Shape | str | bytes


def values_of(run: Facts) -> list[Value]:
    """The values that give a run its terms, except its id: the title as text, the labels as JSON."""
    values: list[Value] = [
        Shape(
            project_id=run.project_id,
            kind=run.kind,
            status=run.status,
            target=run.target,
            schedule_id=run.schedule_id,
            parent_run_id=run.parent_run_id,
        )
    ]
    if run.title is not None:
        values.append(run.title)
    if run.labels is not None:
        values.append(run.labels)
    return values


@lru_cache(maxsize=1_024)
def terms_of_value(value: Value) -> frozenset[bytes]:
    if isinstance(value, str):
        return frozenset(grams(value))
    if isinstance(value, bytes):
        terms = {_label_term(key, one) for key, one in _labels.decode(value).items()}
        return frozenset(terms | grams_of_long(value.decode()))
    terms = {_term(b"p", value.project_id), _term(b"k", value.kind), status_term(value.status)}
    terms.add(ROOT if value.parent_run_id is None else _term(b"a", value.parent_run_id))
    if value.schedule_id is not None:
        terms.add(_term(b"h", value.schedule_id))
    if value.target is not None:
        terms.add(_term(b"t", value.target))
        terms.update(grams(value.target))
    return frozenset(terms)


class Bounds(NamedTuple):
    """First and last creation time and longest duration of the runs of a block. May be wider than needed."""

    first: int
    last: int
    longest: int


def bounds_of(runs: Iterable[Facts]) -> Bounds:
    """The bounds of the runs. The bounds of an empty block match nothing."""
    first, last, longest = limits.timestamp_ms_max, -1, -1
    for run in runs:
        first, last = min(first, run.created_at), max(last, run.created_at)
        longest = max(longest, -1 if run.duration_ms is None else run.duration_ms)
    return Bounds(first, last, longest)


def pack_bounds(bounds: Bounds) -> bytes:
    return struct.pack("<qqq", *bounds)


def unpack_bounds(stored: bytes) -> Bounds:
    return Bounds(*struct.unpack("<qqq", stored))


class Wanted(msgspec.Struct, frozen=True):
    """A matching run has at least one term of each group. A span is the group of all terms in [first, end). The
    groups in `later` are read only if all others are found.
    """

    groups: Sequence[Sequence[bytes]]
    spans: Sequence[tuple[bytes, bytes]] = ()
    later: Sequence[Sequence[bytes]] = ()


def wanted(query: RunQuery) -> Wanted:
    groups: list[list[bytes]] = [
        [_term(b"t", one) for one in query.targets],
        [_term(b"k", one) for one in query.kinds],
        list({status_term(one) for one in query.statuses}),
        *([_label_term(key, value)] for key, value in query.labels),
    ]
    if len(query.project_ids) <= _projects_max:
        groups.append([_term(b"p", one) for one in query.project_ids])
    if query.sort == "duration":
        groups.append([*ENDED])
    if query.root_only:
        groups.append([ROOT])
    for letter, value in ((b"h", query.schedule_id), (b"a", query.parent_run_id)):
        if value is not None:
            groups.append([_term(letter, value)])
    spans: list[tuple[bytes, bytes]] = []
    later: list[list[bytes]] = []
    text = None if query.text is None else _in_all_forms(query.text)
    if text and len(text) < 3:
        begin = _lowercase(text).encode()
        spans.append((begin, begin + b"\xff"))
    elif text:
        parts = list(dict.fromkeys(grams(text)[:-2]))
        first = parts[:: -(-len(parts) // _grams_first)]
        groups += [[gram] for gram in first]
        later = [[gram] for gram in parts if gram not in first][:_grams_max]
    return Wanted([group for group in groups if group], spans, later)


def like_pattern(text: str) -> str:
    """Return the pattern of LIKE for a text that is contained, which a backslash escapes."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def json_form(text: str) -> str:
    """Return the text as a JSON string contains it."""
    return msgspec.json.encode(text).decode()[1:-1]


def _in_all_forms(text: str) -> str:
    """Return the longest part of a searched text that is the same in JSON, in which labels and values are searched."""
    return max(_ESCAPED_IN_JSON.split(text), key=len)


def needs_no_index(query: RunQuery) -> bool:
    """Whether an index of the table serves the query: all runs of a project, its runs in rare states, those of a
    schedule, or any filter on one batch.
    """
    if query.batch_id is not None:
        return True
    filtered = query.kinds or query.targets or query.labels or query.text or query.root_only
    timed = query.created_after is not None or query.created_before is not None
    if filtered or timed or query.parent_run_id is not None or query.sort != "created_at":
        return False
    if len(query.project_ids) != 1:
        return not query.project_ids
    if query.schedule_id is not None:
        return not query.statuses
    return "completed" not in query.statuses
