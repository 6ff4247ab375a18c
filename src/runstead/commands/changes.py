"""From what a command has written to hints about its project.

Every commit that changes a run makes one: `run.created`, `run.completed`, or else `run.updated`, for a deletion too.
What makes none: appended events as long as the status stays, renewed leases, the counters of the runs above, and
whether a run's end is waited for. They are frequent, and a run's own stream and row tell of them.
"""

from collections.abc import Iterable
from typing import Final

from runstead.core.change import Change, ChangeType
from runstead.core.conversations.conversation import Conversation
from runstead.core.runs.run import FIELDS, Run
from runstead.ports.store import Written

_QUIET: Final = {
    "version",
    "updated_at",
    "latest_event_id",
    "latest_external_event_sequence",
    "lease_ms",
    "lease_expires_at",
    "last_heartbeat_at",
    "due_at",
    "awaited_at",
    "descendants_total",
    "descendants_active",
}
_LOUD: Final = tuple(name for name in FIELDS if name not in _QUIET)


def of_written(written: Written) -> list[Change]:
    hints = [of_run("run.completed", run) for run in written.cancelled]
    run, before = written.run, written.before
    if before is None:
        if written.transition.conversation is not None:
            hints.append(of_conversation(written.transition.conversation))
        hints.append(of_run("run.created", run))
    elif run.terminal and not before.terminal:
        hints.insert(0, of_run("run.completed", run))
    elif written.transition.deletes or (run is not before and _changed(before, run)):
        hints.append(of_run("run.updated", run))
    return hints


def _changed(before: Run, after: Run) -> bool:
    pairs = ((getattr(before, name), getattr(after, name)) for name in _LOUD)
    return any(old is not new and old != new for old, new in pairs)


def of_runs(runs: Iterable[Run]) -> list[Change]:
    """Of runs that were there and have changed."""
    return [of_run("run.updated", run) for run in runs]


def of_run(kind: ChangeType, run: Run) -> Change:
    return Change(kind, run.updated_at, run.run_id, run.conversation_id, run.status.value)


def of_conversation(conversation: Conversation) -> Change:
    return Change("conversation.updated", conversation.updated_at, None, conversation.id, conversation.status)
