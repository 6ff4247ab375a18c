"""Routes that pause, change and delete a run, and read its usage."""

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from runstead.sdk.models.push_service import RunEventToken
from runstead.sdk.models.run import Accepted, Deleted, Run, Waiting
from runstead.sdk.models.usage import Usage
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co


class RunRecords(Resource[S_co]):
    """404 for a run that is unknown or not visible to the caller."""

    @endpoint("POST", "/runs/{run_id}/pause", key="new", body={})
    def pause(self, run_id: str) -> Call[Waiting]:
        """Keep the run from workers until `unpause`.

        A worker that has the run loses its lease; this is not counted as a lost attempt. 409 RUN_ALREADY_WAITING where
        the run waits, 410 RUN_NOT_ACTIVE where it has ended.
        """

    @endpoint("POST", "/runs/{run_id}/resume", key="new", body={"type": "unpause"})
    def unpause(self, run_id: str) -> Call[Accepted]:
        """End a pause. 409 where the run is not paused."""

    @endpoint("PATCH", "/runs/{run_id}", key="new")
    def update(
        self,
        run_id: str,
        *,
        title: str | UnsetType | None = UNSET,
        labels: Mapping[str, str] | UnsetType | None = UNSET,
        if_match: str = "*",
    ) -> Call[Run]:
        """Set title and labels, in any state. None removes them. Labels are replaced as a whole.

        With `if_match=run.etag`: 412 PRECONDITION_FAILED where the run has changed since. `*` matches any version.
        """

    @endpoint("DELETE", "/runs/{run_id}")
    def delete(self, run_id: str) -> Call[Deleted]:
        """Delete an ended run with its events and artifacts. Needs the scope admin.

        409 RUN_NOT_TERMINAL or RUN_HAS_CHILDREN. A retry after no answer may be 404: then the run is deleted.
        """

    @endpoint("GET", "/runs/{run_id}/usage")
    def usage(self, run_id: str) -> Call[Usage]:
        """The tokens of the run and its family, by model."""

    @endpoint("POST", "/runs/{run_id}/children/{child_run_id}/event-writer-token", body={})
    def child_event_token(self, run_id: str, child_run_id: str) -> Call[RunEventToken]:
        """A token for the events of a child."""
