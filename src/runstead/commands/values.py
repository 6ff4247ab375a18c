"""A run's named values: read. Its worker sets them by appending events."""

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.identity.principal import Principal
from runstead.core.runs.values import RunValue


async def of_run(app: App, principal: Principal, run_ref: RunRef, name: str | None = None) -> list[RunValue]:
    """Return the run's values in the order of their names, or only the value of one name. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    return await app.store.runs.values(run.seq, name)
