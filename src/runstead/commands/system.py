"""What an administrator sees of the servers and the store."""

from typing import Any

import msgspec

from runstead import __version__
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.identity.principal import Principal, Scope, projects_with, refuse_bound
from runstead.core.identity.project import Project
from runstead.core.replica import Replica
from runstead.ports.store import Depth


class ProjectDepth(msgspec.Struct, frozen=True):
    """A number of `limits.statistics_runs_max` (for the queue: of what is available and delayed together) may be larger."""

    project: Project
    depth: Depth


class System(msgspec.Struct, frozen=True):
    """`address` holds no user and no password; `facts` are `Store.facts`: queue_depth (of writes), commits, commands of
    this server since its start. `leader` is the id of the replica that leads, None where none does or the lead has run
    out; `replica` is this server's own id, None where it told nobody of itself.

    `depths` are of the projects that the caller administers, the oldest `limits.statistics_projects_max` of them;
    `counted_to` is the bound of their numbers.
    """

    version: str
    engine: str
    address: str
    facts: dict[str, Any]
    replica: str | None
    leads: bool
    term: int
    leader: str | None
    replicas: list[Replica]
    depths: list[ProjectDepth]
    projects_left_out: int
    counted_to: int


async def get(app: App, principal: Principal) -> System:
    """For those who administer a project. FORBIDDEN."""
    refuse_bound(principal, "sees nothing of the system")
    ids = projects_with(principal, Scope.ADMIN)
    projects = await app.store.identity.projects(ids)
    shown = projects[: limits.statistics_projects_max]
    most = limits.statistics_runs_max
    depths = await app.store.statistics.depths([one.id for one in shown], most)
    lead = await app.store.leadership.held()
    facts = app.store.facts()
    return System(
        version=__version__,
        engine=facts["engine"],
        address=app.store.address,
        facts=facts,
        replica=None if app.replica is None else app.replica.id,
        leads=app.leader_state.leads,
        term=app.leader_state.term,
        leader=lead.owner,
        replicas=await app.store.replicas.all(),
        depths=[ProjectDepth(*pair) for pair in zip(shown, depths, strict=True)],
        projects_left_out=len(projects) - len(shown),
        counted_to=most,
    )


async def note_replica(app: App) -> int:
    """Tell the others that this server is there."""
    if app.replica is None:
        return 0
    app.replica = await app.store.replicas.note(app.replica)
    return 1
