"""Batches: creating them with their runs, reading them, calling them off, and what follows once they are complete."""

import uuid
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from runstead.commands import locate
from runstead.commands.app import App
from runstead.commands.create import NewRun, again, conflict, draft, insert, push_agent
from runstead.core import limits
from runstead.core.batches import batch as rules
from runstead.core.batches.batch import Batch, Changed
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.identity.project import user_uuid
from runstead.core.runs import transitions
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.ports.store import BatchQuery, Made, Member, RunKey, RunQuery

encode = msgspec.json.Encoder().encode


class FollowUp(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that is created once the batch is complete: `task:…` or `workflow:…`, and what it is configured with."""

    target: str
    config: dict[str, msgspec.Raw] = {}


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs to be created together. Those without an owner belong to the batch's project; none is an agent's."""

    runs: Sequence[NewRun]
    name: str | None = None
    on_complete: FollowUp | None = None


async def create(
    app: App, principal: Principal, ref: str, new: NewBatch, idempotency: IdempotencyRecord | None = None
) -> Made:
    """Store the batch with all its runs, or nothing.

    What is wrong with a run is told as for `POST /runs`, with its place: RUN_ID_CONFLICT, NOT_FOUND (project, parent),
    PARENT_CANCELLED, FAMILY_TOO_DEEP, INVALID_REQUEST.
    """
    refuse_bound(principal, "makes no batches")
    project = await locate.project(app, principal, Scope.RUNS_WRITE, ref)
    batch = Batch(
        str(uuid.uuid4()),
        project.id,
        0,
        name=new.name,
        created_by=user_uuid(principal.id),
        on_complete=None if new.on_complete is None else encode(new.on_complete),
    )
    _refuse_twins(new.runs)
    members = [
        _member(place, replace(one, owner_id=_owner(place, one, project.id)), batch, principal)
        for place, one in enumerate(new.runs)
    ]
    await _see_parents(app, project.id, new.runs)
    made = await app.store.batches.create(batch, members, idempotency)
    for written in made.runs:
        app.publish(written)
    return made


def at(place: int, refusal: Error) -> Error:
    """A refusal of one run as a refusal of the whole batch."""
    errors = refusal.errors or (("$", refusal.message),)
    return Error(
        refusal.code,
        f"runs[{place}]: {refusal.message}",
        errors=tuple((f"$.runs[{place}]{path.removeprefix('$')}", why) for path, why in errors),
    )


def _refuse_twins(runs: Sequence[NewRun]) -> None:
    first: dict[str, int] = {}
    for place, one in enumerate(runs):
        if one.run_id is not None and first.setdefault(one.run_id, place) != place:
            why = f"The same public_id stands at runs[{first[one.run_id]}]"
            raise at(place, Error("INVALID_REQUEST", why, errors=(("$.public_id", "given twice"),)))


async def _see_parents(app: App, project_id: str, runs: Sequence[NewRun]) -> None:
    """Where a parent is not there, tell which run's: the store, which has the last word, tells only that one is not."""
    first: dict[str, int] = {}
    for place, one in enumerate(runs):
        if one.parent_run_id is not None:
            first.setdefault(one.parent_run_id, place)
    for parent_run_id, place in first.items():
        if await app.store.runs.get(RunKey(project_id, parent_run_id)) is None:
            raise at(place, not_found("Parent run"))


def _owner(place: int, one: NewRun, project_id: str) -> str:
    if one.owner_id not in ("", project_id):
        why = "The owner of a run is the project of its batch: leave it out"
        raise at(place, Error("INVALID_REQUEST", why, errors=(("$.owner.id", "another project"),)))
    return project_id


def _member(place: int, one: NewRun, batch: Batch, principal: Principal) -> Member:
    made, message = draft(one, batch.project_id, principal)
    run = replace(made, batch_id=batch.id)

    def decide(loaded: Loaded) -> Transition:
        try:
            if loaded.run is not None:
                raise conflict(loaded.run)
            return insert(run, message, loaded)
        except Error as refusal:
            raise at(place, refusal) from None

    return Member(RunKey(batch.project_id, run.run_id), decide, Want(parent_run_id=one.parent_run_id))


async def get(app: App, principal: Principal, ref: str, batch_id: str) -> Batch:
    refuse_bound(principal, "reads no batches")
    return await _located(app, principal, Scope.RUNS_READ, ref, batch_id)


async def _located(app: App, principal: Principal, scope: Scope, ref: str, batch_id: str) -> Batch:
    project = await locate.project(app, principal, scope, ref)
    found = await app.store.batches.get(project.id, batch_id.lower())
    if found is None:
        raise not_found("Batch")
    return found


async def page(app: App, principal: Principal, ref: str, limit: int, before: int | None) -> list[Batch]:
    """The project's batches, newest first."""
    refuse_bound(principal, "lists no batches")
    project = await locate.project(app, principal, Scope.RUNS_READ, ref)
    return await app.store.batches.page(BatchQuery(project.id, limit, before))


async def retry(
    app: App,
    principal: Principal,
    ref: str,
    batch_id: str,
    *,
    cancelled: bool,
    name: str | None = None,
    idempotency: IdempotencyRecord | None = None,
) -> Made:
    """A new batch with the requests of the runs that have failed (and of those that were cancelled), oldest first, and
    with what follows the first one: all of them, or none. A batch that is complete changes no more, so that reading it
    beforehand is safe. Without a name it is called as the first one.

    NOT_FOUND, BATCH_NOT_RETRIABLE; PARENT_CANCELLED where a run stands below one that was cancelled.
    """
    refuse_bound(principal, "retries no batches")
    first = await _located(app, principal, Scope.RUNS_WRITE, ref, batch_id)
    if first.completed_at is None:
        told = f"Only a batch whose runs have all ended can be tried again: it is {first.status}"
        raise Error("BATCH_NOT_RETRIABLE", told)
    ended = await _to_retry(app, first, ("failed", "cancelled") if cancelled else ("failed",))
    batch = Batch(
        str(uuid.uuid4()),
        first.project_id,
        0,
        name=first.name if name is None else name,
        created_by=user_uuid(principal.id),
        on_complete=first.on_complete,
    )
    made = await app.store.batches.create(
        batch, [_once_more(one, batch, principal) for one in ended], idempotency
    )
    for written in made.runs:
        app.publish(written)
    return made


async def _to_retry(app: App, batch: Batch, statuses: tuple[str, ...]) -> list[Run]:
    """The batch's runs with these ends, oldest first. BATCH_NOT_RETRIABLE where there are none, or too many."""
    query = RunQuery(
        (batch.project_id,), statuses=statuses, batch_id=batch.id, limit=limits.batch_retry_page_rows
    )
    found: list[Run] = []
    size = 0
    while page := await app.store.runs.page(query):
        # What they came to is of no use here, and may be large.
        found += [replace(run, output=None, logs=None, metadata=None, error=None) for run in page]
        size += sum(len(one or b"") for run in page for one in (run.config, run.input, run.request_snapshot))
        if len(found) > limits.runs_per_batch_max or size > limits.batch_retry_bytes_max:
            most = f"{limits.runs_per_batch_max:,} runs, or {limits.batch_retry_bytes_max // limits.MIB} MiB of them"
            told = f"More than {most}, would be tried again together: retry them one by one"
            raise Error("BATCH_NOT_RETRIABLE", told)
        query = replace(query, before=(None, page[-1].seq))
    if not found:
        told = "has failed or was cancelled" if "cancelled" in statuses else "has failed"
        raise Error(
            "BATCH_NOT_RETRIABLE", f"No run that is kept of the batch {told}: there is nothing to try again"
        )
    return found[::-1]


def _once_more(first: Run, batch: Batch, principal: Principal) -> Member:
    made, message = again(first, principal)
    run = replace(made, batch_id=batch.id)

    def decide(loaded: Loaded) -> Transition:
        try:
            return insert(run, message, loaded)
        except Error as refusal:
            raise Error(refusal.code, f"{first.run_id}: {refusal.message}") from None

    want = Want(parent_run_id=first.parent_run_id, push_agent=push_agent(run))
    return Member(RunKey(batch.project_id, run.run_id), decide, want)


async def cancel(
    app: App,
    principal: Principal,
    ref: str,
    batch_id: str,
    reason: str | None,
    idempotency: IdempotencyRecord | None = None,
) -> Changed:
    """Call the batch off with every run of it that has not ended: `accepted` tells whether this call did it. What is left
    to do where the store fails meanwhile, or the server stops, a loop does.
    """
    refuse_bound(principal, "cancels no batches")
    found = await _located(app, principal, Scope.RUNS_WRITE, ref, batch_id)
    changed = await app.store.batches.change(
        found.project_id,
        found.id,
        lambda batch, now: rules.cancel(batch, now=now, reason=reason),
        idempotency,
    )
    if not changed.accepted:
        return changed
    try:
        await finish_cancel(app, changed.batch, limits.batch_cancel_rounds_max)
    except Error as trouble:
        if trouble.retry_after_s is None:
            raise
    return replace(changed, batch=await app.store.batches.get(found.project_id, found.id) or changed.batch)


async def finish_cancel(app: App, batch: Batch, rounds: int) -> int:
    """Cancel what is left of a batch that was called off, a bounded piece in each of so many transactions at most; how
    many runs.
    """

    def decide(run: Run, now: int) -> Transition:
        return transitions.cancel(run, now=now, reason=batch.cancel_reason)

    count = 0
    for _ in range(rounds):
        cancelled = await app.store.batches.cancel_some(batch, limits.batch_cancel_rows_max, decide)
        count += len(cancelled)
        for written in cancelled:
            app.publish(written)
        if not cancelled or app.stopping.is_set():
            break
    return count


async def follow_up(app: App, batch: Batch) -> None:
    """Create the run of `on_complete`, once: its id is the batch's, so a repeat finds it there."""
    assert batch.on_complete is not None
    told = msgspec.json.decode(batch.on_complete, type=FollowUp)
    kind, _, name = told.target.partition(":")
    run = Run(
        uid=str(uuid.uuid4()),
        project_id=batch.project_id,
        run_id=batch.follow_up_id,
        kind="workflow" if kind == "workflow" else "task",
        status=RunStatus.PENDING,
        owner_kind="project",
        owner_id=batch.project_id,
        root_run_id=batch.follow_up_id,
        created_at=0,
        updated_at=0,
        target=told.target,
        workflow_id=name if kind == "workflow" else None,
        trigger_kind="api",
        trigger_id=batch.id,
        created_by=batch.created_by,
        title=batch.name,
        config=encode(told.config | {"batch": rules.batch_summary(batch)}),
    )

    def decide(loaded: Loaded) -> Transition:
        return Transition(loaded.run, duplicate=True) if loaded.run is not None else insert(run, None, loaded)

    app.publish(await app.store.runs.apply(RunKey(batch.project_id, run.run_id), decide))
    await app.store.batches.change(
        batch.project_id, batch.id, lambda now_is, now: rules.followed_up(now_is, now=now)
    )
