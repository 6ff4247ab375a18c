"""Targets that workers have registered: listed, their inputs validated, and runs found that no worker serves."""

from runstead.commands.access import Access, needs
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.clock import now_ms
from runstead.core.errors import Error, invalid_at
from runstead.core.identity.principal import Scope
from runstead.core.queue.target import RegisteredTarget, TargetDefinition
from runstead.core.runs.run import Run, RunStatus
from runstead.ports.store import ListPage
from runstead.security.input_checks import TooLongError


@needs(Scope.RUNS_READ, bound="cannot list targets")
async def page(access: Access, after: str, limit: int) -> ListPage[RegisteredTarget]:
    """List the registered targets of a project, by name. Raises FORBIDDEN, NOT_FOUND."""
    return await access.store.targets.page(access.project_id, after, limit)


@needs(Scope.RUNS_READ)
async def get(access: Access, target: str) -> TargetDefinition | None:
    """Return how a target of a project is described. None: no worker has registered it. Raises FORBIDDEN, NOT_FOUND."""
    return await access.store.targets.get(access.project_id, target)


async def check_input(app: App, project_id: str, target: str, value: bytes | None, path: str) -> None:
    """Check the input of a new run (JSON text, at `path` of the request) where its target asks for it.

    INVALID_REQUEST with one error for each value that does not fit, at most `limits.input_errors_max`.
    """
    targets = app.targets.known(project_id) or await app.targets.of(project_id)
    state = targets.by_name.get(target)
    if state is None or state.input_schema is None:
        return
    try:
        found = await app.input_checks.faults(state.input_schema, value)
    except TooLongError:
        why = f"it cannot be checked within {limits.input_check_s_max:g} s: send less, or simplify the schema"
        raise invalid_at(path, why, f"The input of {target}: {path}: {why}") from None
    if found:
        errors = tuple((f"{path}{fault.place}", fault.message) for fault in found)
        where, message = errors[0]
        raise Error("INVALID_REQUEST", f"The input does not fit {target}: {where}: {message}", errors=errors)


async def check_schema(app: App, schema: bytes, path: str) -> None:
    """INVALID_REQUEST if a schema cannot validate, such as one that refers to another address."""
    try:
        await app.input_checks.schema(schema)
    except TooLongError:
        message = f"cannot be compiled within {limits.input_check_s_max:g} s: simplify its patterns"
    except ValueError as error:
        message = str(error).partition("\n")[0][: limits.audit_value_chars_max]
    else:
        return
    raise invalid_at(path, message, f"{path}: {message}")


async def unserved_since(app: App, run: Run, *, after_ms: int = 0) -> int | None:
    """Return since when (ms) a run is in the queue and no online worker serves its target.

    None: one serves it, or the run is not in the queue, or this is so for less than `after_ms`.
    """
    if run.status is not RunStatus.PENDING or run.claimable_at is None or run.push_service_id is not None:
        return None
    waits_since = max(run.claimable_at, run.created_at)
    if run.target is None or waits_since > now_ms():
        return None
    targets = await app.targets.of(run.project_id)
    state = targets.by_name.get(run.target)
    if targets.any_served or (state is not None and state.online):
        return None
    since = max(waits_since, (state is not None and state.last_seen_at) or 0)
    if after_ms and await app.store.schedules.now() < since + after_ms:
        return None
    return since
