"""Looks over all that is in memory."""

from collections import Counter
from itertools import islice, pairwise

from runstead.core.runs.event import TERMINAL_TYPES
from runstead.core.runs.invariants import NOT_LOST, CheckedRun, FamilyFacts, LogFacts, ParentFacts
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.signal import awaited_in
from runstead.ports.store import Integrity, IntegrityPage, Stats, TableSize
from tests.support.model.rows import Rows


class ModelIntegrity(Integrity):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def latest_seq(self) -> int:
        return max(self._rows.runs, default=0)

    async def runs(self, after: int, limit: int) -> IntegrityPage:
        rows = self._rows
        runs = list(islice((run for seq, run in sorted(rows.runs.items()) if seq > after), limit))
        more = len(runs) == limit
        held = {
            "run_events": [seq for seq, events in rows.events.items() if events],
            "run_event_keys": [seq for seq, keys in rows.event_keys.items() if keys],
            "run_values": [seq for seq, values in rows.values.items() if values],
            "run_signals": [seq for seq, signals in rows.signals.items() if signals],
            "event_waits": [run.seq for run in rows.runs.values() if run.waiting_events],
            "run_compensations": [seq for seq, found in rows.compensations.items() if found],
            "run_attempts": [seq for seq, attempts in rows.attempts.items() if attempts],
            "run_receipts": [seq for seq, _ in rows.receipts],
            "worker_sessions": list(rows.sessions),
            "input_secrets": [rows.inputs[one].run_seq for one in rows.input_secrets],
            "input_requests": [one.run_seq for one in rows.inputs.values()],
        }
        orphans = [
            (table, seq)
            for table, seqs in held.items()
            for seq in dict.fromkeys(seqs)
            if seq not in rows.runs
        ]
        reached = runs[-1].seq if runs else after
        return IntegrityPage([self._checked(run) for run in runs], [] if more else orphans, reached, more)

    def _checked(self, run: Run) -> CheckedRun:
        rows = self._rows
        children = list(rows.children(run.seq))
        attempts = rows.attempts.get(run.seq, [])
        parent = None if run.parent_seq is None else rows.runs.get(run.parent_seq)
        facts = None
        if parent is not None:
            names = (parent.seq, parent.run_id, parent.project_id)
            facts = ParentFacts(*names, parent.root_seq or parent.seq, parent.root_run_id, parent.path)
        open_inputs = [
            one.id for one in rows.inputs.values() if (one.run_seq, one.status) == (run.seq, "open")
        ]
        return CheckedRun(
            run,
            self._log(run.seq),
            (
                sum(1 + child.descendants_total for child in children),
                sum((not child.terminal) + child.descendants_active for child in children),
            ),
            facts,
            sum(one.outcome not in NOT_LOST for one in attempts),
            max((one.attempt for one in attempts), default=0),
            0,
            tuple(sorted(open_inputs)),
            self._family(run) if run.parent_seq is None else FamilyFacts(),
            len(rows.values.get(run.seq, ())),
            max((value.event_id for value in rows.values.get(run.seq, {}).values()), default=0),
            len(rows.signals.get(run.seq, ())),
            max(rows.signals.get(run.seq, ()), default=0),
            max((signal.event_id or 0 for signal in rows.signals.get(run.seq, {}).values()), default=0),
            len(awaited_in(run.waiting_events)),
            sum(one.child_seq is None for one in rows.compensations.get(run.seq, {}).values()),
            sum(
                run.seq in one.cancelling_seqs and not one.terminal
                for one in rows.family(run.root_seq or run.seq)
                if run.status is RunStatus.CANCELLED
            ),
        )

    def _log(self, seq: int) -> LogFacts:
        events = self._rows.events.get(seq, [])
        if not events:
            return LogFacts()
        counted = [event.external and not event.private for event in events]
        last = events[-1]
        return LogFacts(
            len(events),
            min(event.event_id for event in events),
            max(event.event_id for event in events),
            sum(counted),
            sum(event.sequence != sum(counted[:place]) for place, event in enumerate(events, 1)),
            sum(after.event_id != before.event_id + 1 for before, after in pairwise(events)),
            sum(event.type in TERMINAL_TYPES for event in events),
            last.type,
            last.payload if last.type == "RUN_ERROR" else None,
        )

    def _family(self, root: Run) -> FamilyFacts:
        rows = self._rows
        places = rows.family_logs.get(root.seq, [])
        placed = sum(seq != root.seq and seq in rows.runs for seq, _ in places)
        stored = sum(run.latest_event_id for run in rows.family(root.seq) if run.seq != root.seq)
        return FamilyFacts(0, placed, stored)

    async def others(self, check: str) -> list[tuple[object, ...]]:
        rows = self._rows
        if check == "message_without_run":
            return [
                (message.id, message.conversation_id, message.run_seq)
                for messages in rows.messages.values()
                for message in messages
                if message.run_seq is not None and message.run_seq not in rows.runs
            ]
        return []  # the rest cannot be: rows are held by what they belong to

    async def stats(self) -> Stats:
        runs = self._rows.runs.values()
        pending = [run.created_at for run in runs if run.status is RunStatus.PENDING]
        events = sum(run.latest_event_id for run in runs)
        sizes = [TableSize("run_events", events, None), TableSize("runs", len(runs), None)]
        statuses = Counter(run.status.value for run in runs)
        average = events / len(runs) if runs else None
        return Stats("memory", 0, None, sizes, dict(statuses), min(pending, default=None), average)

    async def medium(self) -> list[str]:
        return []
