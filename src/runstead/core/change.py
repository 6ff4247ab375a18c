"""Change notifications of a project, for clients that follow the whole project."""

from typing import Literal

import msgspec

ChangeType = Literal["run.created", "run.updated", "run.completed", "conversation.updated", "resync"]


class Change(msgspec.Struct, frozen=True):
    """What changed, with the status after the commit. It can be outdated when it is read: the store is
    authoritative.

    `run.completed`: the run reached a terminal status. `resync`: notifications were lost, so read the lists
    again; only `at` (ms) is set.
    """

    type: ChangeType
    at: int
    run_id: str | None = None
    conversation_id: str | None = None
    status: str | None = None
