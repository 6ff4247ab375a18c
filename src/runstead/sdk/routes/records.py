"""Pausing a run, naming it, deleting it, and what it used."""

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from runstead.sdk.models.run import Accepted, Deleted, Run, Waiting
from runstead.sdk.models.usage import Usage
from runstead.sdk.routes.call import Call, new_key, path
from runstead.sdk.routes.route import RouteGroup, route


class RecordRoutes(RouteGroup):
    """404 for a run that is unknown or not visible to the caller."""

    @route
    def pause(self, run_id: str) -> Call[Waiting]:
        """`POST /runs/{run_id}/pause`: hold the run back from workers until `unpause`.

        A worker that has it loses its lease, which does not count as a lost attempt. 409 RUN_ALREADY_WAITING where it
        waits for something, 410 RUN_NOT_ACTIVE where it has ended.
        """
        return Call("POST", path("runs", run_id, "pause"), Waiting, body={}, idempotency_key=new_key())

    @route
    def unpause(self, run_id: str) -> Call[Accepted]:
        """`POST /runs/{run_id}/resume` with the type `unpause`. 409 where the run is not paused."""
        body = {"type": "unpause"}
        return Call("POST", path("runs", run_id, "resume"), Accepted, body=body, idempotency_key=new_key())

    @route
    def update_run(
        self,
        run_id: str,
        *,
        title: str | UnsetType | None = UNSET,
        labels: Mapping[str, str] | UnsetType | None = UNSET,
        if_match: str = "*",
    ) -> Call[Run]:
        """`PATCH /runs/{run_id}`: set title and labels, in any state. None takes one away, labels are replaced whole.

        With `if_match=run.etag`, 412 PRECONDITION_FAILED where the run has changed since; `*` asks for nothing.
        """
        body = {name: value for name, value in (("title", title), ("labels", labels)) if value is not UNSET}
        return Call(
            "PATCH",
            path("runs", run_id),
            Run,
            body=body,
            headers={"If-Match": if_match},
            idempotency_key=new_key(),
        )

    @route
    def delete_run(self, run_id: str) -> Call[Deleted]:
        """`DELETE /runs/{run_id}`: remove an ended run with all that belongs to it. Needs the scope admin.

        409 RUN_NOT_TERMINAL or RUN_HAS_CHILDREN. Sent again after no answer, it may be 404: then it is done.
        """
        return Call("DELETE", path("runs", run_id), Deleted)

    @route
    def usage(self, run_id: str) -> Call[Usage]:
        """`GET /runs/{run_id}/usage`: the tokens that it and its family used, by model."""
        return Call("GET", path("runs", run_id, "usage"), Usage)
