"""Runs with their events and families."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from runstead.core.idempotency import Idempotency
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.push_service import PushService
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event, FamilyEvent
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    Decide,
    DecideFiring,
    EndedAttempt,
    Fired,
    Transition,
    Want,
)
from runstead.core.runs.values import RunValue
from runstead.core.runs.write_set import WriteSet
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage.activity import RunSummary, Share
from runstead.core.usage.usage import FamilyUsage
from runstead.ports.store.list_page import ListPage


class RunKey(NamedTuple):
    """The public name of a run."""

    project_id: str
    run_id: str


class Written(msgspec.Struct, frozen=True):
    """The result of a command: the run after the command, its transition, and the descendants that it
    cancelled.

    `before` is the run as it was loaded: None if the command created it, `run` itself if nothing was written.
    `compensations` are those that were created or queued because a run ended.
    """

    run: Run
    transition: Transition
    cancelled: tuple[Run, ...] = ()
    before: Run | None = None
    compensations: tuple[Run, ...] = ()

    @classmethod
    def of(cls, write: WriteSet, descendants: Sequence[WriteSet] = ()) -> "Written":
        """Build the result from the write sets of the run and of its cancelled descendants."""
        if not descendants:
            return cls(write.run, write.transition, before=write.before)
        run = replace(write.run, descendants_active=max(write.run.descendants_active - len(descendants), 0))
        cancelled = tuple([replace(each.run, descendants_active=0) for each in descendants])
        return cls(run, write.transition, cancelled, write.before)

    def beside(self, compensations: Sequence[Run]) -> "Written":
        """Return the result with compensations that were created or queued with it. The run counts its new descendants."""
        if not compensations:
            return self
        run = self.run
        new = sum(run.seq in each.ancestor_seqs for each in compensations)
        counted = replace(
            run,
            descendants_total=run.descendants_total + new,
            descendants_active=run.descendants_active + new,
        )
        return replace(self, run=counted, compensations=(*self.compensations, *compensations))


def count_runs(written: Iterable[Written]) -> int:
    """Count the runs of these commands, with the descendants that were cancelled beside them."""
    return sum(1 + len(each.cancelled) for each in written)


class WrittenFiring(msgspec.Struct, frozen=True):
    """The result of a firing: the schedule before it, the decision, and the written runs: the new run first,
    then the runs that it replaced.
    """

    schedule: Schedule
    fired: Fired
    written: tuple[Written, ...] = ()


DecideOne = Callable[[Run, int], Transition]
"""(run, now) → Transition, for methods where the engine selects the runs."""


DecidePush = Callable[[Run, int, Sequence[PushService]], Transition]
"""(run, now, services that reach its project) → Transition."""


class ClaimRequest(msgspec.Struct, frozen=True):
    """The runs that a worker claims. Without `targets`, every target matches. Agent runs also need the same
    `implementation_kind`, and a `worker_key` that is null or the same. A run that is pinned to a version needs
    the same `version`.
    """

    project_id: str
    kinds: tuple[str, ...]
    targets: tuple[str, ...] = ()
    implementation_kind: str | None = None
    worker_key: str | None = None
    limit: int = 1
    version: str | None = None


class RunQuery(msgspec.Struct, frozen=True):
    """Filters of a list of runs. A run must match all filters: one of the values of each, but all labels.

    `created_after` and `created_before` are exclusive. So are `seq_over` and `seq_under`, which bound the
    range that an engine reads. A list that is sorted by duration has no runs without a duration. `before`
    continues after the last row of a page: its sort value (None when sorted by creation) and its seq.

    `omit` and `bytes_max` are those of `Runs.page`.
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
    text: str | None = None  # in run_id, title, target, labels or error, ignoring case
    sort: Literal["created_at", "duration"] = "created_at"
    before: tuple[int | None, int] | None = None
    limit: int = 50
    seq_over: int | None = None
    seq_under: int | None = None
    omit: frozenset[str] = frozenset()
    bytes_max: int | None = None


class SeqPage(msgspec.Struct, frozen=True):
    """Asks for at most `limit` runs with a seq greater than `after`, oldest first.

    `omit` and `bytes_max` are those of `Runs.page`.
    """

    limit: int
    after: int = 0
    omit: frozenset[str] = frozenset()
    bytes_max: int | None = None


class FamilyPage(msgspec.Struct, frozen=True):
    """A page of a family's events. `reached`: the last position that was read. `more`: whether more requested
    events follow. `ended`: whether the run and all its descendants have ended, so that no more events will
    come.
    """

    events: list[FamilyEvent]
    reached: int
    more: bool
    ended: bool


class TypeCount(msgspec.Struct, frozen=True):
    """The number of events of a type in a run's log, and the times of the first and the last (ms)."""

    type: str
    count: int
    first_at: int
    last_at: int


class Runs(Protocol):
    async def apply(
        self, key: RunKey, decide: Decide, want: Want = NOTHING_ELSE, idempotency: Idempotency = None
    ) -> Written:
        """Load the run (None if it does not exist) and what `want` names, decide, and write the transition.

        - If the transition's run is the loaded object, nothing is written.
        - Events get the numbers after the run's latest event.
        - A cancelled run cancels every descendant that has not ended, by `transitions.cancel`.
        - The counters of ancestors change by `family_total` and `family_active`.
        - NOT_FOUND if the wanted parent does not exist.
        - A new input request (seq 0) is stored with the seq of its run. NOT_FOUND if its conversation does
          not exist or was deleted.
        - A new conversation is stored with the run. A changed schedule is written under its version.
        - A compensation is stored. If the command ends runs that have compensations, these are created as
          `write_set.compensate` returns them, or dropped; if it ends a compensation, the next is queued by
          `write_set.release_next`. All methods that end runs do so.
        - A named value is stored in place of that of the same name.
        - A deleted run is deleted with its events, their keys, its attempts, receipts, values, sessions, input
          requests and message. Its positions in the family's order stay empty.
        - If the command ends a run of a schedule, the schedule is changed by `schedule.ended`.
        """

    async def cancel_descendants(self, seq: int, after: int, limit: int) -> list[Written]:
        """Cancel at most `limit` descendants of a cancelled run that are still active, with a seq over `after`.

        An engine may cancel the descendants of a large family after the run. From the transaction that cancels the
        run, they count as cancelled: none is claimed, none gets a child, and a change of one finds it cancelled.
        """

    async def cancelling(self, limit: int) -> list[int]:
        """Return seqs of cancelled runs with descendants for `cancel_descendants`, oldest first."""

    async def claim(
        self, query: ClaimRequest, decide: DecideOne, idempotency: Idempotency = None
    ) -> list[Run]:
        """Decide and write claimable runs, highest priority first, then oldest first (by `available_at`, then
        `seq`).

        Two claims never get the same run. Runs whose concurrency limit has no free slot are skipped.
        Concurrent claims together never exceed a limit.
        """

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        """Return the ms until the next delayed run of these kinds is available, None if none is delayed.

        A run that became available at most `since_ms` ago counts as available now, because an earlier claim
        may have missed it.
        """

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        """Decide and write at most `limit` runs whose `due_at` has passed.

        Projects are served round robin: the earliest run of every project, then the second of every project,
        each round sorted by `due_at`.
        """

    async def next_due(self) -> int | None:
        """Return the ms until the next deadline passes: 0 if one has passed, None if there is none."""

    async def dispatch(self, share: FairShare, decide: DecidePush, after: str = "") -> list[Run]:
        """Decide and write runs that are due to be pushed, within the share.

        Projects are served round robin in the order of their ids, starting after the id `after`. Within a
        project, order and concurrency limits are those of claims. Two calls never get the same run.
        """

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        """Decide and write at most `limit` schedules whose `next_fire_at` has passed, earliest first, each
        with its new run, or the one that takes over, and the runs that it replaces.

        Several replicas may call it at the same time: each gets different schedules. A schedule that is
        locked, or that has locked runs or runs with its keys that are locked, is left for the next call. While a
        schedule is decided, no other command can create a run of it, or one with its keys.
        """

    async def cancelled_pushes(self, share: FairShare) -> list[Run]:
        """Return at most `share.limit` cancelled pushed runs whose service has not stopped, oldest first, none of a
        busy service or of a project that holds its whole share.
        """

    async def get(self, key: RunKey) -> Run | None: ...

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        """Return at most two runs with this id in these projects: two show that the id is ambiguous."""

    async def page(self, query: RunQuery) -> ListPage[Run]:
        """Return at most `query.limit` runs, newest first or longest first.

        The fields in `omit` (of `OMITTABLE`) are not read: they are None. A page ends before the run with which the
        other fields in `OMITTABLE` together exceed `bytes_max` bytes, and has at least one run. Values of later runs
        are not in memory, except those of the next run.
        """

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        """Return at most `query.limit` runs in the order of `page`, without reading large values."""

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        """Count all runs that match the filters, by status and by buckets of `width` ms from `origin` on.
        `sort`, `before` and `limit` are ignored.
        """

    async def children(self, seq: int, page: SeqPage, kind: str | None = None) -> ListPage[Run]:
        """Return children of a run (of one kind)."""

    async def family(self, root_seq: int, page: SeqPage, under: int | None = None) -> ListPage[Run]:
        """Return runs of a family. With `under`, only the run with this seq and its descendants."""

    async def attempts(
        self, seq: int, after: int = 0, bytes_max: int | None = None
    ) -> ListPage[EndedAttempt]:
        """Return the attempts after a number that ended without a completion, oldest first.

        A page has at most `bytes_max` of errors and rows (`limits.attempt_bytes` each), and at least one attempt.
        """

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        """Return public events with a number greater than `after`, in order: at most `limit`, and at most
        `bytes_max` of payloads. The first event is always returned. `known`: the newest event that the caller has
        read of the run. Later ones may be left out while earlier ones are returned.
        """

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
        known: int = 0,
    ) -> list[Event]:
        """Return the last public events with a number less than `before`, in order: at most `limit`, and at
        most `bytes_max` of payloads. The last event is always returned. `known`: as for `events`.
        """

    async def event(self, seq: int, event_id: int) -> Event | None:
        """Return the public event with this number."""

    async def event_counts(self, seq: int) -> list[TypeCount]:
        """Count public events by type, the most frequent first."""

    async def signals(
        self, seq: int, after: int, limit: int, bytes_max: int, *, taken: bool | None = None
    ) -> ListPage[Signal]:
        """Return the run's signals with a number greater than `after`, in order: at most `limit`, and at most
        `bytes_max` of payloads. With `taken` only those that the run has taken, or only the others.
        """

    async def compensations(self, seq: int) -> list[Compensation]:
        """Return the run's compensations in the order of their numbers: registered ones, and those that have runs."""

    async def values(self, seq: int, name: str | None = None) -> list[RunValue]:
        """Return the run's named values in the order of their names, or only the value of one name."""

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        """Return public events of a run and its descendants with a position greater than `after`, in order.
        Bounds are those of `events`.

        The position counts all events that were ever stored in the whole family, from 1, in the order of
        storing. New events are always at the end. The page is read at one moment.
        """

    async def usage(self, run: Run) -> FamilyUsage:
        """Sum up the reported usage of the run's family.

        At most one run's metadata is in memory at a time.
        """

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        """Return seq → latest event id for these runs, including private events.

        Deleted runs are left out.
        """
