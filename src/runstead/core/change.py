"""Hints about a project: that something in it changed, for whoever follows the project as a whole."""

from typing import Literal

import msgspec

ChangeType = Literal["run.created", "run.updated", "run.completed", "conversation.updated", "resync"]


class Change(msgspec.Struct, frozen=True):
    """What changed, as it stood after the commit. It may be old by the time it is read: the lists have the truth.

    `run.completed`: the run reached a terminal status. `resync`: hints were lost on the way, read the lists again;
    nothing else is set but `at` (ms).
    """

    type: ChangeType
    at: int
    run_id: str | None = None
    conversation_id: str | None = None
    status: str | None = None
