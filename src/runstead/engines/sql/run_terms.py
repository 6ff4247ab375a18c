"""What a run can be found by, as terms of the run index; and which terms a list asks for.

A run with all terms of a list need not belong on it (values are hashed, grams that follow one another in the text may
stand apart in the run, the run may have changed): what is found is held against the rows. But a run that belongs on it
has its terms.

Terms are grams, three characters of a text that a list can be searched for, or begin with a byte that no text has.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec

from runstead.core import limits
from runstead.ports.store.runs import RunQuery

#: What is kept of a block beside sets of runs: its bounds, and the durations.
BOUNDS: Final = b"\xffc"
DURATIONS: Final = b"\xffd"
ROOT: Final = b"\xffr"
PROJECTS: Final = (b"\xffp", b"\xffq")  # all terms from the first up to the second
_STATUS: Final = {"completed": b"\xffsc", "failed": b"\xffsf", "cancelled": b"\xffsx"}
OPEN: Final = b"\xffso"
ENDED: Final = tuple(_STATUS.values())
#: Behind the end of a text, so that its last characters begin a gram as well: no stored text has it.
_END: Final = "\0\0"
#: Grams of a text that are asked for at first; the others only where those were found.
_grams_first: Final = 3
_grams_max: Final = 32
_projects_max: Final = 32  # that are asked for one by one
_LOWER: Final = str.maketrans({chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)})
_labels = msgspec.json.Decoder(dict[str, str])


class Facts(msgspec.Struct, frozen=True, gc=False):
    """As much of a run as the index holds; the columns of `index_facts` in their order."""

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


FACTS: Final = Facts.__struct_fields__


@lru_cache(maxsize=4_096)
def _term(letter: bytes, value: str) -> bytes:
    return b"\xff" + letter + blake2b(value.encode(), digest_size=8).digest()


def status_term(status: str) -> bytes:
    return _STATUS.get(status, OPEN)


def _lowered(text: str) -> str:
    """As the engines' LIKE takes it: the case of ASCII letters alone does not matter."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


@cache
def _threes(count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    return itemgetter(*(slice(place, place + 3) for place in range(count)), slice(0, 0))


def grams(text: str) -> tuple[bytes, ...]:
    """One for each character of the text, which it begins with."""
    padded = _lowered(text) + _END
    if text.isascii():
        return _threes(len(text))(padded.encode())[:-1]
    return tuple(padded[place : place + 3].encode() for place in range(len(text)))


def _label_term(key: str, value: str) -> bytes:
    return _term(b"l", f"{key}\0{value}")


def terms_of(run: Facts) -> set[bytes]:
    """All terms of a run."""
    return {*grams(run.run_id), *(term for value in values_of(run) for term in terms_of_value(value))}


class Shape(NamedTuple):
    """What many runs have in common."""

    project_id: str
    kind: str
    status: str
    target: str | None
    schedule_id: str | None
    parent_run_id: str | None


Value: TypeAlias = Shape | str | bytes


def values_of(run: Facts) -> list[Value]:
    """What gives a run its terms beside its id: its title as text, its labels as JSON."""
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
        return frozenset(_label_term(key, one) for key, one in _labels.decode(value).items())
    terms = {_term(b"p", value.project_id), _term(b"k", value.kind), status_term(value.status)}
    terms.add(ROOT if value.parent_run_id is None else _term(b"a", value.parent_run_id))
    if value.schedule_id is not None:
        terms.add(_term(b"h", value.schedule_id))
    if value.target is not None:
        terms.add(_term(b"t", value.target))
        terms.update(grams(value.target))
    return frozenset(terms)


class Bounds(NamedTuple):
    """Of a block: the first and last time of creation of its runs, and the longest duration. It may be wider."""

    first: int
    last: int
    longest: int


def bounds_of(runs: Iterable[Facts]) -> Bounds:
    """Those of no run are met by no run."""
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
    """What a run on the list has: of each group any term. `spans` are groups, too: any term from the one up to the
    other. `later` are groups that are worth asking for only where all others were found.
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
    if query.text is not None and len(query.text) < 3:
        begin = _lowered(query.text).encode()
        spans.append((begin, begin + b"\xff"))
    elif query.text is not None:
        parts = list(dict.fromkeys(grams(query.text)[:-2]))
        first = parts[:: -(-len(parts) // _grams_first)]
        groups += [[gram] for gram in first]
        later = [[gram] for gram in parts if gram not in first][:_grams_max]
    return Wanted([group for group in groups if group], spans, later)


def by_rows_alone(query: RunQuery) -> bool:
    """Whether the tables' own indexes give the list, or it is short: a project's runs, those of one state of few, of a
    schedule, and whatever the runs of one batch are filtered by.
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
