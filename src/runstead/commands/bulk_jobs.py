"""Bulk jobs: cancel, retry or delete all runs that match a filter, in the background."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from runstead.commands import records, retry, runs
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.batches import turn
from runstead.commands.create import copy_request
from runstead.commands.runs import RunRef
from runstead.commands.seq_bounds import with_seq_bounds
from runstead.core import limits
from runstead.core.audit import ObjectName, by
from runstead.core.batches import bulk_job as rules
from runstead.core.batches.bulk_job import BulkAction, BulkCaller, BulkJob, BulkRun, Progress, Refusal
from runstead.core.clock import now_ms
from runstead.core.errors import Error, existing, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Origin, Principal, Scope, require
from runstead.core.identity.tenant import tenant
from runstead.core.runs.run import OMITTABLE, Run
from runstead.ports.store import RunKey, RunQuery

log = structlog.get_logger(__name__)
encode = msgspec.json.Encoder().encode
_caller: Final = msgspec.json.Decoder(BulkCaller).decode

#: Refusals that pass: the job waits, and tries the run again.
_LATER: Final = frozenset(
    {"STORE_BUSY", "STORE_UNAVAILABLE", "PROJECT_BUSY", "QUOTA_REACHED", "RATE_LIMITED", "SHUTTING_DOWN"}
)


class NewBulkJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job to create. `shown_filter` is the JSON text of the filter."""

    action: BulkAction
    filter: RunQuery
    shown_filter: bytes
    from_step: str | None = None


@needs(Scope.RUNS_WRITE, bound="cannot begin bulk jobs", records="bulk.create")
async def create(access: Access, new: NewBulkJob, idempotency: Idempotency = None) -> BulkJob:
    """Store a job with the runs that match its filter now, of one snapshot. A loop of the leader works on it.

    Deletion needs the scope admin. Raises NOT_FOUND, FORBIDDEN, BULK_TOO_LARGE, BULK_LIMIT_REACHED; INVALID_REQUEST for
    a `from_step` of another action.
    """
    app, principal, project_id = access.app, access.principal, access.project_id
    if new.action == "delete":
        require(principal, Scope.ADMIN, project_id, "Project")
    if new.from_step is not None and new.action != "retry":
        message = "from_step belongs to the action retry: leave it out"
        raise invalid_at("$.from_step", "not for this action", message)
    if principal.kind not in ("api_key", "user"):
        raise Error("FORBIDDEN", "A bulk job needs an API key or a user")
    async with turn(app):
        found = await _matching(app, replace(new.filter, project_ids=(project_id,)))
    if new.action != "delete":  # a run is deleted after its children, which are newer
        found.reverse()
    now = now_ms()
    caller = BulkCaller(
        kind=principal.kind,
        id=principal.id,
        name=principal.name,
        credential_id=principal.credential_id,
        address=principal.origin.address,
        request_id=principal.origin.request_id,
    )
    job = BulkJob(
        id=str(uuid.uuid4()),
        project_id=project_id,
        action=new.action,
        status="running" if found else "completed",
        total=len(found),
        created_at=now,
        updated_at=now,
        caller=encode(caller),
        filter=new.shown_filter,
        from_step=new.from_step,
        created_by=access.user,
        ended_at=None if found else now,
    )
    return await access.recording.bulk_jobs.create(job, found, _refuse_at_limit, idempotency)


async def count(app: App, principal: Principal, ref: str, query: RunQuery) -> int:
    """Return how many runs a job of this filter would have; `limits.bulk_runs_max + 1` stands for too many."""
    query = await with_seq_bounds(app, principal, ref, replace(query, limit=limits.bulk_runs_max + 1))
    return len(await app.store.runs.summaries(query))


async def _matching(app: App, query: RunQuery) -> list[BulkRun]:
    """Return the runs of a query, newest first. BULK_TOO_LARGE."""
    most = limits.bulk_runs_max
    page = await app.store.runs.page(replace(query, limit=most, omit=OMITTABLE, bytes_max=None))
    if page.more:
        raise Error(
            "BULK_TOO_LARGE",
            f"More than {most:,} runs match, and a bulk job has at most so many: narrow the filter, for example with"
            " created_before",
        )
    return [BulkRun(run.run_id, run.uid) for run in page.rows]


def _refuse_at_limit(count: int) -> None:
    if count >= limits.bulk_jobs_running_max:
        raise Error(
            "BULK_LIMIT_REACHED",
            f"The project has {count} running bulk jobs, and {limits.bulk_jobs_running_max} is the maximum: wait for the"
            " end of one, or cancel one",
        )


@needs(Scope.RUNS_READ, bound="cannot read bulk jobs")
async def get(access: Access, job_id: str) -> BulkJob:
    """Return a job. Raises NOT_FOUND."""
    return existing(await access.store.bulk_jobs.get(access.project_id, job_id.lower()), "Bulk job")


@needs(Scope.RUNS_WRITE, bound="cannot cancel bulk jobs", records="bulk.cancel")
async def cancel(access: Access, job_id: str) -> BulkJob:
    """Stop a job: runs that it has not handled stay as they are. A job that has ended does not change."""
    return await access.recording.bulk_jobs.change(access.project_id, job_id.lower(), rules.cancel)


# The work


async def work(app: App, job: BulkJob) -> int:
    """Handle the next runs of a job, as its project's work, and store the progress. Returns their number.

    A crash, or another replica, may repeat them: each action has its effect once, and the progress counts once.
    """
    token = tenant.set(job.project_id)
    try:
        done, refusals = 0, list[Refusal]()
        principal, act = _principal(job), _ACTIONS[job.action]
        for run in await app.store.bulk_jobs.next_runs(job, limits.bulk_runs_per_tick_max):
            if app.stopping.is_set() or app.store.expected_wait_s() > limits.admission_wait_s_max:
                break  # the requests of others come first
            try:
                await act(app, principal, job, run)
            except Error as refusal:
                if refusal.code in _LATER:
                    break
                refusals.append(Refusal(run.run_id, refusal.code, refusal.message))
            except Exception:
                log.exception("a run of a bulk job failed", job=job.id, run=run.run_id)
                refusals.append(Refusal(run.run_id, "INTERNAL", "Something went wrong in the server"))
            else:
                done += 1
        if done or refusals:
            await app.store.bulk_jobs.advance(job, Progress(done, refusals))
        return done + len(refusals)
    finally:
        tenant.reset(token)


def _principal(job: BulkJob) -> Principal:
    """Return the caller that began the job, with the scopes that the job needs."""
    caller = _caller(job.caller)
    scopes = {Scope.RUNS_READ, Scope.RUNS_WRITE} | ({Scope.ADMIN} if job.action == "delete" else set())
    return Principal(
        kind=caller.kind,
        id=caller.id,
        grants={job.project_id: frozenset(scopes)},
        credential_id=caller.credential_id,
        name=caller.name,
        origin=Origin(caller.address, caller.request_id),
    )


async def _stored(app: App, job: BulkJob, run: BulkRun) -> Run:
    """Return the run as it is now. NOT_FOUND if it was deleted, also if a new run has its id."""
    found = await app.store.runs.get(RunKey(job.project_id, run.run_id))
    if found is None or found.uid != run.uid:
        raise not_found("Run")
    return found


async def _cancel(app: App, principal: Principal, job: BulkJob, run: BulkRun) -> None:
    await _stored(app, job, run)
    await runs.cancel(app, principal, RunRef(run.run_id, project=job.project_id), f"Bulk job {job.id}")


async def _retry(app: App, principal: Principal, job: BulkJob, run: BulkRun) -> None:
    first = await _stored(app, job, run)
    retry.refuse_active(first)
    # The id follows from the job and the run: a repeat finds the run that exists.
    run_id = f"run_{uuid.uuid5(uuid.UUID(job.id), run.uid)}"
    if await app.store.runs.get(RunKey(job.project_id, run_id)) is not None:
        return
    new, message = copy_request(first, principal)
    if (refusal := await app.quotas.refuse_more_runs(job.project_id, 1, principal)) is not None:
        raise refusal
    audit = by(principal, "run.retry", job.project_id, of=ObjectName("run", first.run_id))
    new = replace(new, run_id=run_id, root_run_id=run_id)
    await retry.store(app, first, new, message, job.from_step, audit, fresh=False)


async def _delete(app: App, principal: Principal, job: BulkJob, run: BulkRun) -> None:
    try:
        await _stored(app, job, run)
        await records.delete(app, principal, RunRef(run.run_id, project=job.project_id))
    except Error as refusal:
        if refusal.code != "NOT_FOUND":  # it is gone, as it should be
            raise


_Act = Callable[[App, Principal, BulkJob, BulkRun], Awaitable[None]]
_ACTIONS: Final[dict[BulkAction, _Act]] = {"cancel": _cancel, "retry": _retry, "delete": _delete}
