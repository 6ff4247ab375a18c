"""External workers: registering, claiming, keeping and letting go of runs."""

import asyncio
import itertools
import secrets
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress

import msgspec

from runstead.commands import locate, runs
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, can, refuse_bound, require
from runstead.core.identity.project import token_hash
from runstead.core.queue.worker import Held, Session, Worker
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Loaded, Transition
from runstead.core.runs.transitions import Fence
from runstead.ports.notifier import queue_key, slot_key
from runstead.ports.store import ClaimQuery, RunKey, Written


def new_token() -> str:
    return f"vfw_{secrets.token_hex(32)}"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    implementation_kind: str
    worker_key: str
    display_name: str | None = None
    implementation_display_name: str | None = None
    metadata: bytes | None = None


async def register(
    app: App,
    principal: Principal,
    project: str,
    new: Registration,
    token: str,
    idempotency: IdempotencyRecord | None = None,
) -> Worker:
    """Store the worker, or find it by (project, implementation_kind, worker_key), and make `token` one of its own."""
    found = await locate.project(app, principal, Scope.WORKERS, project)
    if principal.worker_id is not None:
        raise Error("FORBIDDEN", "A worker token registers no workers: use the key or user token")
    now = now_ms()
    worker = Worker(
        id=str(uuid.uuid4()),
        project_id=found.id,
        implementation_kind=new.implementation_kind,
        worker_key=new.worker_key,
        created_at=now,
        updated_at=now,
        display_name=new.display_name,
        implementation_display_name=new.implementation_display_name,
        metadata=new.metadata,
        last_heartbeat_at=now,
    )
    return await app.store.workers.register(worker, token_hash(token), idempotency)


async def acting(app: App, principal: Principal, worker_id: str) -> Worker:
    """The worker that the caller acts for: itself, or one of a project whose runs it may work on."""
    refuse_bound(principal, "acts for no worker")
    if principal.worker_id not in (None, worker_id):
        raise not_found("Worker")
    worker = await app.worker(worker_id)
    if worker is None or worker.project_id not in principal.grants:
        raise not_found("Worker")
    if not can(principal, Scope.RUNS_WRITE, worker.project_id):
        require(principal, Scope.WORKERS, worker.project_id, "Worker")
    return worker


async def heartbeat(
    app: App, principal: Principal, worker_id: str, idempotency: IdempotencyRecord | None = None
) -> Worker:
    worker = await acting(app, principal, worker_id)
    found = await app.store.workers.heartbeat(worker.id, idempotency)
    if found is None:
        raise not_found("Worker")
    return found


async def note_heard(app: App) -> int:
    """Store that workers were heard of by other requests than heartbeats; how many, `limits.heard_per_tick_max` at
    most.
    """
    some = list(itertools.islice(app.heard, limits.heard_per_tick_max))
    if some:
        app.heard.difference_update(some)
        await app.store.workers.heard(some)
    return len(some)


async def page(
    app: App,
    principal: Principal,
    project: str,
    after: tuple[str, str] | None,
    limit: int,
    *,
    silent: bool | None,
) -> list[Worker]:
    """A project's workers by kind and key, those beyond `after`."""
    refuse_bound(principal, "lists no workers")
    found = await locate.project(app, principal, Scope.RUNS_READ, project)
    return await app.store.workers.page(found.id, after, limit, silent=silent)


async def held(app: App, principal: Principal, project: str, owners: Sequence[str]) -> dict[str, list[Held]]:
    """The runs of a project that these workers or push services hold now, by their ids, as far as
    `limits.held_looked_max` lets them be seen. Who holds none is not in it.
    """
    refuse_bound(principal, "lists no workers")
    found = await locate.project(app, principal, Scope.RUNS_READ, project)
    by_owner: dict[str, list[Held]] = {}
    for one in await app.store.workers.held(found.id, owners, limits.held_looked_max) if owners else ():
        by_owner.setdefault(one.owner, []).append(one)
    return by_owner


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker takes. No kinds and no targets: agent runs, as the published clients mean it."""

    lease_s: int
    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    wait_s: int = 0
    max_runs: int = 1


async def claim(
    app: App,
    principal: Principal,
    worker_id: str,
    claim: Claim,
    gone: Callable[[], Awaitable[bool]],
    idempotency: IdempotencyRecord | None = None,
) -> list[Run]:
    """Take the next claimable runs, waiting up to `wait_s` for one. `gone` tells whether the caller still listens:
    a run must not be handed to nobody.
    """
    worker = await acting(app, principal, worker_id)
    app.heard.add(worker.id)
    query = ClaimQuery(
        project_id=worker.project_id,
        kinds=_kinds(claim),
        targets=claim.targets,
        implementation_kind=worker.implementation_kind,
        worker_key=worker.worker_key,
        limit=claim.max_runs,
    )

    def decide(run: Run, now: int) -> Transition:
        return transitions.claim(
            run, now=now, worker=worker.id, lease_ms=claim.lease_s * 1000, token=secrets.token_hex(16)
        )

    loop = asyncio.get_running_loop()
    until = loop.time() + claim.wait_s
    project, asked = worker.project_id, False
    with ExitStack() as subscriptions:
        hint = subscriptions.enter_context(app.notifier.subscribe(queue_key(project)))
        while True:
            hint.clear()
            left = until - loop.time()
            found = await app.store.runs.claim(
                query, decide, idempotency if left <= 0 else _unless_empty(idempotency)
            )
            if found:
                app.publish_runs(found)
                return found
            if left <= 0:
                return []
            if not asked:
                asked = True
                # Where runs are limited, the end of one is worth a look too. Only who waits anyway pays for the question.
                if await app.store.concurrency.of(project):
                    both = app.notifier.subscribe(queue_key(project), slot_key(project))
                    hint = subscriptions.enter_context(both)
                    continue
            delay = await app.store.runs.next_available(project, query.kinds, limits.claim_look_ms_max)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _pause(delay))):
                    await hint.wait()
            if app.stopping.is_set() or await gone():
                return []


def _pause(delay_ms: int | None) -> float:
    """Seconds until a claim looks again without a hint: when the next delayed run is available, but not too often, since
    that run may be for another worker.
    """
    if delay_ms is None:
        return limits.claim_poll_s
    return min(max(delay_ms / 1000, limits.claim_pause_s_min), limits.claim_poll_s)


def _kinds(claim: Claim) -> tuple[str, ...]:
    if claim.kinds:
        return claim.kinds
    named = {target.partition(":")[0] for target in claim.targets}
    return tuple(sorted(named & {"agent", "workflow", "task", "eval"})) or ("agent",)


def _unless_empty(idempotency: IdempotencyRecord | None) -> IdempotencyRecord | None:
    """An empty look is no answer while the caller still waits: nothing to remember under its key."""
    if idempotency is None:
        return None
    return msgspec.structs.replace(
        idempotency, render=lambda found: idempotency.render(found) if found else None
    )


async def renew(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    lease_s: int,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """Keep the lease; `transition.accepted` is False where the worker has lost it."""
    worker = await acting(app, principal, worker_id)
    app.heard.add(worker.id)

    def decide(loaded: Loaded) -> Transition:
        if loaded.run is None:
            raise not_found("Run")
        return transitions.renew(
            loaded.run, now=loaded.now, lease_ms=lease_s * 1000, worker=worker.id, fence=fence
        )

    return await app.store.runs.apply(RunKey(worker.project_id, run_id), decide, idempotency=idempotency)


async def release(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    error: bytes | None,
    retry_after_s: int | None,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Written:
    """End the attempt without a completion. ATTEMPT_SUPERSEDED where it is not the worker's any more."""
    worker = await acting(app, principal, worker_id)

    def decide(loaded: Loaded) -> Transition:
        if loaded.run is None:
            raise not_found("Run")
        return transitions.release(
            loaded.run,
            now=loaded.now,
            worker=worker.id,
            fence=fence,
            error=error,
            retry_after_ms=retry_after_s * 1000 if retry_after_s is not None else None,
            dice=runs.dice(),
        )

    written = await app.store.runs.apply(RunKey(worker.project_id, run_id), decide, idempotency=idempotency)
    app.publish(written)
    return written


async def put_session(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    session: Session,
    fence: Fence,
    idempotency: IdempotencyRecord | None = None,
) -> Session:
    """Note what the worker calls its work on a run that it holds or held."""
    worker = await acting(app, principal, worker_id)
    run = await app.store.runs.get(RunKey(worker.project_id, run_id))
    if run is None:
        raise not_found("Run")
    if run.lease_owner != worker.id:
        raise Error("ATTEMPT_SUPERSEDED", "The worker does not hold this run")
    fence.check(run)
    complete = msgspec.structs.replace(
        session, run_id=run.run_id, worker_id=worker.id, implementation_kind=worker.implementation_kind
    )
    return await app.store.workers.put_session(run.seq, complete, idempotency)
