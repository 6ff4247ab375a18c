"""Runs with their events and families: what the store is for."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.push_service import PushService
from runstead.core.runs.event import Event, FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    Decide,
    DecideFiring,
    EndedAttempt,
    Fired,
    Transition,
    Want,
)
from runstead.core.runs.write_set import WriteSet
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.activity import RunSummary, Share
from runstead.core.usage.usage import FamilyUsage


class RunKey(NamedTuple):
    """How callers name a run."""

    project_id: str
    run_id: str


class Written(msgspec.Struct, frozen=True):
    """What a command came to: the run as it stands now, its transition, and the descendants it cancelled.

    `before` is the run as it was loaded: None where the command created it, `run` itself where nothing was written.
    """

    run: Run
    transition: Transition
    cancelled: tuple[Run, ...] = ()
    before: Run | None = None

    @classmethod
    def of(cls, write: WriteSet, descendants: Sequence[WriteSet] = ()) -> "Written":
        """The result of a write set, and of those that cancelled the run's descendants with it: no run is active then."""
        if not descendants:
            return cls(write.run, write.transition, before=write.before)
        run = replace(write.run, descendants_active=0)
        cancelled = tuple([replace(each.run, descendants_active=0) for each in descendants])
        return cls(run, write.transition, cancelled, write.before)


class WrittenFiring(msgspec.Struct, frozen=True):
    """What a schedule that was due came to: as it was, what was decided, and the runs that were written: the new one,
    then those that it took the place of.
    """

    schedule: Schedule
    fired: Fired
    written: tuple[Written, ...] = ()


DecideOne = Callable[[Run, int], Transition]
"""(run, now) → Transition, for commands whose rows the engine chooses."""


DecidePush = Callable[[Run, int, Sequence[PushService]], Transition]
"""(run, now, the services that reach its project) → Transition."""


class ClaimQuery(msgspec.Struct, frozen=True):
    """Which runs a worker takes. `kinds` without targets means every target; agent runs also need the
    implementation_kind, and a worker_key that is null or equal.
    """

    project_id: str
    kinds: tuple[str, ...]
    targets: tuple[str, ...] = ()
    implementation_kind: str | None = None
    worker_key: str | None = None
    limit: int = 1


class RunQuery(msgspec.Struct, frozen=True):
    """Filters are joined by and; within one filter any of its values will do, but every label must be there.
    `created_after` and `created_before` are exclusive, and so are the bounds on the seq, `seq_over` and `seq_under`, which
    spare an engine the rest of a long list. Sorted by duration, runs without one are left out. `before` continues after
    the last row of a page: its sort value (None when sorted by creation) and its seq.
    """

    project_ids: tuple[str, ...]
    statuses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    batch_id: str | None = None
    schedule_id: str | None = None
    parent_run_id: str | None = None
    root_only: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    text: str | None = None  # in run_id, title or target, ignoring case
    sort: Literal["created_at", "duration"] = "created_at"
    before: tuple[int | None, int] | None = None
    limit: int = 50
    seq_over: int | None = None
    seq_under: int | None = None


class FamilyPage(msgspec.Struct, frozen=True):
    """A stretch of a family's events. `reached`: how far the log was read, `more`: whether something follows that was
    asked for, `ended`: whether the run and all below it have ended, so that nothing more will come.
    """

    events: list[FamilyEvent]
    reached: int
    more: bool
    ended: bool


class TypeCount(msgspec.Struct, frozen=True):
    """How often a type stands in a run's log, and from when to when."""

    type: str
    count: int
    first_at: int
    last_at: int


class Runs(Protocol):
    async def apply(
        self,
        key: RunKey,
        decide: Decide,
        want: Want = NOTHING_ELSE,
        idempotency: IdempotencyRecord | None = None,
    ) -> Written:
        """Load the run (None where there is none) and what is wanted, decide, and write what was decided.

        Events get the numbers after the run's latest. Where the transition's run is the loaded one, nothing is
        written. A run that was cancelled takes every descendant that has not ended along, by `transitions.cancel`.
        Ancestors' counters move by `family_total` and `family_active`. A parent that is wanted and missing is
        NOT_FOUND. A transition's input request that is new (seq 0) is stored with its run's seq, and NOT_FOUND where
        its conversation is not there or deleted. A new conversation is stored with the run, a changed schedule
        rewritten under its version. A run that is deleted takes its events, their keys, its attempts, receipts,
        sessions, input requests and message along; its places in the family's order stay empty for ever.

        Whichever command ends a run that a schedule brought about, the schedule becomes what `schedule.ended` says.
        """
        ...

    async def claim(
        self, query: ClaimQuery, decide: DecideOne, idempotency: IdempotencyRecord | None = None
    ) -> list[Run]:
        """Claimable runs, the highest priority first, then the oldest (by `available_at`, then `seq`), each decided and
        written; two claims never get the same. Where the project has limits on running runs, it takes the next that
        they leave room for, and however many claims there are at a time, no limit is exceeded by them.
        """
        ...

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        """In how many milliseconds the soonest delayed run of these kinds may be claimed, None where none is delayed. A run
        that could be claimed at most `since_ms` ago counts too, as one of now: it may have been missed by a look before.
        """
        ...

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        """At most `limit` runs whose `due_at` has passed, each decided and written. Projects take turns, so that one with
        many leaves room for others: every project's soonest one, then every project's second, each round soonest first.
        """
        ...

    async def next_due(self) -> int | None:
        """In how many milliseconds the soonest deadline passes, 0 where one has, None where none runs."""
        ...

    async def dispatch(
        self, limit: int, busy: Sequence[str], decide: DecidePush, after: str = ""
    ) -> list[Run]:
        """At most `limit` runs that are due to be pushed, each decided and written; those of the services in `busy` are
        passed over. Projects take turns in the order of their ids, the first one over `after` first; in a project the
        order is that of claims, and limits on running runs hold as they do for claims. No two calls get the same run.
        """
        ...

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        """At most `limit` schedules whose `next_fire_at` has passed, soonest first, each decided and written together
        with its run and those that the run takes the place of. Every replica may call it at the same time: each gets
        others, and a schedule that somebody else holds, or whose runs somebody else holds, is left for the next call.

        While a schedule is decided, nobody starts a run of it.
        """
        ...

    async def cancelled_pushes(self, limit: int, busy: Sequence[str]) -> list[Run]:
        """At most `limit` pushed runs that were cancelled and have not stopped, oldest first; not of `busy` services."""
        ...

    async def get(self, key: RunKey) -> Run | None: ...

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        """The runs of this id in these projects, two at most."""
        ...

    async def page(self, query: RunQuery) -> list[Run]:
        """Newest first (or longest first), at most `query.limit`. Values over 64 KiB need not be cut."""
        ...

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        """The runs of `page`, in its order: no large value is read."""
        ...

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        """All runs that the filters let through, counted by state and by bars of `width` ms that begin at `origin`; sort,
        place and limit do not count.
        """
        ...

    async def children(self, seq: int, limit: int, after: int = 0, kind: str | None = None) -> list[Run]:
        """Direct children (of one kind) with a seq over `after`, oldest first."""
        ...

    async def family(self, root_seq: int, limit: int) -> list[Run]:
        """The root and all below it, oldest first."""
        ...

    async def attempts(self, seq: int) -> list[EndedAttempt]:
        """The attempts that ended without a completion, oldest first."""
        ...

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        """Public events with a number over `after`, in order: at most `limit`, and no more once their payloads
        exceed `bytes_max` (the first always comes).
        """
        ...

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        """The last public events with a number below `before`, in order: at most `limit`, and no more once their payloads
        exceed `bytes_max` (the last always comes).
        """
        ...

    async def event(self, seq: int, event_id: int) -> Event | None:
        """The public event of this number."""
        ...

    async def event_counts(self, seq: int) -> list[TypeCount]:
        """Public events by type, the most frequent first."""
        ...

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        """Public events of a run and of all below it, with a position over `after`, in order; bounds as for `events`.

        The position counts every event that was ever stored in the whole family, from 1, in the order of storing: a
        total order that only grows at its end. All of the page is from one moment.
        """
        ...

    async def usage(self, run: Run) -> FamilyUsage:
        """What the run's family reported, summed up. No metadata stands in memory whole but one at a time."""
        ...

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        """The newest event id of each of these runs, private events included; of none that was deleted."""
        ...
