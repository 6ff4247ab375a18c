"""Compensations of a run: registered by its worker, and listed."""

import hashlib

import msgspec

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal
from runstead.core.runs import transitions
from runstead.core.runs.compensation import Compensation, WantedCompensations
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.core.runs.transitions import Fence
from runstead.ports.store import Written


class NewCompensation(msgspec.Struct, frozen=True, kw_only=True):
    """A compensation to register. `config` and `input` are JSON text. A repeat of a `key` registers nothing,
    and its values are dropped.
    """

    target: str
    title: str | None = None
    config: bytes | None = None
    input: bytes | None = None
    key: str | None = None


async def register(
    app: App,
    principal: Principal,
    run_ref: RunRef,
    new: NewCompensation,
    fence: Fence,
    idempotency: Idempotency = None,
) -> Written:
    """Register a compensation. `transition.compensation` is the stored one.

    Raises RUN_NOT_ACTIVE, COMPENSATIONS_FULL, FAMILY_TOO_DEEP, IDEMPOTENCY_KEY_REUSED, ATTEMPT_SUPERSEDED.
    """
    # Without the values: a codec of the caller may encode equal ones differently.
    digest = hashlib.sha256(msgspec.json.encode([new.target, new.title])).digest()

    def rule(run: Run, loaded: Loaded) -> Transition:
        compensation = Compensation(
            number=0, digest=digest, created_at=loaded.now, **msgspec.structs.asdict(new)
        )
        return transitions.register_compensation(
            run, compensation, loaded.compensations, now=loaded.now, fence=fence
        )

    want = Want(compensations=WantedCompensations(new.key))
    return await runs.apply(app, principal, run_ref, rule, want, idempotency)


async def of_run(app: App, principal: Principal, run_ref: RunRef) -> tuple[Run, list[Compensation]]:
    """Return the run and its compensations, in the order of their numbers. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    return run, await app.store.runs.compensations(run.seq)
