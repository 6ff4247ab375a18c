"""A batch: runs that are created together, are counted together and can be cancelled together.

The counters change in the transaction that changes the status of a run, so that reading them counts no rows.
A deleted run stays counted, so that the batch shows how its runs ended for as long as the batch exists.
"""

import uuid
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from runstead.core.errors import Error
from runstead.core.runs.run import Run, RunStatus

BatchStatus = Literal["running", "cancelling", "completed", "cancelled"]


class Batch(msgspec.Struct, frozen=True):
    """One batch as a row of the store. Times are ms; `on_complete` is JSON text: {target, config?}."""

    id: str
    project_id: str
    created_at: int
    name: str | None = None
    created_by: str | None = None
    on_complete: bytes | None = None
    cancel_requested_at: int | None = None
    cancel_reason: str | None = None
    completed_at: int | None = None
    followed_up_at: int | None = None  # when the follow-up run of `on_complete` was created
    seq: int = 0  # order of creation (0: not stored yet)
    # The earliest start of a run, and the number of runs in each state.
    started_at: int | None = None
    pending: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def status(self) -> BatchStatus:
        """`cancelling` becomes `cancelled` when the last run has ended. `completed` means that all runs have
        ended, with any status.
        """
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
        """The counters in the order of `RunStatus`."""
        return (self.pending, self.running, self.waiting, self.completed, self.failed, self.cancelled)

    @property
    def closed(self) -> bool:
        """Whether the batch accepts no more runs."""
        return self.cancel_requested_at is not None or self.completed_at is not None

    @property
    def follow_up_id(self) -> str:
        """The id of the follow-up run. It is derived from the batch, so that there is never a second one."""
        return f"run_{uuid.uuid5(uuid.UUID(self.id), 'on_complete')}"

    @property
    def follow_up_due(self) -> bool:
        return self.status == "completed" and self.on_complete is not None and self.followed_up_at is None


def shown_status(status: str, failed: int) -> str:
    """Return the status that people see: `completed_with_failures` for a completed batch with failed runs."""
    return "completed_with_failures" if status == "completed" and failed else status


BATCH_FIELDS: Final = Batch.__struct_fields__
COUNTED: Final = tuple(status.value for status in RunStatus)
"""The names of the counters, in the order of `RunStatus`."""
_PLACES: Final = {status: place for place, status in enumerate(RunStatus)}


class Moved:
    """The change of a batch's counters in one transaction: runs by state, the earliest start, and the time (ms)."""

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
    """A run of a batch that entered a status.

    `left` is the status before, None for a new run. `started_at` is set if this write started the run.
    """

    project_id: str
    batch_id: str
    run_seq: int
    left: RunStatus | None
    entered: RunStatus
    started_at: int | None
    at: int


def batch_move(old: Run | None, new: Run) -> BatchMove | None:
    """Return the change of the batch's counters by a write of a run, None if there is none.

    `new` must be stored, because its seq is needed.
    """
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
    """Sums up the changes of batch counters in one transaction. If counters are spread over `slots`, a run is
    always counted in the same slot. A `batch_id` may also be a label that names no batch.
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
        """Count a run that was created (`old` is None) or changed. The run must be stored, because its seq is needed."""
        if (move := batch_move(old, new)) is not None:
            self.add(move)


def counted(batch: Batch, moved: Moved) -> Batch:
    """Return the batch with changed counters. It is completed, once, when its last run has ended."""
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
    """BATCH_CLOSED if the batch accepts no more runs."""
    if batch.closed:
        raise Error("BATCH_CLOSED", f"The batch {batch.id} accepts no more runs: it is {batch.status}")


class Changed(msgspec.Struct, frozen=True):
    """The result of a decision about a batch. `accepted` is whether the call had its effect."""

    batch: Batch
    accepted: bool = True


def cancel(batch: Batch, *, now: int, reason: str | None) -> Changed:
    """Cancel the batch: it accepts no more runs, and none of its runs is claimed.

    Its runs are cancelled in steps.
    """
    if batch.closed:
        return Changed(batch, accepted=False)
    return Changed(replace(batch, cancel_requested_at=now, cancel_reason=reason))


def followed_up(batch: Batch, *, now: int) -> Changed:
    """Record that the follow-up run was created."""
    if not batch.follow_up_due:
        return Changed(batch, accepted=False)
    return Changed(replace(batch, followed_up_at=now))


def batch_summary(batch: Batch) -> dict[str, object]:
    """Return the summary of the batch that the follow-up run gets in its config."""
    return {
        "id": batch.id,
        "name": batch.name,
        "status": batch.status,
        "total": batch.total,
        "status_counts": dict(zip(COUNTED, batch.counts, strict=True)),
    }
