"""Retry an ended run: from its beginning, or from one of its steps."""

from typing import Final

import msgspec
from msgspec.structs import replace

from runstead.commands import locate, targets
from runstead.commands.app import App
from runstead.commands.budgets import RunBudget
from runstead.commands.create import copy_request, insert, push_agent
from runstead.core import limits
from runstead.core.audit import Audit, ObjectName, by
from runstead.core.budgets.budget import Budget
from runstead.core.errors import Error, invalid_at, not_found
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal, Scope, refuse_bound
from runstead.core.runs import retry_from
from runstead.core.runs.run import Run
from runstead.core.runs.transition import Loaded, NewMessage, Transition, Want, audited
from runstead.ports.store import RunKey, Written

#: Events and bytes of the log that one read returns.
_PAGE_EVENTS = limits.event_rows_max
_PAGE_BYTES = limits.event_page_bytes_max


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a retry has in place of the members of the ended run. None: the same. Members of type bytes are JSON text."""

    from_step: str | None = None
    input: bytes | None = None
    config: bytes | None = None
    title: str | None = None
    labels: bytes | None = None


UNCHANGED: Final = Changes()


async def retry(
    app: App,
    principal: Principal,
    run_id: str,
    project: str | None,
    changes: Changes = UNCHANGED,
    idempotency: Idempotency = None,
) -> Written:
    """Create a new run with the request of an ended run; `retry_of` names that run.

    With `from_step` it goes on from there: its log begins with the results of the steps before. The new run joins the
    same batch, unless the batch is closed, and has a budget like that of the run. The retry of
    a compensation is one too, although its parent was cancelled. Compensations that the run registered are not copied.
    Raises NOT_FOUND, RUN_NOT_TERMINAL, PARENT_CANCELLED, STEP_NOT_FOUND,
    RETRY_TOO_LARGE; INVALID_REQUEST for a config of an agent run, and for an input that its target refuses.
    """
    first = await locate.run(app, principal, Scope.RUNS_WRITE, run_id, project)
    refuse_active(first)
    refuse_bound(principal, "cannot create other runs")
    run, message = copy_request(first, principal)
    run = _changed(run, changes)
    if changes.input is not None and run.target is not None:
        given = run.request_snapshot if run.kind == "agent" else run.input
        await targets.check_input(app, first.project_id, run.target, given, "$.input")
    if (refusal := await app.quotas.refuse_more_runs(first.project_id, 1, principal)) is not None:
        raise refusal
    audit = by(principal, "run.retry", first.project_id, of=ObjectName("run", first.run_id))
    return await store(app, first, run, message, changes.from_step, audit, idempotency)


async def store(
    app: App,
    first: Run,
    run: Run,
    message: NewMessage | None,
    from_step: str | None,
    audit: Audit,
    idempotency: Idempotency = None,
    *,
    fresh: bool = True,
) -> Written:
    """Store a retry of the ended run `first`, with the log before `from_step`, in one transaction.

    `fresh`: its id was generated for this call. Otherwise the run of this id is returned if it exists.
    """
    log = None if from_step is None else await _log_before(app, first, from_step, run.run_id)
    budget = await _same_budget(app, first, run)

    def decide(loaded: Loaded) -> Transition:
        if loaded.run is not None:
            return Transition(loaded.run, duplicate=True)
        closed = loaded.batch is not None and loaded.batch.closed
        new = insert(
            replace(run, batch_id=None) if closed else run,
            message,
            loaded,
            compensates=first.compensates is not None,
        )
        if budget is not None:
            new = replace(new, budget=budget)
        if log is None:
            return new
        # It was deleted, perhaps with its artifacts. Another run may have its id.
        if loaded.source is None or loaded.source.uid != first.uid:
            raise not_found("Run")
        return log.begin(new, first, loaded.now)

    want = Want(
        parent_run_id=first.parent_run_id,
        push_agent=push_agent(run),
        batch_id=first.batch_id,
        source_run_id=None if log is None else first.run_id,
        fresh=fresh,
    )
    written = await app.store.runs.apply(
        RunKey(first.project_id, run.run_id), audited(decide, audit), want, idempotency
    )
    app.publish(written)
    return written


async def _same_budget(app: App, first: Run, run: Run) -> Budget | None:
    """Return a budget like the one that was given to the first run."""
    given = await app.store.budgets.given_to(first)
    if given is None:
        return None
    return RunBudget(**{name: getattr(given, name) for name in RunBudget.__struct_fields__}).of(run)


def refuse_active(run: Run) -> None:
    if not run.terminal:
        raise Error("RUN_NOT_TERMINAL", f"Only a run that has ended can be retried: it is {run.status.value}")


def _changed(run: Run, changes: Changes) -> Run:
    given = {
        name: value for name in ("config", "input", "title", "labels") if (value := getattr(changes, name))
    }
    if run.kind != "agent":
        return replace(run, **given)
    if changes.config is not None:
        raise invalid_at(
            "$.config", "an agent run has none", "A run of kind agent has no config: change its input"
        )
    if changes.input is not None and len(changes.input) >= limits.request_snapshot_bytes_max:
        raise Error("REQUEST_SNAPSHOT_TOO_LARGE", "Agent run request snapshot payload must be less than 2 MB")
    return replace(run, request_snapshot=given.pop("input", run.request_snapshot), **given)


async def _log_before(app: App, source: Run, from_step: str, new_run_id: str) -> retry_from.Log:
    """Read the log of an ended run, which does not change any more, and return what its retry begins with."""
    copy, after = retry_from.Copy(source, from_step), 0
    while events := await app.store.runs.events(
        source.seq, after, _PAGE_EVENTS, _PAGE_BYTES, retry_from.TYPES, known=source.latest_event_id
    ):
        copy.add(events)
        after = events[-1].event_id
    return copy.finish(new_run_id)
