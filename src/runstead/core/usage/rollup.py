"""Roll-ups: usage and outcomes of ended runs, summed up by the quarter hour, hour, day and week of their
creation.

A run that ends, is deleted or moves to another project writes an entry in the same transaction. A loop adds
entries to the sums and deletes them in one transaction. A report reads the sums and the remaining entries, so
that it is always exact. The smallest bucket is a quarter hour, because the offsets of all time zones are
multiples of it.
"""

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import astuple

from runstead.core.clock import iso
from runstead.core.runs.run import Kind, Run, RunStatus
from runstead.core.usage.usage import read

QUARTER: Final = 900_000
HOUR: Final = 3_600_000
DAY: Final = 86_400_000
WEEK: Final = 7 * DAY
"""Weeks start on Thursdays, like the epoch."""
WEEKS: Final = 4 * WEEK

Action = Literal["ended", "left", "joined", "deleted"]

#: The change of activity sums by an action. Charts count existing runs only; usage also counts deleted runs.
ACTIVITY: Final[dict[Action, int]] = {"ended": 1, "left": -1, "joined": 1, "deleted": -1}


class Facts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The members of an ended run that sums are computed from. Times in ms."""

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
    """Input, output, cached input, reasoning; None if the run reported no usage."""


#: The columns of a run in the order of the parameters of `facts`.
FACT_FIELDS: Final = (*Facts.__struct_fields__[:8], "metadata")


class Entry(NamedTuple):
    """A row of the entries. A run has at most one action in each of its versions, so the first three members
    are the key.
    """

    run_seq: int
    version: int
    action: Action
    project_id: str
    facts: bytes


class UsageKey(NamedTuple):
    """The key of a usage sum.

    `way` is the grouping; `name`, `provider` and `model` are encoded by `coded`.
    """

    project_id: str
    way: str
    width: int
    bucket: int
    name: str
    provider: str
    model: str


class ActivityKey(NamedTuple):
    """The key of an activity sum.

    `name` is a target or a schedule, depending on `way`, encoded by `coded`.
    """

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
"""Rounded duration → number of runs."""

#: Grouping → widths of its usage sums. Most families have runs in one bucket only.
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

_fact_values: Final = operator.attrgetter(*FACT_FIELDS)
_encode = msgspec.msgpack.Encoder().encode
decode_facts = msgspec.msgpack.Decoder(Facts).decode
"""Decodes the facts of an entry."""
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
    """Build the facts of an ended run from its columns."""
    of_run = (created_at, kind, status, duration_ms, target, schedule_id, created_by, root_run_id)
    if metadata is None:
        return Facts(*of_run)
    usage = read(metadata)
    input_, output, cached, reasoning = astuple(usage.tokens)
    return Facts(*of_run, _plain(usage.provider), _plain(usage.model), (input_, output, cached, reasoning))


def _plain(name: str | None) -> str | None:
    """Replace NUL characters, which databases do not store in texts."""
    return name.replace("\0", "\N{REPLACEMENT CHARACTER}") if name is not None and "\0" in name else name


def facts_of(run: Run) -> Facts:
    return facts(*_fact_values(run))


def ended(old: Run | None, new: Run) -> Sequence[Entry]:
    """Return the entry of a change that ends the run, and no entry for other changes."""
    if not new.terminal or (old is not None and old.terminal):
        return ()
    return (_entry(end_of(new), "ended"),)


class End(NamedTuple):
    """An ended run with the members that entries need."""

    run_seq: int
    version: int
    project_id: str
    facts: Facts


def end_of(run: Run) -> End:
    return End(run.seq, run.version, run.project_id, facts_of(run))


def _entry(end: End, action: Action) -> Entry:
    return Entry(end.run_seq, end.version, action, end.project_id, _encode(end.facts))


def gone(end: End, *, rolled_up: bool) -> Iterator[Entry]:
    """Yield the entries of a deleted run. If its end is not in the sums or entries (`rolled_up` is False),
    because it ended in an older version, this includes its end.
    """
    if not rolled_up:
        yield _entry(end, "ended")
    yield _entry(end, "deleted")


def moved(end: End, project_id: str, *, rolled_up: bool) -> Iterator[Entry]:
    """Yield the entries of an ended run that moves to another project. The move increases its version."""
    if not rolled_up:
        yield _entry(end, "ended")
    yield _entry(end, "left")
    yield _entry(end._replace(version=end.version + 1, project_id=project_id), "joined")


def coded(name: str | None) -> str:
    """Encode an optional name as a key that is never NULL: "" for None, else ":" and the name."""
    return "" if name is None else f":{name}"


def uncoded(key: str) -> str | None:
    """Decode a name that was encoded by `coded`."""
    return key[1:] if key else None


Tokens = tuple[int, int, int, int]
"""Input, output, cached input, reasoning."""

_NO_TOKENS: Final[Tokens] = (0, 0, 0, 0)

Share = tuple[str, str, str, str, Tokens]
"""An addition to the sums of one grouping: the grouping, the encoded name, provider and model, and the tokens."""


def usage_additions(one: "_EntryGroup", tokens: Tokens) -> Iterator[tuple[int, Share]]:
    """Yield (sign, share) for the usage sums that a group of equal entries changes, except those of families.

    A deleted run is counted in the grouping `gone`, so that the sums can be checked against the rows.
    """
    sign = -1 if one.action == "left" else 1
    used = coded(one.provider), coded(one.model), tokens
    if one.action == "deleted":
        yield 1, ("gone", "ended", "", "", _NO_TOKENS)
        if one.reported:
            yield 1, ("gone", "used", *used)
        return
    yield sign, ("ended", "", "", "", _NO_TOKENS)
    if one.reported:
        yield sign, ("model", "", *used)
        yield sign, ("target", coded(one.target), *used)
        yield sign, ("schedule", coded(one.schedule_id), *used)
        yield sign, ("key", coded(one.created_by), *used)
        yield sign, ("day", coded(iso(one.bucket)[:10]), *used)


def family_additions(action: Action, one: Facts) -> Iterator[tuple[int, Share]]:
    """Yield (sign, share) for the family sums that a run with reported usage changes. A deleted run moves
    from the sum of its family to the sum without a family, so that the number of family sums does not grow
    forever.
    """
    used = coded(one.provider), coded(one.model), one.tokens or _NO_TOKENS
    root = coded(one.root_run_id)
    yield -1 if action in ("left", "deleted") else 1, ("family", root, *used)
    if action == "deleted":
        yield 1, ("family", "", *used)


def rounded(duration_ms: int) -> int:
    """Round a duration to two and a half digits: the error is at most 2.5 %.

    All quantiles use rounded durations.
    """
    if duration_ms < 100:
        return duration_ms
    step: int = 10 ** (len(str(duration_ms)) - 2) // 2
    return (duration_ms + step // 2) // step * step


class _EntryGroup(NamedTuple):
    """The common members of entries that change the same sums, except those of families."""

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
"""The action of a run, its project, and its facts."""


class Additions:
    """The changes of sums by some entries. Most entries have the same key, so they are grouped first."""

    def __init__(self, entries: Iterable[Added]) -> None:
        self.usage: dict[UsageKey, Sums] = {}
        self.ended_tokens = [0, 0, 0, 0]  # of runs that ended: input, output, cached input, reasoning
        self.activity: dict[ActivityKey, tuple[int, Durations]] = {}
        groups: dict[
            tuple[Any, ...], tuple[Sums, Durations]
        ] = {}  # plain tuples as keys are faster to create
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
            group = groups.get(key)
            if group is None:
                group = groups[key] = ([0, 0, 0, 0, 0], Counter())
            sums, durations = group
            add(sums, 1, one.tokens or ())
            if one.duration_ms is not None and one.status is RunStatus.COMPLETED:
                durations[rounded(one.duration_ms)] += 1
            if one.tokens is not None:
                for sign, share in family_additions(action, one):
                    self._use(project_id, bucket, sign, share, 1)
        for parts, (sums, durations) in groups.items():
            key = _EntryGroup(*parts)
            _, input_, output, cached, reasoning = sums
            if key.action == "ended":
                self.ended_tokens = [*map(operator.add, self.ended_tokens, sums[1:])]
            for sign, share in usage_additions(key, (input_, output, cached, reasoning)):
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

    def _count(self, one: _EntryGroup, sign: int, runs: int, durations: Durations) -> None:
        named = [("all", ""), ("target", coded(one.target))]
        if one.schedule_id is not None:
            named.append(("schedule", coded(one.schedule_id)))
        for way, name in named:
            for width in ACTIVITY_WIDTHS:
                bucket = one.bucket // width * width
                key = ActivityKey(one.project_id, way, width, bucket, name, one.kind, one.status)
                before, summed = self.activity.get(key, (0, Counter()))
                for ms, count in durations.items():
                    summed[ms] += sign * count
                self.activity[key] = before + sign * runs, summed

    @property
    def emptied(self) -> tuple[list[UsageKey], list[ActivityKey]]:
        """The keys of sums that may be zero now and can then be deleted. A sum without runs but with other
        values stays, because the end of a run may be added after its deletion.
        """
        return (
            [key for key, sums in self.usage.items() if sums[0] < 0],
            [key for key, (runs, _) in self.activity.items() if runs < 0],
        )


def add(sums: Sums, sign: int, tokens: Sequence[int], runs: int = 1) -> None:
    sums[0] += sign * runs
    for place, count in enumerate(tokens, 1):
        sums[place] += sign * count


def duration_of(one: Facts, sign: int = 1) -> Durations:
    """Return the rounded duration of a completed run.

    Empty for other runs, which do not count for quantiles.
    """
    if one.duration_ms is None or one.status is not RunStatus.COMPLETED:
        return Counter()
    return Counter({rounded(one.duration_ms): sign})


def packed(durations: Durations) -> bytes:
    """Encode durations, without those whose count is zero after a deletion."""
    return _encode({ms: count for ms, count in durations.items() if count})


def unpacked(data: bytes) -> Durations:
    """Decode durations that were encoded by `packed`."""
    return Counter(_durations(data))


def unpacked_plain(data: bytes) -> dict[int, int]:
    """Decode durations to a plain dictionary, for reading. It takes half the time of `unpacked`."""
    return _durations(data)


class Span(NamedTuple):
    """The buckets of one width that start in [since, until), in ms."""

    width: int
    since: int
    until: int


class Cover(NamedTuple):
    """A period as whole buckets, as wide as possible, and the rest of the period at its edges."""

    spans: tuple[Span, ...]
    edges: tuple[tuple[int, int], ...]

    def holds(self, ms: int) -> bool:
        """Whether a bucket contains this time."""
        return any(span.since <= ms < span.until for span in self.spans)


def cover(since: int, until: int, widths: Sequence[int]) -> Cover:
    """Divide the period [since, until) into buckets of these widths, which are narrowest first and each a
    multiple of the previous one.
    """
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
    """The summed usage of one name, provider and model, which are encoded by `coded`."""

    name: str
    provider: str
    model: str
    runs: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int


StoredEntries = Iterable[tuple[Action, bytes]]
"""Entries of one project: their action and encoded facts."""

PendingEntries = list[tuple[Action, Facts]]
"""Entries that are not in the sums yet: their action and facts."""


def pending_entries(entries: StoredEntries, where: Cover) -> PendingEntries:
    """Return the entries that are missing in the sums of these buckets."""
    decoded = ((action, decode_facts(data)) for action, data in entries)
    return [(action, one) for action, one in decoded if where.holds(one.created_at)]


def lines(way: str, found: PendingEntries) -> list[Line]:
    """Sum up pending entries in the same groups as the sums of a grouping."""
    summed: dict[tuple[str, str, str], Sums] = {}
    for key, sums in Additions((action, "", one) for action, one in found).usage.items():
        if key.way == way and key.width == QUARTER:
            total = summed.setdefault((key.name, key.provider, key.model), [0, 0, 0, 0, 0])
            for place, value in enumerate(sums):
                total[place] += value
    return [Line(*key, *sums) for key, sums in summed.items()]
