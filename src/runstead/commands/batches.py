"""Batches of runs: create, read, retry and cancel them, and create the follow-up run."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from runstead.commands import create as creating
from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.commands.create import NewRun
from runstead.core import limits
from runstead.core.audit import ObjectName, by
from runstead.core.batches import batch as rules
from runstead.core.batches.batch import Batch, Changed
from runstead.core.errors import Error, existing, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import Project
from runstead.core.identity.tenant import tenant
from runstead.core.runs import transitions
from runstead.core.runs.flow import wanted_keys
from runstead.core.runs.run import Run, RunStatus
from runstead.core.runs.transition import NOTHING_ELSE, Loaded, Transition, Want, audited
from runstead.ports.store import BatchQuery, ListPage, Made, Member, RunKey, RunQuery

encode = msgspec.json.Encoder().encode
T = TypeVar("T")


class FollowUp(msgspec.Struct, frozen=True, omit_defaults=True):
    """The run that is created when the batch completes. `target` is `task:…` or `workflow:…`."""

    target: str
    config: dict[str, msgspec.Raw] = {}


class NewBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs to create together, none of kind agent. A run without an owner belongs to the batch's project."""

    runs: Sequence[NewRun]
    name: str | None = None
    on_complete: FollowUp | None = None


def turn(app: App) -> AbstractAsyncContextManager[None]:
    """Hold a slot while a batch is created: each tenant creates few at the same time, so that other requests are
    served between two of its batches. PROJECT_BUSY, STORE_BUSY.
    """
    return app.batch_slots.hold(tenant.get())


@needs(Scope.RUNS_WRITE, bound="cannot create batches")
async def create(access: Access, new: NewBatch, idempotency: Idempotency = None) -> Made:
    """Create the batch with all its runs, or nothing. The caller holds its `turn`. A run that exists already and takes
    the place of a new one, by the keys of its flow, does not join the batch.

    Raises RUN_ID_CONFLICT, NOT_FOUND (project, parent), PARENT_CANCELLED, FAMILY_TOO_DEEP, INVALID_REQUEST.
    An error of one run names its index.
    """
    app, principal, project = access.app, access.principal, access.project
    batch = Batch(
        str(uuid.uuid4()),
        project.id,
        0,
        name=new.name,
        created_by=access.user,
        on_complete=None if new.on_complete is None else encode(new.on_complete),
    )
    _refuse_duplicates(new.runs)
    async for index, run in in_pieces(new.runs):
        await creating.check_input(app, project.id, run, f"$.runs[{index}].request.input")
    ids = _new_ids()
    members = [
        _member(
            index,
            replace(run, owner_id=_owner(index, run, project), run_id=run.run_id or next(ids)),
            batch,
            principal,
        )
        async for index, run in in_pieces(new.runs)
    ]
    await _check_parents(app, project.id, new.runs)
    if (refusal := await app.quotas.refuse_more_runs(project.id, len(new.runs), principal)) is not None:
        raise refusal
    return await _store(app, batch, members, idempotency)


async def _store(app: App, batch: Batch, members: Sequence[Member], idempotency: Idempotency) -> Made:
    created = await app.store.batches.create(batch, members, idempotency)
    async for _, written in in_pieces(created.runs):
        app.publish(written)
    return created


def _new_ids() -> Iterator[str]:
    """Return random ids of runs that begin alike, so that they are neighbours in the index of ids. Otherwise a batch
    changes most pages of a large index.
    """
    start = f"run_{creating.new_uuid()[:8]}"
    while True:
        yield start + creating.new_uuid()[8:]


async def in_pieces(items: Iterable[T]) -> AsyncIterator[tuple[int, T]]:
    """Enumerate many items. The event loop serves other requests between two pieces of them."""
    for index, item in enumerate(items):
        if index % limits.batch_piece_rows == limits.batch_piece_rows - 1:
            await asyncio.sleep(0)
        yield index, item


def at_index(index: int, refusal: Error) -> Error:
    """Convert the error of one run into an error of the batch that names the run's index."""
    errors = refusal.errors or (("$", refusal.message),)
    return Error(
        refusal.code,
        f"runs[{index}]: {refusal.message}",
        errors=tuple((f"$.runs[{index}]{path.removeprefix('$')}", why) for path, why in errors),
    )


def _refuse_duplicates(runs: Sequence[NewRun]) -> None:
    """Refuse two runs with one id, or with one key that only one of them could have."""
    first: dict[tuple[str, str | None, str | None], int] = {}
    for index, run in enumerate(runs):
        keys = wanted_keys(run.flow, run.target)
        for member, target, key in (
            ("public_id", None, run.run_id),
            *(
                (("unique.key", keys.target, keys.unique), ("debounce.key", keys.target, keys.debounce))
                if keys
                else ()
            ),
        ):
            if key is not None and first.setdefault((member, target, key), index) != index:
                message = f"runs[{first[member, target, key]}] has the same {member}"
                refusal = invalid_at(f"$.{member}", "duplicate", message)
                raise at_index(index, refusal)


async def _check_parents(app: App, project_id: str, runs: Sequence[NewRun]) -> None:
    """Name the run whose parent does not exist. The store checks again, but its error names no run."""
    first: dict[str, int] = {}
    for index, run in enumerate(runs):
        if run.parent_run_id is not None:
            first.setdefault(run.parent_run_id, index)
    for parent_run_id, index in first.items():
        if await app.store.runs.get(RunKey(project_id, parent_run_id)) is None:
            raise at_index(index, not_found("Parent run"))


def _owner(index: int, run: NewRun, project: Project) -> str:
    if run.owner_id not in ("", project.id, project.slug):
        message = "The owner of a run is the project of its batch: leave owner out"
        raise at_index(index, invalid_at("$.owner.id", "another project", message))
    return project.id


def _member(index: int, new: NewRun, batch: Batch, principal: Principal) -> Member:
    drafted, message = creating.draft(new, batch.project_id, principal)
    run = replace(drafted, batch_id=batch.id)

    def decide(loaded: Loaded) -> Transition:
        try:
            if loaded.run is not None:
                raise creating.conflict(loaded.run)
            existing = transitions.find_existing(run, new.flow, loaded)
            return creating.insert(run, message, loaded, new.flow) if existing is None else existing
        except Error as refusal:
            raise at_index(index, refusal) from None

    want = NOTHING_ELSE
    if new.parent_run_id is not None or new.flow.finds_runs:
        want = Want(parent_run_id=new.parent_run_id, keys=wanted_keys(new.flow, run.target))
    return Member(RunKey(batch.project_id, run.run_id), decide, want)


@needs(Scope.RUNS_READ, bound="cannot read batches")
async def get(access: Access, batch_id: str) -> Batch:
    """Return a batch. Raises NOT_FOUND."""
    return await _stored(access, batch_id)


async def _stored(access: Access, batch_id: str) -> Batch:
    return existing(await access.store.batches.get(access.project_id, batch_id.lower()), "Batch")


@needs(Scope.RUNS_READ, bound="cannot list batches")
async def page(access: Access, limit: int, before: int | None) -> ListPage[Batch]:
    """List the project's batches, newest first."""
    return await access.store.batches.page(BatchQuery(access.project_id, limit, before))


@needs(Scope.RUNS_WRITE, bound="cannot retry batches")
async def retry(
    access: Access,
    batch_id: str,
    *,
    cancelled: bool,
    name: str | None = None,
    idempotency: Idempotency = None,
) -> Made:
    """Create a batch of the requests of failed runs (with `cancelled`, of cancelled ones too), or nothing.

    The runs keep their order, oldest first. The new batch has the same follow-up, and the same name unless
    `name` is given. A complete batch does not change, so it is safe to read it before the transaction.

    Raises NOT_FOUND, BATCH_NOT_RETRIABLE; PARENT_CANCELLED where the parent of a run was cancelled.
    """
    first = await _stored(access, batch_id)
    if first.completed_at is None:
        message = f"Only a batch whose runs have all ended can be retried: it is {first.status}"
        raise Error("BATCH_NOT_RETRIABLE", message)
    async with turn(access.app):
        return await _retry(access, first, cancelled=cancelled, name=name, idempotency=idempotency)


async def _retry(
    access: Access, first: Batch, *, cancelled: bool, name: str | None, idempotency: Idempotency
) -> Made:
    app, principal = access.app, access.principal
    ended = await _to_retry(app, first, ("failed", "cancelled") if cancelled else ("failed",))
    batch = Batch(
        str(uuid.uuid4()),
        first.project_id,
        0,
        name=first.name if name is None else name,
        created_by=access.user,
        on_complete=first.on_complete,
    )
    if (refusal := await app.quotas.refuse_more_runs(first.project_id, len(ended), principal)) is not None:
        raise refusal
    ids = _new_ids()
    first_member, *others = [_retried(run, next(ids), batch, principal) async for _, run in in_pieces(ended)]
    of = ObjectName("batch", first.id)
    audit = by(principal, "batch.retry", first.project_id, of=of, batch_id=batch.id, runs=len(ended))
    # One entry for all runs: it is stored with the first of them.
    members = [first_member._replace(decide=audited(first_member.decide, audit)), *others]
    return await _store(app, batch, members, idempotency)


async def _to_retry(app: App, batch: Batch, statuses: tuple[str, ...]) -> list[Run]:
    """Return the batch's runs with these statuses, oldest first.

    Raises BATCH_NOT_RETRIABLE for none or too many.
    """
    query = RunQuery(
        (batch.project_id,),
        statuses=statuses,
        batch_id=batch.id,
        limit=limits.batch_retry_page_rows,
        omit=frozenset({"output", "logs", "metadata", "error", "artifacts"}),
        bytes_max=limits.batch_retry_bytes_max,
    )
    found: list[Run] = []
    size = 0
    while page := (await app.store.runs.page(query)).rows:
        found += page
        size += sum(
            len(text or b"") for run in page for text in (run.config, run.input, run.request_snapshot)
        )
        if len(found) > limits.runs_per_batch_max or size > limits.batch_retry_bytes_max:
            most = f"{limits.runs_per_batch_max:,} runs, or {limits.batch_retry_bytes_max // limits.MIB} MiB of them"
            message = f"The batch has more than {most}, to retry: retry its runs one by one"
            raise Error("BATCH_NOT_RETRIABLE", message)
        query = replace(query, before=(None, page[-1].seq))
    if not found:
        kinds = "failed or cancelled" if "cancelled" in statuses else "failed"
        raise Error("BATCH_NOT_RETRIABLE", f"The batch has no {kinds} runs left: there is nothing to retry")
    return found[::-1]


def _retried(first: Run, run_id: str, batch: Batch, principal: Principal) -> Member:
    copied, message = creating.copy_request(first, principal)
    run = replace(copied, batch_id=batch.id, run_id=run_id, root_run_id=run_id)

    def decide(loaded: Loaded) -> Transition:
        try:
            return creating.insert(run, message, loaded)
        except Error as refusal:
            raise Error(refusal.code, f"{first.run_id}: {refusal.message}") from None

    want = Want(parent_run_id=first.parent_run_id, push_agent=creating.push_agent(run))
    return Member(RunKey(batch.project_id, run.run_id), decide, want)


@needs(Scope.RUNS_WRITE, bound="cannot cancel batches", records="batch.cancel")
async def cancel(
    access: Access, batch_id: str, reason: str | None, idempotency: Idempotency = None
) -> Changed:
    """Cancel the batch and its active runs. `accepted` is true if this call cancelled the batch.

    If the store fails or the server stops before all runs are cancelled, a loop cancels the others.
    """
    app, found = access.app, await _stored(access, batch_id)
    changed = await access.recording.batches.change(
        found.project_id,
        found.id,
        lambda batch, now: rules.cancel(batch, now=now, reason=reason),
        idempotency,
    )
    if not changed.accepted:
        return changed
    try:
        await finish_cancel(app, changed.batch, limits.batch_cancel_rounds_max)
    except Error as error:
        if error.retry_after_s is None:
            raise
    return replace(changed, batch=await app.store.batches.get(found.project_id, found.id) or changed.batch)


async def finish_cancel(app: App, batch: Batch, rounds: int) -> int:
    """Cancel the active runs of a cancelled batch, in at most `rounds` bounded transactions.

    Returns their number.
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
    """Create the run of `on_complete`.

    Its id is derived from the batch, so a repeated call creates no second run.
    """
    assert batch.on_complete is not None
    follow = msgspec.json.decode(batch.on_complete, type=FollowUp)
    kind, _, name = follow.target.partition(":")
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
        target=follow.target,
        workflow_id=name if kind == "workflow" else None,
        trigger_kind="api",
        trigger_id=batch.id,
        created_by=batch.created_by,
        title=batch.name,
        config=encode(follow.config | {"batch": rules.batch_summary(batch)}),
    )

    def decide(loaded: Loaded) -> Transition:
        return (
            Transition(loaded.run, duplicate=True)
            if loaded.run is not None
            else creating.insert(run, None, loaded)
        )

    app.publish(await app.store.runs.apply(RunKey(batch.project_id, run.run_id), decide))
    await app.store.batches.change(
        batch.project_id, batch.id, lambda current, now: rules.followed_up(current, now=now)
    )
