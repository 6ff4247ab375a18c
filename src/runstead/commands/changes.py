"""Change notifications of a project, computed from what a command wrote.

Every commit that changes a run yields one: `run.created`, `run.completed`, or `run.updated`, also for a
deletion. Frequent writes yield none: appended events that leave the status and the progress as they are, renewed
leases, counters of descendants, and the mark of an awaited run. Followers of the run see them in its stream and row.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from runstead.core.change import Change, ChangeType, StoppedAttempt
from runstead.core.conversations.conversation import Conversation
from runstead.core.runs.run import FIELDS, Run, RunStatus
from runstead.ports.store import Written

_UNREPORTED: Final = {
    "version",
    "updated_at",
    "latest_event_id",
    "latest_external_event_sequence",
    "event_bytes",
    "lease_ms",
    "lease_expires_at",
    "last_heartbeat_at",
    "due_at",
    "awaited_at",
    "descendants_total",
    "descendants_active",
}
_REPORTED: Final = tuple(name for name in FIELDS if name not in _UNREPORTED)


def of_written(written: Written) -> list[Change]:
    """Return the changes of one written run, of its cancelled descendants and of its conversation."""
    found = [of_run("run.completed", run) for run in written.cancelled]
    run, before = written.run, written.before
    if before is None:
        if written.transition.conversation is not None:
            found.append(of_conversation(written.transition.conversation))
        found.append(of_run("run.created", run))
    elif run.terminal and not before.terminal:
        found.insert(0, of_run("run.completed", run))
    elif written.transition.deletes or (run is not before and _changed(before, run)):
        found.append(of_run("run.updated", run))
    ended = written.transition.ended
    if found and ended is not None and ended.outcome == "paused" and ended.lease_owner is not None:
        found[0] = replace(found[0], stopped=StoppedAttempt(ended.lease_owner, ended.attempt, "pause"))
    found += [
        of_run("run.created" if each.version == 1 else "run.updated", each) for each in written.compensations
    ]
    return found


def _changed(before: Run, after: Run) -> bool:
    pairs = ((getattr(before, name), getattr(after, name)) for name in _REPORTED)
    return any(old is not new and old != new for old, new in pairs)


def of_runs(runs: Iterable[Run]) -> list[Change]:
    """Return one `run.updated` for each run."""
    return [of_run("run.updated", run) for run in runs]


def of_run(kind: ChangeType, run: Run) -> Change:
    stopped = None
    if run.status is RunStatus.CANCELLED and run.lease_expires_at is not None and run.lease_owner is not None:
        stopped = StoppedAttempt(run.lease_owner, run.attempt, "cancel")
    available = run.claimable_at is not None and run.claimable_at <= run.updated_at
    target = (run.target or "") if available and run.push_service_id is None else None
    return Change(kind, run.updated_at, run.run_id, run.conversation_id, run.status.value, stopped, target)


def of_conversation(conversation: Conversation) -> Change:
    return Change("conversation.updated", conversation.updated_at, None, conversation.id, conversation.status)
