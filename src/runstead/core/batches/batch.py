"""A batch: runs that were asked for together, are counted together and can be called off together.

Its counters move in the transaction in which a run of it changes its status, so reading them counts no rows. A run that
is deleted stays counted: the batch tells how its runs ended for as long as it is kept.
"""

import uuid
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus

BatchStatus = Literal["running", "cancelling", "completed", "cancelled"]


class Batch(msgspec.Struct, frozen=True):
    """One batch as it is stored. Times are ms; `on_complete` is JSON text: {target, config?}."""

    id: str
    project_id: str
    created_at: int
    name: str | None = None
    created_by: str | None = None
    on_complete: bytes | None = None
    cancel_requested_at: int | None = None
    cancel_reason: str | None = None
    completed_at: int | None = None
    followed_up_at: int | None = None  # when the run of `on_complete` was there
    seq: int = 0  # the order of creation (0: not stored yet)
    # The earliest start of a run, and how many runs are in which state.
    started_at: int | None = None
    pending: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def status(self) -> BatchStatus:
        """`cancelling` until the last of its runs has ended, `cancelled` then. `completed` says nothing of how they ended."""
        if self.cancel_requested_at is not None:
            return "cancelling" if self.completed_at is None else "cancelled"
        return "running" if self.completed_at is None else "completed"

    @property
    def active(self) -> int:
        return self.pending + self.running + self.waiting

    @property
    def total(self) -> int:
        return self.active + self.completed + self.failed + self.cancelled

    @property
    def counts(self) -> tuple[int, ...]:
        """In the order of the states."""
        return (self.pending, self.running, self.waiting, self.completed, self.failed, self.cancelled)

    @property
    def closed(self) -> bool:
        """Whether it takes no more runs."""
        return self.cancel_requested_at is not None or self.completed_at is not None

    @property
    def follow_up_id(self) -> str:
        """The id of the run of `on_complete`: always the same one, so that there is never a second."""
        return f"run_{uuid.uuid5(uuid.UUID(self.id), 'on_complete')}"

    @property
    def follow_up_due(self) -> bool:
        return self.status == "completed" and self.on_complete is not None and self.followed_up_at is None


BATCH_FIELDS: Final = Batch.__struct_fields__
COUNTED: Final = tuple(status.value for status in RunStatus)
"""The counters, in the order of the states."""
_PLACES: Final = {status: place for place, status in enumerate(RunStatus)}


class Moved:
    """What one transaction adds to counters: runs by state, how many more are active, the earliest start, the time."""

    __slots__ = ("at", "counts", "started_at")

    def __init__(self) -> None:
        self.counts = [0] * len(COUNTED)
        self.started_at: int | None = None
        self.at = 0

    @property
    def active(self) -> int:
        return sum(self.counts[:3])


Place = tuple[str, str, int]
"""(project_id, batch_id, slot)"""


class BatchMove(NamedTuple):
    """One run of a batch that entered a status. `left` is None for a new run; `started_at` where the write started it."""

    project_id: str
    batch_id: str
    run_seq: int
    left: RunStatus | None
    entered: RunStatus
    started_at: int | None
    at: int


def batch_move(old: Run | None, new: Run) -> BatchMove | None:
    """How a write of a run moves its batch's counters; None where it does not. `new` is stored, so that it has its seq."""
    if new.batch_id is None or (old is not None and old.status is new.status):
        return None
    return BatchMove(
        new.project_id,
        new.batch_id,
        new.seq,
        left=None if old is None else old.status,
        entered=new.status,
        started_at=new.started_at if old is None or old.started_at is None else None,
        at=new.updated_at,
    )


class Tally:
    """The moves of the counters of batches in one transaction, summed up. Where counters are spread over `slots`, a run
    is always counted in the same one. Not every `batch_id` names a batch: callers may use any as a label.
    """

    def __init__(self, slots: int = 1) -> None:
        self._slots = slots
        self.moved: dict[Place, Moved] = {}

    def add(self, move: BatchMove) -> None:
        place = (move.project_id, move.batch_id, move.run_seq % self._slots)
        moved = self.moved.get(place)
        if moved is None:
            moved = self.moved[place] = Moved()
        if move.left is not None:
            moved.counts[_PLACES[move.left]] -= 1
        moved.counts[_PLACES[move.entered]] += 1
        moved.at = max(moved.at, move.at)
        if move.started_at is not None:
            moved.started_at = min(moved.started_at or move.started_at, move.started_at)

    def note(self, old: Run | None, new: Run) -> None:
        """Take in that a run was created, or has changed."""
        if (move := batch_move(old, new)) is not None:
            self.add(move)


def counted(batch: Batch, moved: Moved) -> Batch:
    """The batch with its counters moved: complete once its last run has ended, and never again afterwards."""
    counts = [was + more for was, more in zip(batch.counts, moved.counts, strict=True)]
    assert min(counts) >= 0, (batch.counts, moved.counts)
    starts = [at for at in (batch.started_at, moved.started_at) if at is not None]
    changes = dict(zip(COUNTED, counts, strict=True)) | {"started_at": min(starts, default=None)}
    new = replace(batch, **changes)
    if batch.completed_at is not None:
        assert not new.active, f"batch {batch.id} was completed"
        return new
    return new if new.active else replace(new, completed_at=moved.at)


def admit(batch: Batch) -> None:
    """Refuse a run that would join a batch which is over: BATCH_CLOSED."""
    if batch.closed:
        raise Error("BATCH_CLOSED", f"The batch {batch.id} takes no more runs: it is {batch.status}")


class Changed(msgspec.Struct, frozen=True):
    """What a decision about a batch comes to. `accepted` answers the caller's question."""

    batch: Batch
    accepted: bool = True


def cancel(batch: Batch, *, now: int, reason: str | None) -> Changed:
    """Call the batch off: from now on no run joins it and none of it is claimed. Its runs are cancelled piece by piece."""
    if batch.closed:
        return Changed(batch, accepted=False)
    return Changed(replace(batch, cancel_requested_at=now, cancel_reason=reason))


def followed_up(batch: Batch, *, now: int) -> Changed:
    """The run of `on_complete` is there."""
    if not batch.follow_up_due:
        return Changed(batch, accepted=False)
    return Changed(replace(batch, followed_up_at=now))


def told(batch: Batch) -> dict[str, object]:
    """What the run of `on_complete` is told of the batch."""
    return {
        "id": batch.id,
        "name": batch.name,
        "status": batch.status,
        "total": batch.total,
        "status_counts": dict(zip(COUNTED, batch.counts, strict=True)),
    }
