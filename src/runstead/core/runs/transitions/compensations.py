"""Compensations: registered by a run, and released one after the other when it has failed or was cancelled."""

from msgspec.structs import replace

from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.runs.compensation import Compensation, RegisteredCompensations
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Transition
from runstead.core.runs.transitions.machine import Fence, not_active, rewrite


def register_compensation(
    run: Run, new: Compensation, registered: RegisteredCompensations, *, now: int, fence: Fence
) -> Transition:
    """Register a compensation. `new` has no number yet.

    A repeat of an idempotency key changes nothing, whatever its config and input. Raises RUN_NOT_ACTIVE,
    COMPENSATIONS_FULL, FAMILY_TOO_DEEP; IDEMPOTENCY_KEY_REUSED for another request.
    """
    fence.check(run)
    if registered.same is not None:
        if registered.same.digest != new.digest:
            raise Error(
                "IDEMPOTENCY_KEY_REUSED", f"The key {new.key} was used for another compensation of this run"
            )
        return Transition(run, duplicate=True, compensation=registered.same)
    if run.terminal:
        raise not_active(run)
    if len(run.ancestor_seqs) + 1 >= limits.family_depth_max:
        raise Error("FAMILY_TOO_DEEP", f"A run has at most {limits.family_depth_max - 1} ancestors")
    count = run.compensations or 0
    if count >= limits.compensations_per_run_max:
        raise Error(
            "COMPENSATIONS_FULL",
            f"The run has {count} compensations, and {limits.compensations_per_run_max} is the maximum: register one "
            "workflow that undoes several steps",
        )
    if registered.bytes + new.bytes > limits.compensations_bytes_max:
        raise Error(
            "COMPENSATIONS_FULL",
            f"The compensations of a run have at most {limits.compensations_bytes_max // limits.MIB} MiB of config and "
            "input together: let the compensation read the values of its parent",
        )
    return Transition(rewrite(run, now, compensations=count + 1), compensation=replace(new, number=count + 1))


def release_compensation(run: Run, *, now: int) -> Transition:
    """Queue the next compensation: all before it have ended. Changes nothing if it is queued already."""
    if not run.held:
        return Transition(run, accepted=False)
    return Transition(rewrite(run, now, available_at=max(now, run.updated_at)))
