"""The state of the servers and the store."""

from typing import Any

import msgspec

from runstead import __version__
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.principal import Principal, Scope, require_system
from runstead.core.identity.project import Project
from runstead.core.replica import Replica
from runstead.ports import metrics
from runstead.ports.store import Depth


class ProjectDepth(msgspec.Struct, frozen=True):
    """The depth of a project's queue.

    Counting stops at `limits.statistics_runs_max`, so that number means "or more".
    """

    project: Project
    depth: Depth


class System(msgspec.Struct, frozen=True):
    """The state of this server and of the store.

    `address` is the store's, without user and password. `facts` are `Store.facts`: queue_depth (of writes),
    commits and commands of this server since its start. `leader` is the id of the replica that leads, None if
    none does. `replica` is this server's own id, None if it is not registered. `depths` are of the oldest
    `limits.statistics_projects_max` projects that the caller administers; `counted_to` is the bound of their
    numbers.
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
    """Return the state of the system. Raises FORBIDDEN unless the caller has the scope system."""
    require_system(principal)
    ids = [project_id for project_id, scopes in principal.grants.items() if Scope.ADMIN in scopes]
    projects = await app.store.identity.projects(ids)
    shown = projects[: limits.statistics_projects_max]
    most = limits.statistics_runs_max
    depths = await app.store.statistics.depths([project.id for project in shown], most)
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


async def readiness(app: App) -> dict[str, Any]:
    """Prove that the store can commit. Returns its facts.

    Raises STORE_BUSY, STORE_UNAVAILABLE; SHUTTING_DOWN while the server stops.
    """
    if app.stopping.is_set():
        raise Error("SHUTTING_DOWN", "The server is stopping", retry_after_s=1)
    return await app.store.check()


def own_exposition(app: App) -> bytes:
    """Return the metrics of this process in Prometheus' text format."""
    if not app.leader_state.leads:
        app.store_metrics.forget()
    app.store_metrics.note_pools(app.store.pools())
    return metrics.exposition(app.store.facts(), app.leader_state, app.store_metrics)


async def exposition(app: App) -> bytes:
    """Return the metrics of all processes of the server in Prometheus' text format."""
    text = own_exposition(app)
    return text if app.exposition_of_all is None else await app.exposition_of_all(text)


async def note_replica(app: App) -> int:
    """Store that this server is alive. Returns 0 if it is not listed."""
    if app.replica is None:
        return 0
    await app.store.replicas.note(app.replica)
    return 1
