"""Roll-ups: what ended runs used and came to, summed up by quarter hours, hours and days of their creation.

Every run that ends leaves an entry in the transaction of its end, and so does one that is deleted or moves to another
project. A loop adds entries to the sums and drops them, both in one transaction; what is not added yet, a report reads
from the entries. So every report is exact at any moment. Quarter hours, since all time zones keep to them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from runstead.core import limits
from runstead.core.clock import iso
from runstead.core.runs.run import Kind, Run, RunStatus
from runstead.core.usage.usage import read

QUARTER: Final = 900_000
HOUR: Final = 3_600_000
DAY: Final = 86_400_000
WEEK: Final = 7 * DAY
"""Weeks begin with the epoch's: on Thursdays."""
WEEKS: Final = 4 * WEEK

Action = Literal["ended", "left", "joined", "deleted"]

#: What an action does to charts: those tell of runs that are there. Usage outlives its run.
ACTIVITY: Final[dict[Action, int]] = {"ended": 1, "left": -1, "joined": 1, "deleted": -1}


class Facts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """As much of an ended run as sums are made of. Times in ms."""

    created_at: int
    kind: Kind
    status: RunStatus
    duration_ms: int | None
    target: str | None
    schedule_id: str | None
    created_by: str | None
    root_run_id: str
    provider: str | None = None
    model: str | None = None
    tokens: tuple[int, int, int, int] | None = None
    """Input, output, cached input, reasoning; None where the run reported nothing."""


#: The columns of a run that `facts` takes, in its order.
FACT_FIELDS: Final = (
    "created_at",
    "kind",
    "status",
    "duration_ms",
    "target",
    "schedule_id",
    "created_by",
    "root_run_id",
    "metadata",
)


class Entry(NamedTuple):
    """A row of the entries. A run does one thing at each of its versions, so that the first three are its key."""

    run_seq: int
    version: int
    action: Action
    project_id: str
    facts: bytes


class UsageKey(NamedTuple):
    """Which sum of usage. `name`, `provider` and `model` are as `coded`."""

    project_id: str
    way: str
    width: int
    bucket: int
    name: str
    provider: str
    model: str


class ActivityKey(NamedTuple):
    """Which sum of runs. `name` is a target or a schedule, as `coded`, by the `way`."""

    project_id: str
    way: str
    width: int
    bucket: int
    name: str
    kind: str
    status: str


Sums = list[int]
"""Runs, then input, output, cached input and reasoning tokens."""

Durations = Counter[int]
"""Runs by how long they took, `rounded`."""

#: Which widths a way of telling usage is summed up in. Most families are there for one bucket only.
USAGE_WIDTHS: Final[dict[str, tuple[int, ...]]] = {
    "model": (QUARTER, DAY, WEEKS),
    "target": (QUARTER, DAY, WEEKS),
    "schedule": (QUARTER, DAY, WEEKS),
    "key": (QUARTER, DAY, WEEKS),
    "day": (QUARTER, DAY),
    "family": (QUARTER,),
    "ended": (QUARTER, DAY, WEEKS),
    "gone": (DAY,),
}
ACTIVITY_WIDTHS: Final = (QUARTER, HOUR, DAY, WEEK)
ACTIVITY_WAYS: Final = ("all", "target", "schedule")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Facts).decode
_durations = msgspec.msgpack.Decoder(dict[int, int]).decode


def facts(
    created_at: int,
    kind: Kind,
    status: RunStatus,
    duration_ms: int | None,
    target: str | None,
    schedule_id: str | None,
    created_by: str | None,
    root_run_id: str,
    metadata: bytes | None,
) -> Facts:
    """Of a run that has ended."""
    of_run = (created_at, kind, status, duration_ms, target, schedule_id, created_by, root_run_id)
    if metadata is None:
        return Facts(*of_run)
    told = read(metadata)
    counts = (told.input_tokens, told.output_tokens, told.cached_input_tokens, told.reasoning_tokens)
    most = limits.tokens_per_run_max
    used, made, cached, reasoned = (max(0, min(count or 0, most)) for count in counts)
    return Facts(*of_run, _plain(told.provider), _plain(told.model), (used, made, cached, reasoned))


def _plain(name: str | None) -> str | None:
    """No database keeps a NUL in a text."""
    return name.replace("\0", "\N{REPLACEMENT CHARACTER}") if name is not None and "\0" in name else name


def facts_of(run: Run) -> Facts:
    return facts(
        run.created_at,
        run.kind,
        run.status,
        run.duration_ms,
        run.target,
        run.schedule_id,
        run.created_by,
        run.root_run_id,
        run.metadata,
    )


def ended(old: Run | None, new: Run) -> Sequence[Entry]:
    """The entry that a change of a run leaves: none but where it ends."""
    if not new.terminal or (old is not None and old.terminal):
        return ()
    return (_entry(end_of(new), "ended"),)


class End(NamedTuple):
    """A run that has ended, as far as entries tell of it."""

    run_seq: int
    version: int
    project_id: str
    facts: Facts


def end_of(run: Run) -> End:
    return End(run.seq, run.version, run.project_id, facts_of(run))


def _entry(end: End, action: Action) -> Entry:
    return Entry(end.run_seq, end.version, action, end.project_id, _encode(end.facts))


def gone(end: End, *, rolled_up: bool) -> Iterator[Entry]:
    """What a run that is deleted leaves. Of one that ended before there were roll-ups, and was not added to them
    since (`rolled_up`), its end as well.
    """
    if not rolled_up:
        yield _entry(end, "ended")
    yield _entry(end, "deleted")


def moved(end: End, project_id: str, *, rolled_up: bool) -> Iterator[Entry]:
    """What an ended run leaves that moves to another project, which gives it the next version."""
    if not rolled_up:
        yield _entry(end, "ended")
    yield _entry(end, "left")
    yield _entry(end._replace(version=end.version + 1, project_id=project_id), "joined")


def stored(told: bytes) -> Facts:
    """The facts of an entry."""
    return _decode(told)


def coded(name: str | None) -> str:
    """A name that may be missing, as a key that may not."""
    return "" if name is None else f":{name}"


def uncoded(key: str) -> str | None:
    return key[1:] if key else None


Tokens = tuple[int, int, int, int]
"""Input, output, cached input, reasoning."""

_NO_TOKENS: Final[Tokens] = (0, 0, 0, 0)

Share = tuple[str, str, str, str, Tokens]
"""A way, then the name, provider and model as `coded`, and tokens: what runs add to the sums of that way."""


def uses(one: "_Alike", tokens: Tokens) -> Iterator[tuple[int, Share]]:
    """What entries that are alike add to the sums of usage, by (sign, share); those of families apart. Of a run that is
    deleted it is noted that it is gone, to tell the sums from the rows.
    """
    sign = -1 if one.action == "left" else 1
    told = coded(one.provider), coded(one.model), tokens
    if one.action == "deleted":
        yield 1, ("gone", "ended", "", "", _NO_TOKENS)
        if one.reported:
            yield 1, ("gone", "used", *told)
        return
    yield sign, ("ended", "", "", "", _NO_TOKENS)
    if one.reported:
        yield sign, ("model", "", *told)
        yield sign, ("target", coded(one.target), *told)
        yield sign, ("schedule", coded(one.schedule_id), *told)
        yield sign, ("key", coded(one.created_by), *told)
        yield sign, ("day", coded(iso(one.bucket)[:10]), *told)


def of_family(action: Action, one: Facts) -> Iterator[tuple[int, Share]]:
    """What a run that reported adds to the sums of families. One that is deleted leaves its family's for that of no family,
    so that sums of families do not pile up.
    """
    told = coded(one.provider), coded(one.model), one.tokens or _NO_TOKENS
    root = coded(one.root_run_id)
    yield -1 if action in ("left", "deleted") else 1, ("family", root, *told)
    if action == "deleted":
        yield 1, ("family", "", *told)


def rounded(duration_ms: int) -> int:
    """To 2.5 % or better: two digits and a half. Quantiles are those of rounded durations, wherever they are read."""
    if duration_ms < 100:
        return duration_ms
    step: int = 10 ** (len(str(duration_ms)) - 2) // 2
    return (duration_ms + step // 2) // step * step


class _Alike(NamedTuple):
    """What entries have in common that add to the same sums, but for those of families."""

    action: Action
    project_id: str
    bucket: int
    kind: Kind
    status: str
    target: str | None
    schedule_id: str | None
    created_by: str | None
    provider: str | None
    model: str | None
    reported: bool


Added = tuple[Action, str, Facts]
"""What a run did, the project that it belongs to, and its facts."""


class Additions:
    """What some entries add to the sums. Entries are alike, most of them: those are joined first."""

    def __init__(self, entries: Iterable[Added]) -> None:
        self.usage: dict[UsageKey, Sums] = {}
        self.activity: dict[ActivityKey, tuple[int, Durations]] = {}
        alike: dict[tuple[Any, ...], tuple[Sums, Durations]] = {}  # plain keys: they are made for every entry
        for action, project_id, one in entries:
            bucket = one.created_at // QUARTER * QUARTER
            key = (
                action,
                project_id,
                bucket,
                one.kind,
                one.status.value,
                one.target,
                one.schedule_id,
                one.created_by,
                one.provider,
                one.model,
                one.tokens is not None,
            )
            found = alike.get(key)
            if found is None:
                found = alike[key] = ([0, 0, 0, 0, 0], Counter())
            sums, durations = found
            add(sums, 1, one.tokens or ())
            if one.duration_ms is not None and one.status is RunStatus.COMPLETED:
                durations[rounded(one.duration_ms)] += 1
            if one.tokens is not None:
                for sign, share in of_family(action, one):
                    self._use(project_id, bucket, sign, share, 1)
        for parts, (sums, durations) in alike.items():
            key = _Alike(*parts)
            _, used, made, cached, reasoned = sums
            for sign, share in uses(key, (used, made, cached, reasoned)):
                self._use(key.project_id, key.bucket, sign, share, sums[0])
            self._count(key, ACTIVITY[key.action], sums[0], durations)

    def _use(self, project_id: str, at: int, sign: int, share: Share, runs: int) -> None:
        way, name, provider, model, tokens = share
        for width in USAGE_WIDTHS[way]:
            key = UsageKey(project_id, way, width, at // width * width, name, provider, model)
            sums = self.usage.get(key)
            if sums is None:
                sums = self.usage[key] = [0, 0, 0, 0, 0]
            add(sums, sign, tokens, runs)

    def _count(self, one: _Alike, sign: int, runs: int, durations: Durations) -> None:
        named = [("all", ""), ("target", coded(one.target))]
        if one.schedule_id is not None:
            named.append(("schedule", coded(one.schedule_id)))
        for way, name in named:
            for width in ACTIVITY_WIDTHS:
                bucket = one.bucket // width * width
                key = ActivityKey(one.project_id, way, width, bucket, name, one.kind, one.status)
                before, took = self.activity.get(key, (0, Counter()))
                for ms, count in durations.items():
                    took[ms] += sign * count
                self.activity[key] = before + sign * runs, took

    @property
    def emptied(self) -> tuple[list[UsageKey], list[ActivityKey]]:
        """Sums that may have come to nothing, and go then: no runs alone is not nothing, as the end of a run may be added
        after its deletion.
        """
        return (
            [key for key, sums in self.usage.items() if sums[0] < 0],
            [key for key, (runs, _) in self.activity.items() if runs < 0],
        )


def add(sums: Sums, sign: int, tokens: Sequence[int], runs: int = 1) -> None:
    sums[0] += sign * runs
    for place, count in enumerate(tokens, 1):
        sums[place] += sign * count


def took_of(one: Facts, sign: int = 1) -> Durations:
    """How long it took, where that counts: quantiles are of the runs that completed."""
    if one.duration_ms is None or one.status is not RunStatus.COMPLETED:
        return Counter()
    return Counter({rounded(one.duration_ms): sign})


def packed(durations: Durations) -> bytes:
    """Those that are none are left out: a run that is deleted takes its own away."""
    return _encode({ms: count for ms, count in durations.items() if count})


def unpacked(told: bytes) -> Durations:
    return Counter(_durations(told))


def unpacked_plain(told: bytes) -> dict[int, int]:
    """For those who only read: half of the time."""
    return _durations(told)


class Span(NamedTuple):
    """The buckets of one width that begin in [since, until)."""

    width: int
    since: int
    until: int


class Cover(NamedTuple):
    """A stretch of time as whole buckets, the widest that fit, and what is left of it at its edges."""

    spans: tuple[Span, ...]
    edges: tuple[tuple[int, int], ...]

    def holds(self, ms: int) -> bool:
        """Whether the buckets hold this time."""
        return any(span.since <= ms < span.until for span in self.spans)


def cover(since: int, until: int, widths: Sequence[int]) -> Cover:
    """`widths` from the narrowest on, each a multiple of the one before."""
    narrow, *wider = widths
    first, last = -(-since // narrow) * narrow, until // narrow * narrow
    if first >= last:
        return Cover((), ((since, until),))
    edges = tuple(edge for edge in ((since, first), (last, until)) if edge[0] < edge[1])
    return Cover(tuple(_spans(first, last, narrow, wider)), edges)


def _spans(since: int, until: int, width: int, wider: Sequence[int]) -> Iterator[Span]:
    if since >= until:
        return
    if wider:
        first, last = -(-since // wider[0]) * wider[0], until // wider[0] * wider[0]
        if first < last:
            yield from _spans(since, first, width, ())
            yield from _spans(first, last, wider[0], wider[1:])
            yield from _spans(last, until, width, ())
            return
    yield Span(width, since, until)


class Line(NamedTuple):
    """What runs of one name, provider and model used; the three as `coded`."""

    name: str
    provider: str
    model: str
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int


Told = Iterable[tuple[Action, bytes]]
"""Entries of one project: what they did, and their facts."""

Unsummed = list[tuple[Action, Facts]]


def unsummed(entries: Told, where: Cover) -> Unsummed:
    """The entries that the buckets of a stretch lack."""
    read = ((action, stored(told)) for action, told in entries)
    return [(action, one) for action, one in read if where.holds(one.created_at)]


def lines(way: str, found: Unsummed) -> list[Line]:
    """What runs add that no sum has yet, grouped as the sums of a way are."""
    summed: dict[tuple[str, str, str], Sums] = {}
    for key, sums in Additions((action, "", one) for action, one in found).usage.items():
        if key.way == way and key.width == QUARTER:
            there = summed.setdefault((key.name, key.provider, key.model), [0, 0, 0, 0, 0])
            for place, value in enumerate(sums):
                there[place] += value
    return [Line(*key, *sums) for key, sums in summed.items()]
