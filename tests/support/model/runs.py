"""Runs in memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from runstead.core import limits
from runstead.core.errors import not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.queue.concurrency import ConcurrencySlots, Turn
from runstead.core.queue.fair_share import FairShare
from runstead.core.queue.push_service import choose
from runstead.core.queue.round_robin import interleave
from runstead.core.queue.turns import cyclic, runs_per_key, served, take_in_turn
from runstead.core.runs.compensation import Compensation, RegisteredCompensations
from runstead.core.runs.event import Event
from runstead.core.runs.flow import NO_KEYED_RUNS, KeyedRuns, WantedKeys, wanted_keys
from runstead.core.runs.run import Run, RunStatus, in_queue
from runstead.core.runs.signal import FoundSignals, SentSignals, Signal, WantedSignals
from runstead.core.runs.transition import (
    NOTHING_ELSE,
    Decide,
    DecideFiring,
    EndedAttempt,
    Loaded,
    Transition,
    Want,
)
from runstead.core.runs.transitions import claimable
from runstead.core.runs.values import RunValue
from runstead.core.usage.activity import RUN_SUMMARY_FIELDS, RunSummary, Share
from runstead.core.usage.usage import FamilyUsage
from runstead.ports.store import (
    ClaimRequest,
    DecideOne,
    DecidePush,
    FamilyPage,
    ListPage,
    RunKey,
    RunQuery,
    Runs,
    SeqPage,
    TypeCount,
    Written,
    WrittenFiring,
)
from tests.support.model import families
from tests.support.model.concurrency import ModelConcurrency
from tests.support.model.draft import Draft
from tests.support.model.firings import due_schedules, load_due, write_fired
from tests.support.model.inputs import find_input
from tests.support.model.journal import Effect, Journal
from tests.support.model.pages import matches, page_of, sort_key
from tests.support.model.push_services import ModelPushServices
from tests.support.model.rollups import shares
from tests.support.model.rows import Rows


class ModelRuns(Runs):
    def __init__(
        self, journal: Journal, rows: Rows, services: ModelPushServices, concurrency: ModelConcurrency
    ) -> None:
        self._journal = journal
        self._rows = rows
        self._services = services
        self._concurrency = concurrency
        self._last_keys: dict[tuple[str, str], str] = {}  # (project, target) → the key that was served last

    async def apply(
        self,
        key: RunKey,
        decide: Decide,
        want: Want = NOTHING_ELSE,
        idempotency: IdempotencyRecord | None = None,
    ) -> Written:
        def plan(now: int) -> tuple[Written, Effect]:
            loaded = self.load(key, want, now)
            transition = decide(loaded)
            before = loaded.before(transition)
            assert before is not None or (transition.run.project_id, transition.run.run_id) == key
            draft = Draft(self._rows, now)
            draft.write(before, transition)
            return draft.results()[0], draft.commit

        return self._journal.write(idempotency, plan)

    def load(self, key: RunKey, want: Want, now: int) -> Loaded:
        rows = self._rows
        run = rows.by_id(*key)
        parent, family_cancelled = None, False
        if want.parent_run_id is not None:
            parent = rows.by_id(key.project_id, want.parent_run_id)
            if parent is None:
                raise not_found("Parent run")
            line = [parent, *(rows.runs[seq] for seq in parent.cancelling_seqs)]
            family_cancelled = any(member.status is RunStatus.CANCELLED for member in line)
        tail: tuple[Event, ...] = ()
        receipt = None
        if run is not None and want.expected_previous_event_id is not None:
            start = want.expected_previous_event_id
            tail = tuple(rows.events.get(run.seq, [])[start : start + limits.events_per_append_max])
        if run is not None and want.receipt_key is not None:
            receipt = rows.receipts.get((run.seq, want.receipt_key))
        asked = None
        if run is not None and (want.input_request_id is not None or want.input_call is not None):
            asked = find_input(rows, run.seq, want)
        schedule = rows.schedules.get(want.schedule_id or "")
        if schedule is not None and schedule.project_id != key.project_id:
            schedule = None
        batch = self._rows.batches.get(want.batch_id or "")
        if batch is not None and batch.project_id != key.project_id:
            batch = None
        known = {} if run is None else rows.event_keys.get(run.seq, {})
        keys = {key: known[key] for key in want.event_keys if key in known}
        names = frozenset(() if run is None or not want.value_names else rows.values.get(run.seq, ()))
        signals = FoundSignals()
        if run is not None and want.signals is not None:
            signals = _found_signals(list(rows.signals.get(run.seq, {}).values()), want.signals)
        compensations = RegisteredCompensations()
        if run is not None and want.compensations is not None:
            known_ones, wanted = rows.compensations.get(run.seq, {}).values(), want.compensations.key
            compensations = RegisteredCompensations(
                sum(one.bytes for one in known_ones),
                next((one for one in known_ones if wanted is not None and one.key == wanted), None),
            )
        service = None
        if want.push_agent is not None:
            service = choose(self._services.reached((key.project_id,), now), want.push_agent)
        return Loaded(
            now,
            run,
            parent,
            family_cancelled,
            tail,
            receipt,
            asked,
            schedule,
            keys,
            value_names=names,
            signals=signals,
            compensations=compensations,
            push_service_id=None if service is None else service.id,
            batch=batch,
            keyed=self._keyed(key.project_id, want.keys) if run is None and want.keys else NO_KEYED_RUNS,
            source=None if want.source_run_id is None else rows.by_id(key.project_id, want.source_run_id),
        )

    def _keyed(self, project_id: str, wanted: WantedKeys) -> KeyedRuns:
        def newest(name: str, key: str | None) -> Run | None:
            of_target = (
                run
                for run in self._rows.runs.values()
                if key is not None and (run.project_id, run.target or "") == (project_id, wanted.target)
            )
            holders = [run for run in of_target if getattr(run, name) == key]
            if name == "debounce_key":
                holders = [run for run in holders if run.status is RunStatus.PENDING and not run.attempt]
            return max(holders, key=lambda run: run.seq, default=None)

        return KeyedRuns(newest("unique_key", wanted.unique), newest("debounce_key", wanted.debounce))

    async def cancel_descendants(self, seq: int, after: int, limit: int) -> list[Written]:
        del seq, after, limit  # they are cancelled with the run
        return []

    async def cancelling(self, limit: int) -> list[int]:
        del limit
        return []

    async def claim(
        self, query: ClaimRequest, decide: DecideOne, idempotency: IdempotencyRecord | None = None
    ) -> list[Run]:
        def plan(now: int) -> tuple[list[Run], Effect]:
            queued = (self._rows.runs[seq] for seq in self._rows.queued.get(query.project_id, ()))
            found = [run for run in queued if claimable(run, now) and self._wanted(run, query)]
            slots = self._concurrency.slots(query.project_id)
            turns = self._turns(query, found, slots)
            found = [
                run
                for run in found
                if run.concurrency_key is None
                or run.pinned_available_at is not None
                or (run.target, run.concurrency_key) in turns
            ]
            for turn, most in turns.items():
                of_key = [
                    run
                    for run in found
                    if (run.target, run.concurrency_key) == turn and run.pinned_available_at is None
                ]
                for run in sorted(of_key, key=in_queue)[most:]:
                    found.remove(run)
            for run in found:
                if run.concurrency_key is not None:
                    self._note_running(slots, run.project_id, run.target or "", run.concurrency_key)
            served_turns = [Turn(*turn, 0) for turn in turns]
            taken = take_in_turn(found, served_turns, slots, query.limit)
            draft = self._decide_each(taken, decide, now)

            def commit() -> None:
                for target, key in served(served_turns, found, taken).items():
                    self._last_keys[query.project_id, target] = key
                draft.commit()

            return [written.run for written in draft.results()], commit

        return self._journal.write(idempotency, plan)

    def _note_running(self, slots: ConcurrencySlots, project: str, target: str, key: str) -> int | None:
        running = sum(
            run.occupies
            for run in self._rows.runs.values()
            if (run.project_id, run.target, run.concurrency_key) == (project, target, key)
        )
        return slots.note_running(project, Turn(target, key, running))

    def _turns(
        self, query: ClaimRequest, found: Sequence[Run], slots: ConcurrencySlots
    ) -> dict[tuple[str | None, str | None], int]:
        """(target, key) → how many of its runs are read, in the order of the turns."""
        turns: dict[tuple[str | None, str | None], int] = {}
        project = query.project_id
        keyed = [run for run in found if run.concurrency_key is not None and run.pinned_available_at is None]
        for target in sorted({run.target or "" for run in keyed}):
            free = slots.remaining(project, target)
            most = query.limit if free is None else min(free, query.limit)
            keys = {run.concurrency_key or "" for run in keyed if run.target == target}
            left = {}
            for key in cyclic(keys, self._last_keys.get((project, target), "")):
                free_of_key = self._note_running(slots, project, target, key)
                if free_of_key is None or free_of_key > 0:
                    left[key] = query.limit if free_of_key is None else free_of_key
            chosen = list(left)[:most]
            for key in chosen:
                turns[target, key] = min(left[key], runs_per_key(most, len(chosen)))
        return turns

    async def next_available(self, project_id: str, kinds: Sequence[str], since_ms: int) -> int | None:
        queued = (self._rows.runs[seq] for seq in self._rows.queued.get(project_id, ()))
        now = self._journal.now()
        times = [run.available_at for run in queued if run.kind in kinds and run.available_at is not None]
        return min((max(at - now, 0) for at in times if at > now - since_ms), default=None)

    async def enforce_deadlines(self, limit: int, decide: DecideOne) -> list[Written]:
        def plan(now: int) -> tuple[list[Written], Effect]:
            timed = ((self._rows.runs[seq].due_at, seq) for seq in self._rows.due)
            due = sorted((at, seq) for at, seq in timed if at is not None and at <= now)
            lines: dict[str, list[tuple[int, int]]] = defaultdict(list)
            for at, seq in due:
                lines[self._rows.runs[seq].project_id].append((at, seq))
            turns = islice(interleave(list(lines.values()), lambda head: head), limit)
            draft = self._decide_each([self._rows.runs[seq] for _, seq in turns], decide, now)
            return draft.results(), draft.commit

        return self._journal.write(None, plan)

    async def next_due(self) -> int | None:
        times = [self._rows.runs[seq].due_at for seq in self._rows.due]
        now = self._journal.now()
        return min((max(at - now, 0) for at in times if at is not None), default=None)

    async def dispatch(self, share: FairShare, decide: DecidePush, after: str = "") -> list[Run]:
        def plan(now: int) -> tuple[list[Run], Effect]:
            due: dict[str, list[Run]] = defaultdict(list)
            for run in self._pushed(share.busy):
                if claimable(run, now):
                    due[run.project_id].append(run)
            lines = []
            for project_id, runs in due.items():
                slots = self._concurrency.slots(project_id)
                free = (run for run in sorted(runs, key=in_queue) if slots.take(run))
                lines.append(list(islice(free, share.left(project_id))))
            turns = interleave(lines, lambda run: (run.project_id <= after, run.project_id))
            draft = self._decide_each(
                list(islice(turns, share.limit)),
                lambda run, at: decide(run, at, self._services.reached((run.project_id,), at)),
                now,
            )
            return [written.run for written in draft.results()], draft.commit

        return self._journal.write(None, plan)

    async def fire(self, limit: int, decide: DecideFiring) -> list[WrittenFiring]:
        looked = due_schedules(self._rows, self._journal.now(), limit)
        return [self._fire(schedule.id, decide) for schedule in looked]

    def _fire(self, schedule_id: str, decide: DecideFiring) -> WrittenFiring:
        def plan(now: int) -> tuple[WrittenFiring, Effect]:
            schedule = self._rows.schedules[schedule_id]
            wanted = wanted_keys(schedule.flow_control, schedule.target)
            keyed = NO_KEYED_RUNS if wanted is None else self._keyed(schedule.project_id, wanted)
            due = load_due(self._rows, self._services, schedule, now, keyed)
            fired = decide(due)
            draft, written = write_fired(self._rows, due, fired)
            return WrittenFiring(due.schedule, fired, tuple(written)), draft.commit

        return self._journal.write(None, plan)

    async def cancelled_pushes(self, share: FairShare) -> list[Run]:
        full = share.full
        found = [run for run in self._pushed(share.busy) if run.terminal and run.project_id not in full]
        found.sort(key=lambda run: (run.cancel_requested_at, run.seq))
        return found[: share.limit]

    def _pushed(self, busy: Sequence[str]) -> list[Run]:
        runs = (self._rows.runs[seq] for seq in self._rows.pushed)
        return [run for run in runs if run.push_service_id not in busy]

    def _decide_each(self, runs: list[Run], decide: DecideOne, now: int) -> Draft:
        draft = Draft(self._rows, now)
        for run in runs:
            current = draft.run(
                run.seq
            )  # the ones before it may have changed it: counters, a cancelled family
            transition: Transition = decide(current, now)
            draft.write(current, transition)
        return draft

    def timed(self) -> Iterator[Run]:
        """Those that are queued or have a deadline: for whoever moves the clock."""
        seqs = self._rows.due.union(*self._rows.queued.values())
        return (self._rows.runs[seq] for seq in seqs)

    async def get(self, key: RunKey) -> Run | None:
        return self._rows.by_id(*key)

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        found = (self._rows.by_id(project_id, run_id) for project_id in dict.fromkeys(project_ids))
        return [run for run in found if run is not None][:2]

    async def page(self, query: RunQuery) -> ListPage[Run]:
        return page_of(self._matching(query), query)

    async def summaries(self, query: RunQuery) -> list[RunSummary]:
        found = self._matching(query)[: query.limit]
        return [RunSummary(*(getattr(run, name) for name in RUN_SUMMARY_FIELDS)) for run in found]

    def _matching(self, query: RunQuery) -> list[Run]:
        found = [run for run in self._rows.runs.values() if matches(run, query)]
        return sorted(found, key=lambda run: sort_key(run, query), reverse=True)

    async def shares(self, query: RunQuery, origin: int, width: int) -> list[Share]:
        return shares(self._rows, query, origin, width)

    async def children(self, seq: int, page: SeqPage, kind: str | None = None) -> ListPage[Run]:
        found = (run for run in self._rows.children(seq) if run.seq > page.after and kind in (None, run.kind))
        return page_of(found, page)

    async def family(self, root_seq: int, page: SeqPage, under: int | None = None) -> ListPage[Run]:
        found = (run for run in self._rows.family(root_seq) if run.seq > page.after)
        wanted = (run for run in found if under is None or under in (run.seq, *run.ancestor_seqs))
        return page_of(wanted, page)

    async def attempts(
        self, seq: int, after: int = 0, bytes_max: int | None = None
    ) -> ListPage[EndedAttempt]:
        found: list[EndedAttempt] = []
        size = 0
        for attempt in self._rows.attempts.get(seq, ()):
            if attempt.attempt > after:
                size += limits.attempt_bytes + len(attempt.error or b"")
                if found and bytes_max is not None and size > bytes_max:
                    return ListPage(found, more=True)
                found.append(attempt)
        return ListPage(found, more=False)

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        return _bounded(islice(self._rows.events.get(seq, ()), after, None), limit, bytes_max, types)

    async def events_before(
        self,
        seq: int,
        before: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        return _bounded(
            reversed(self._rows.events.get(seq, [])[: max(before - 1, 0)]), limit, bytes_max, types
        )[::-1]

    async def event(self, seq: int, event_id: int) -> Event | None:
        found = self._rows.events.get(seq, ())[event_id - 1 : event_id] if event_id > 0 else ()
        return next((event for event in found if not event.private), None)

    async def event_counts(self, seq: int) -> list[TypeCount]:
        return families.event_counts(self._rows, seq)

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        return families.page(self._rows, run, after, limit, bytes_max, types)

    async def usage(self, run: Run) -> FamilyUsage:
        return families.usage(self._rows, run)

    async def latest_event_ids(self, seqs: Sequence[int]) -> dict[int, int]:
        runs = self._rows.runs
        return {seq: runs[seq].latest_event_id for seq in seqs if seq in runs}

    async def compensations(self, seq: int) -> list[Compensation]:
        found = self._rows.compensations.get(seq, {})
        return [found[number] for number in sorted(found)]

    async def values(self, seq: int, name: str | None = None) -> list[RunValue]:
        values = self._rows.values.get(seq, {})
        return [values[each] for each in sorted(values) if name in (None, each)]

    async def signals(
        self, seq: int, after: int, limit: int, bytes_max: int, *, taken: bool | None = None
    ) -> ListPage[Signal]:
        found: list[Signal] = []
        for number, signal in self._rows.signals.get(seq, {}).items():
            if number <= after or taken not in (None, signal.taken_at is not None):
                continue
            size = sum(len(each.payload) for each in [*found, signal])
            if len(found) == limit or (found and size > bytes_max):
                return ListPage(found, more=True)
            found.append(signal)
        return ListPage(found, more=False)

    def _wanted(self, run: Run, query: ClaimRequest) -> bool:
        if run.pinned_to not in (None, query.version):
            return False
        if run.kind not in query.kinds or (query.targets and run.target not in query.targets):
            return False
        batch = self._rows.batches.get(run.batch_id or "")
        if batch is not None and batch.project_id == run.project_id and batch.cancel_requested_at is not None:
            return False
        if run.kind != "agent":
            return True
        return (
            query.implementation_kind is not None
            and run.implementation_kind == query.implementation_kind
            and run.worker_key in (None, query.worker_key)
        )


def _bounded(events: Iterable[Event], limit: int, bytes_max: int | None, types: Sequence[str]) -> list[Event]:
    """The first public ones of these types, as far as they fit."""
    found: list[Event] = []
    size = 0
    for event in events:
        if event.private or (types and event.type not in types):
            continue
        size += len(event.payload)
        if len(found) == limit or (found and bytes_max is not None and size > bytes_max):
            break
        found.append(event)
    return found


def _found_signals(signals: Sequence[Signal], want: WantedSignals) -> FoundSignals:
    untaken = [signal for signal in signals if signal.taken_at is None]
    oldest = {signal.name: signal for signal in reversed(untaken) if signal.name in want.names}
    if not want.sends:
        return FoundSignals(oldest)
    same = next((signal for signal in signals if want.key is not None and signal.key == want.key), None)
    return FoundSignals(oldest, SentSignals(len(signals), len(untaken), same))
