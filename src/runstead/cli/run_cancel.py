"""`runstead runs cancel`: runs by id, or all that match a filter."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from runstead.cli.run_group import runs
from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected, describe
from runstead.cli.shared.exit_codes import USAGE
from runstead.cli.shared.options import AsJson, Yes
from runstead.cli.shared.output import confirm, fail, write_err, write_out
from runstead.cli.shared.parsing import check_targets, label_filters
from runstead.cli.shared.render import document, safe

if TYPE_CHECKING:
    from runstead.sdk import Client

ActiveStatus = Literal["pending", "running", "waiting"]
_ACTIVE: tuple[ActiveStatus, ...] = ("pending", "running", "waiting")


@runs.command(name="cancel")
def cancel_runs(
    run_ids: Annotated[list[str] | None, Parameter(help="Ids of runs")] = None,
    /,
    *,
    status: Annotated[
        list[ActiveStatus] | None, Parameter(help="Instead of ids: all runs in it; may repeat")
    ] = None,
    target: Annotated[list[str] | None, Parameter(help="Instead of ids: all runs of it; may repeat")] = None,
    label: Annotated[list[str] | None, Parameter(help="Instead of ids: name=value; may repeat")] = None,
    yes: Yes = False,
    reason: Annotated[str | None, Parameter(help="Recorded with the cancellation")] = None,
    server: ServerOptions = NO_OPTIONS,
    json: AsJson = False,
) -> None:
    """Cancel runs and their descendants that have not ended. With a filter, it shows how many and asks."""
    check_targets(target)
    filters: dict[str, Any] = {"target": target, "label": label_filters(label)}
    filters = {name: one for name, one in filters.items() if one}
    by_filter = bool(status or filters)
    if by_filter == bool(run_ids):
        fail("name runs, or choose them with --status, --target and --label, not both", USAGE)
    with connected(server, project=by_filter) as client:
        wanted = run_ids or _matching(client, status or _ACTIVE, filters)
        if not wanted:
            write_err("no matching runs")
            return
        if by_filter:
            confirm(f"{_sentence(wanted)}?", yes=yes)
        failures = _cancel(client, list(wanted), reason, json=json)
    if failures:
        sys.exit(1)


def _matching(client: "Client", statuses: Any, filters: dict[str, Any]) -> dict[str, str]:
    """The ids of all matching runs with their statuses."""
    found = client.runs.iter(status=statuses, fields=("status",), limit=100, **filters)
    return {run.run_id: run.status for run in found}


def _sentence(wanted: Any) -> str:
    counts = Counter(wanted.values())
    parts = ", ".join(f"{counts[one]:,} {one}" for one in _ACTIVE if counts[one])
    total = len(wanted)
    return f"Cancel {total:,} {'run' if total == 1 else 'runs'} ({parts}) with their descendants"


def _cancel(client: "Client", run_ids: list[str], reason: str | None, *, json: bool) -> int:
    """Cancel each run. Return the number of those that could not be cancelled."""
    from runstead.sdk import NoAnswerError, RunsteadError  # noqa: PLC0415

    failures = 0
    for run_id in run_ids:
        try:
            done = client.runs.cancel(run_id, reason=reason)
        except NoAnswerError:
            raise
        except RunsteadError as error:  # the other runs are cancelled nevertheless
            if error.status == 401:
                raise
            failures += 1
            write_err(f"runstead: {safe(run_id)}: {safe(describe(error))}")
            continue
        if json:
            write_out(document(done), flush=True)
        else:
            how = "cancelled" if done.cancelled else f"already ended: {done.run.status}"
            write_out(f"{safe(run_id)}  {how}", flush=True)
    return failures
