"""External workers: register, claim runs, renew and release leases."""

import asyncio
import secrets
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec

from runstead.commands import runs
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.issuers import issuer_of
from runstead.commands.targets import check_schema
from runstead.core import limits
from runstead.core.audit import by
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, invalid_at, not_found
from runstead.core.idempotency import Idempotency, IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, can, refuse_bound, require
from runstead.core.identity.project import token_hash
from runstead.core.queue.concurrency import rated_targets
from runstead.core.queue.target import TargetDefinition
from runstead.core.queue.worker import HeldRun, Session, VersionCount, Worker
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Loaded, Transition
from runstead.core.runs.transitions import Fence
from runstead.ports import run_metrics
from runstead.ports.notifier import pause, queue_key, slot_key, worker_key
from runstead.ports.store import ClaimRequest, ListPage, RunKey, Written

_REMOVED: Final = b'{"message":"The worker was removed"}'


def new_token() -> str:
    return f"vfw_{secrets.token_hex(32)}"


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """A worker to register. `metadata` is JSON text. `targets` None: those of an earlier registration stay."""

    implementation_kind: str
    worker_key: str
    display_name: str | None = None
    implementation_display_name: str | None = None
    metadata: bytes | None = None
    targets: Sequence[TargetDefinition] | None = None
    version: str | None = None


@needs(Scope.WORKERS)
async def register(access: Access, new: Registration, token: str, idempotency: Idempotency = None) -> Worker:
    """Store the worker, or find it by (project, implementation_kind, worker_key), and add the token.

    Raises FORBIDDEN, NOT_FOUND.
    """
    app, principal, project_id = access.app, access.principal, access.project_id
    if principal.worker_id is not None:
        raise Error("FORBIDDEN", "A worker token cannot register workers: use an API key or a user token")
    now = now_ms()
    members = msgspec.structs.asdict(new)
    del members["targets"]
    worker = Worker(
        id=str(uuid.uuid4()),
        project_id=project_id,
        created_at=now,
        updated_at=now,
        last_heartbeat_at=now,
        **members,
    )
    issuer = await issuer_of(app.store, principal, Scope.WORKERS, project_id)
    for index, each in enumerate(new.targets or ()):
        if each.validate_input and each.input_schema is not None:
            await check_schema(app, each.input_schema, f"$.targets[{index}].input_schema")
    stored = await app.store.workers.register(
        worker, token_hash(token), idempotency, issuer=issuer, targets=new.targets
    )
    app.forget_worker(stored.id)  # it may have had another version
    app.targets.forget(project_id)
    return stored


async def acting(app: App, principal: Principal, worker_id: str) -> Worker:
    """Return the worker that the caller acts for: itself, or a worker of a project whose runs it may write.

    Raises FORBIDDEN, NOT_FOUND.
    """
    refuse_bound(principal, "cannot act for a worker")
    if principal.worker_id not in (None, worker_id):
        raise not_found("Worker")
    worker = await app.worker(worker_id)
    if worker is None or worker.project_id not in principal.grants:
        raise not_found("Worker")
    if not can(principal, Scope.RUNS_WRITE, worker.project_id):
        require(principal, Scope.WORKERS, worker.project_id, "Worker")
    return worker


async def heartbeat(
    app: App, principal: Principal, worker_id: str, idempotency: Idempotency = None
) -> Worker:
    """Store that the worker is alive. Raises NOT_FOUND."""
    worker = await acting(app, principal, worker_id)
    return existing(await app.store.workers.heartbeat(worker.id, idempotency), "Worker")


async def remove(app: App, principal: Principal, worker_id: str) -> int:
    """Delete a worker, so that its tokens end. Returns the number of attempts that ended.

    Its attempts end as with a release. Those that cannot be ended now, or that another replica lets the worker
    claim within the next `limits.worker_cached_s`, end with their leases. Raises FORBIDDEN, NOT_FOUND.
    """
    worker = await acting(app, principal, worker_id)
    require(principal, Scope.WORKERS, worker.project_id, "Worker")
    workers = app.store.recording(by(principal, "worker.remove", worker.project_id)).workers
    if not await workers.remove(worker.id):
        raise not_found("Worker")
    app.forget_worker(worker.id)
    app.targets.forget(worker.project_id)
    app.notifier.publish((worker_key(worker.id),))
    held = await app.store.workers.held(worker.project_id, [worker.id], limits.held_runs_checked_max)
    ended = 0
    for run in held:
        with suppress(Error):
            await _end_attempt(app, worker, run.run_id, Fence(), error=_REMOVED)
            ended += 1
    return ended


@needs(Scope.RUNS_READ, bound="cannot list workers")
async def page(
    access: Access, after: tuple[str, str] | None, limit: int, *, silent: bool | None
) -> ListPage[Worker]:
    """Return the project's workers after (implementation_kind, worker_key), in that order."""
    return await access.store.workers.page(access.project_id, after, limit, silent=silent)


@needs(Scope.RUNS_READ, bound="cannot list workers")
async def versions(access: Access) -> list[VersionCount]:
    """Count the project's workers and the runs that have not ended, by version. Raises FORBIDDEN, NOT_FOUND."""
    return await access.store.workers.versions(access.project_id)


@needs(Scope.RUNS_READ, bound="cannot list workers")
async def held(access: Access, owners: Sequence[str]) -> dict[str, list[HeldRun]]:
    """Return the runs of a project that these workers or push services hold now, by owner id.

    At most `limits.held_runs_checked_max` runs are read. Owners without runs are left out.
    """
    most, by_owner = limits.held_runs_checked_max, dict[str, list[HeldRun]]()
    for run in await access.store.workers.held(access.project_id, owners, most) if owners else ():
        by_owner.setdefault(run.owner, []).append(run)
    return by_owner


class LeasedRun(NamedTuple):
    """A run that the worker holds, and the newest session of the run."""

    run: Run
    session: Session | None = None


async def claim(
    app: App,
    principal: Principal,
    worker_id: str,
    *,
    kinds: Sequence[str],
    targets: Sequence[str],
    max_runs: int,
    lease_s: int,
    wait_s: int,
    disconnected: Callable[[], Awaitable[bool]],
    version: str | None = None,
    pinned_targets: Collection[str] = (),
    idempotency: Idempotency = None,
) -> list[LeasedRun]:
    """Lease the next claimable runs to the worker. Wait for one, at most `wait_s` seconds.

    Without kinds and targets, agent runs are claimed, as published clients expect. If `disconnected` returns
    true, no run is leased. `version` is that of the code that asks, None: the worker's. Runs of `pinned_targets` are
    pinned to it. Raises INVALID_REQUEST if they have no version; NOT_FOUND, also when the worker is removed meanwhile.
    """
    worker = await acting(app, principal, worker_id)
    version = version or worker.version
    if pinned_targets and version is None:
        raise invalid_at(
            "$.pinned_targets",
            "needs a version",
            "Runs are pinned to a version: register the worker with a version, or send it with the claim",
        )
    app.worker_activity.add(worker.id)
    request = ClaimRequest(
        project_id=worker.project_id,
        kinds=_kinds(kinds, targets),
        targets=tuple(targets),
        implementation_kind=worker.implementation_kind,
        worker_key=worker.worker_key,
        limit=max_runs,
        version=version,
    )

    available_at: dict[int, int] = {}

    def decide(run: Run, now: int) -> Transition:
        available_at[run.seq] = run.claimable_at or now
        return transitions.claim(
            run,
            now=now,
            worker=worker.id,
            lease_ms=lease_s * 1000,
            token=secrets.token_hex(16),
            version=version,
            pinned_targets=pinned_targets,
        )

    def record(*, last: bool) -> IdempotencyRecord | None:
        """While the long poll has time left, an empty claim is retried, so its answer is not stored."""
        return _rendering(
            idempotency,
            lambda runs: [LeasedRun(run) for run in _leased(runs)],
            stored=lambda runs: last or bool(_leased(runs)),
        )

    loop = asyncio.get_running_loop()
    until, project = loop.time() + wait_s, worker.project_id

    async def lease(*, last: bool) -> list[Run]:
        while True:
            found = await app.store.runs.claim(request, decide, record(last=last))
            runs = _leased(found)
            if runs:
                run_metrics.count_claims(runs, available_at)
            app.publish_runs(found)
            if runs or last or not found:  # budgets stopped all that was found: look at once for more
                return runs

    runs = await lease(last=wait_s == 0)  # most claims find a run, and need no subscription
    if not runs and wait_s > 0:
        keys = [queue_key(project), worker_key(worker.id)]
        # Under concurrency limits, the end of a run can make another one claimable.
        limited = await app.store.concurrency.of(project)
        rated = rated_targets((one.limit for one in limited), request.kinds, targets)
        if limited:
            keys.append(slot_key(project))
        with app.notifier.subscribe(*keys) as change:
            while not (app.stopping.is_set() or await disconnected()):
                if await app.worker(worker.id) is None:  # it was removed while the claim waited
                    raise not_found("Worker")
                change.clear()
                left = until - loop.time()
                runs = await lease(last=left <= 0)
                if runs or left <= 0:
                    break
                delay = await app.store.runs.next_available(
                    project, request.kinds, limits.claim_read_age_ms_max
                )
                if rated:
                    token = await app.store.concurrency.next_token(
                        project, rated, limits.claim_read_age_ms_max
                    )
                    delay = min((each for each in (delay, token) if each is not None), default=None)
                await pause(change, min(left, _pause(delay)))
    # A first attempt has no earlier session.
    return [LeasedRun(run, await _session(app, run) if run.attempt > 1 else None) for run in runs]


async def _session(app: App, run: Run) -> Session | None:
    return await app.store.workers.session(run.seq)


def _leased(found: Sequence[Run]) -> list[Run]:
    """The runs that a claim leased, without those that budgets stopped."""
    return [run for run in found if run.lease_token is not None and run.status is RunStatus.RUNNING]


def _pause(delay_ms: int | None) -> float:
    """Seconds until a claim without a notification retries: when the next delayed run becomes available.

    The pause has a lower bound, since that run may be for another worker.
    """
    if delay_ms is None:
        return limits.claim_poll_s
    return min(max(delay_ms / 1000, limits.claim_pause_s_min), limits.claim_poll_s)


def _kinds(kinds: Sequence[str], targets: Sequence[str]) -> tuple[str, ...]:
    if kinds:
        return tuple(kinds)
    of_targets = {target.partition(":")[0] for target in targets}
    return tuple(sorted(of_targets & {"agent", "workflow", "task", "eval"})) or ("agent",)


def _rendering(
    idempotency: Idempotency,
    to_result: Callable[[Any], Any],
    *,
    stored: Callable[[Any], bool] = lambda _: True,
) -> IdempotencyRecord | None:
    """Convert what the store wrote into the command's result before the answer is rendered and stored.

    Sessions are read after the commit, so a replayed answer has none. An answer is stored if `stored` is
    true.
    """
    if idempotency is None:
        return None
    return msgspec.structs.replace(
        idempotency,
        render=lambda written: idempotency.render(to_result(written)) if stored(written) else None,
    )


async def renew(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    lease_s: int,
    fence: Fence,
    idempotency: Idempotency = None,
) -> LeasedRun | None:
    """Renew the lease. Returns None if the worker has lost it. Raises NOT_FOUND."""
    worker = await acting(app, principal, worker_id)
    app.worker_activity.add(worker.id)

    def decide(loaded: Loaded) -> Transition:
        run = existing(loaded.run, "Run")
        return transitions.renew(run, now=loaded.now, lease_ms=lease_s * 1000, worker=worker.id, fence=fence)

    def leased(written: Written) -> LeasedRun | None:
        return LeasedRun(written.run) if written.transition.accepted else None

    key = RunKey(worker.project_id, run_id)
    written = await app.store.runs.apply(key, decide, idempotency=_rendering(idempotency, leased))
    renewed = leased(written)
    return None if renewed is None else renewed._replace(session=await _session(app, renewed.run))


async def release(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    error: bytes | None,
    retry_after_s: int | None,
    fence: Fence,
    idempotency: Idempotency = None,
) -> Written:
    """End the attempt without a completion. Raises ATTEMPT_SUPERSEDED if the worker has lost it."""
    worker = await acting(app, principal, worker_id)
    return await _end_attempt(app, worker, run_id, fence, error, retry_after_s, idempotency)


async def _end_attempt(
    app: App,
    worker: Worker,
    run_id: str,
    fence: Fence,
    error: bytes | None,
    retry_after_s: int | None = None,
    idempotency: Idempotency = None,
) -> Written:
    def rule(run: Run, loaded: Loaded) -> Transition:
        return transitions.release(
            run,
            now=loaded.now,
            worker=worker.id,
            fence=fence,
            error=error,
            retry_after_ms=retry_after_s * 1000 if retry_after_s is not None else None,
            dice=runs.dice(),
        )

    return await runs.apply_at(app, RunKey(worker.project_id, run_id), rule, idempotency=idempotency)


async def put_session(
    app: App,
    principal: Principal,
    worker_id: str,
    run_id: str,
    members: Mapping[str, Any],
    fence: Fence,
    idempotency: Idempotency = None,
) -> Session:
    """Store the worker's session of a run that it holds or held: its `session_key`, `status` and `metadata`.

    Raises NOT_FOUND, ATTEMPT_SUPERSEDED.
    """
    worker = await acting(app, principal, worker_id)
    run = existing(await app.store.runs.get(RunKey(worker.project_id, run_id)), "Run")
    if run.lease_owner != worker.id:
        raise Error("ATTEMPT_SUPERSEDED", "The worker does not hold this run")
    fence.check(run)
    session = Session(
        id=str(uuid.uuid4()),
        run_id=run.run_id,
        implementation_kind=worker.implementation_kind,
        worker_id=worker.id,
        created_at=0,
        updated_at=0,
        **members,
    )
    return await app.store.workers.put_session(run.seq, session, idempotency)
