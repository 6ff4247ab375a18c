"""Change notifications of a project, for clients that follow the whole project."""

from typing import Literal

import msgspec

ChangeType = Literal["run.created", "run.updated", "run.completed", "conversation.updated", "resync"]


class StoppedAttempt(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that its worker must stop, because its run was cancelled or paused."""

    worker_id: str
    attempt: int
    by: Literal["cancel", "pause"]


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What changed, with the status after the commit. It can be outdated when it is read: the store is
    authoritative.

    `run.completed`: the run reached a terminal status. `resync`: notifications were lost, so read the lists
    again; only `at` (ms) is set.

    `stopped` and `target` are for the channels of workers: `target` is that of a run that can be claimed now, '' for
    none. Replicas of a version without them ignore them.
    """

    type: ChangeType
    at: int
    run_id: str | None = None
    conversation_id: str | None = None
    status: str | None = None
    stopped: StoppedAttempt | None = None
    target: str | None = None
