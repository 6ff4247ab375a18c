"""`runstead workers …`."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App

from runstead.cli.shared.command import Client, Output, command, listed, one_line
from runstead.cli.shared.render import Column, age_column

if TYPE_CHECKING:
    from runstead.sdk.models.lease import RegisteredTarget, RegisteredWorker, WorkerVersion

workers = App(name="workers", help="List and remove the workers of a project, and count their versions.")


@command(workers, "list", project=True)
def list_workers(
    client: Client,
    *,
    status: Annotated[Literal["active", "offline"] | None, "Only workers with this status"] = None,
    limit: Annotated[int, "Maximum number; 0: all"] = 100,
) -> Output:
    """List a project's workers. After two minutes without a heartbeat, a worker is offline."""
    every = client.workers.iter(status=status, limit=min(limit, 100) or 100)
    found = list(islice(every, limit or None))
    columns: list[Column[RegisteredWorker]] = [
        Column("WORKER", lambda one: one.id, keep_whole=True),
        Column("STATUS", lambda one: one.status, status=True),
        Column("KEY", lambda one: one.worker_key),
        age_column("LAST HEARTBEAT", lambda one: one.last_heartbeat_at, drop_rank=1),
        Column("VERSION", lambda one: one.version or "", drop_rank=3),
        Column("SERVES", _serves, drop_rank=4),
        Column("KIND", lambda one: one.implementation_kind, drop_rank=2),
        Column("NAME", lambda one: one.display_name or "", drop_rank=3),
    ]
    return listed(found, columns, "workers")


def _serves(worker: "RegisteredWorker") -> str:
    """The targets that a worker of the SDK has registered with."""
    targets = worker.metadata.get("targets") if isinstance(worker.metadata, dict) else None
    return ", ".join(map(str, targets)) if isinstance(targets, list) else ""


@command(workers, "targets", project=True)
def list_targets(client: Client, *, limit: Annotated[int, "Maximum number; 0: all"] = 100) -> Output:
    """List the targets that a project's workers have registered, and how many workers serve each."""
    found = list(islice(client.workers.iter_targets(limit=100), limit or None))
    columns: list[Column[RegisteredTarget]] = [
        Column("TARGET", lambda one: one.target, keep_whole=True),
        Column("ONLINE", lambda one: str(one.online), keep_whole=True),
        age_column("LAST SEEN", lambda one: one.last_seen_at, drop_rank=1),
        Column("VALIDATED", lambda one: "yes" if one.validate_input else "no", drop_rank=3),
        Column("VERSION", lambda one: one.version or "", drop_rank=4),
        Column("DESCRIPTION", lambda one: (one.description or "").partition("\n")[0], drop_rank=2),
    ]
    return listed(found, columns, "targets")


@command(workers, "versions", project=True)
def list_versions(client: Client) -> Output:
    """Show which versions of the code runs still need. Workers of a drained version may be stopped; one version alone
    is in use.
    """
    found = client.workers.versions()
    online = sum(one.workers_online for one in found)

    def state(one: "WorkerVersion") -> str:
        if one.drained:
            return "drained" if online > one.workers_online else "in use"
        return "needed"

    columns: list[Column[WorkerVersion]] = [
        Column("VERSION", lambda one: one.version or "(none)", keep_whole=True),
        Column("STATE", state),
        Column("WORKERS", lambda one: str(one.workers_online)),
        Column("PINNED", lambda one: str(one.pinned)),
        Column("PENDING", lambda one: str(one.runs_pending), drop_rank=1),
        Column("RUNNING", lambda one: str(one.runs_running), drop_rank=1),
        Column("WAITING", lambda one: str(one.runs_waiting), drop_rank=1),
    ]
    return listed(found, columns, "versions")


@command(workers, "remove")
def remove_worker(
    client: Client,
    worker_id: Annotated[str, "The worker's id, as `workers list` shows it"],
    /,
) -> Output:
    """Remove a worker. Its tokens end at once, and its attempts end as with a release."""
    removed = client.workers.remove(worker_id)
    ended = removed.attempts_ended
    result = {"removed": True, "attempts_ended": ended, "worker_id": worker_id}
    return one_line(result, f"{worker_id}  removed, attempts ended: {ended}")
