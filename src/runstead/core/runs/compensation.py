"""Compensations: runs that a run registers to undo its work. The server creates them if the run fails or is cancelled.

They are children of that run, last registered first. The first is queued at once; each of the others is held until the
one before it has ended, however it ended. No cancel of an ancestor reaches them: see `Run.path`.
"""

import uuid
from collections.abc import Sequence

import msgspec

from runstead.core.runs.run import Run, RunStatus


class Compensation(msgspec.Struct, frozen=True):
    """A registered compensation. `number` counts those of its run, from 1. `created_at` in ms.

    `config` and `input` are JSON text; None once the run of the compensation has them. `key` is the caller's idempotency
    key, `digest` a digest of the request. `child_seq` is the run that was created, None: none yet.
    """

    number: int
    target: str
    title: str | None
    config: bytes | None
    input: bytes | None
    key: str | None
    digest: bytes
    created_at: int
    child_seq: int | None = None

    @property
    def bytes(self) -> int:
        """The size of its values."""
        return len(self.config or b"") + len(self.input or b"")


class RegisteredCompensations(msgspec.Struct, frozen=True):
    """What a new compensation of a run needs: the bytes of the registered ones, and the one with the same key."""

    bytes: int = 0
    same: Compensation | None = None


class WantedCompensations(msgspec.Struct, frozen=True):
    """A new compensation is wanted, with the caller's idempotency key."""

    key: str | None = None


def compensation_run_id(run_uid: str, number: int) -> str:
    """Return the id of a compensation's run. It derives from the internal id of its parent, so no caller can take it."""
    return f"run_{uuid.uuid5(uuid.UUID(run_uid), f'compensation:{number}')}"


def compensation_runs(ended: Run, registered: Sequence[Compensation]) -> list[tuple[Compensation, Run]]:
    """Return the runs to create for a run that has failed or was cancelled, in the order in which they start.

    Only the first is available at once.
    """
    found: list[tuple[Compensation, Run]] = []
    for compensation in sorted(registered, key=lambda each: -each.number):
        kind, _, name = compensation.target.partition(":")
        run_id = compensation_run_id(ended.uid, compensation.number)
        run = Run(
            uid=run_id.removeprefix("run_"),
            project_id=ended.project_id,
            run_id=run_id,
            kind="workflow" if kind == "workflow" else "task",
            status=RunStatus.PENDING,
            owner_kind="project",
            owner_id=ended.project_id,
            root_run_id=ended.root_run_id,
            created_at=ended.updated_at,
            updated_at=ended.updated_at,
            target=compensation.target,
            parent_seq=ended.seq,
            parent_run_id=ended.run_id,
            root_seq=ended.root_seq or ended.seq,
            path=compensation_path(ended),
            workflow_id=name if kind == "workflow" else None,
            runtime_target_kind=ended.runtime_target_kind,
            runtime_target_environment_id=ended.runtime_target_environment_id,
            runtime_target_branch_id=ended.runtime_target_branch_id,
            trigger_kind="api",
            created_by=ended.created_by,
            trace_context=ended.trace_context,
            title=compensation.title,
            priority=ended.priority,
            available_at=None if found else ended.updated_at,
            config=compensation.config,
            input=compensation.input,
        )
        found.append((compensation, run))
    return found


def compensation_path(parent: Run) -> str:
    """Return the `path` of a compensation of this run."""
    return f"{parent.path}{parent.seq}/~/"
