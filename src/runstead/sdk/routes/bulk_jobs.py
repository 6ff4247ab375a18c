"""Bulk jobs of a project."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypedDict, Unpack, cast

from runstead.sdk.models.bulk_job import BulkAnswer, BulkJob
from runstead.sdk.models.run import Kind, Status
from runstead.sdk.routes.call import Call, members, new_key
from runstead.sdk.routes.route import Resource, S_co, route

#: What the server answers: `pick` takes the job from it.
_ANSWER: Final = cast("type[BulkJob]", BulkAnswer)
#: Filters that the server takes as lists.
_LISTS: Final = ("status", "kind", "target", "label")


class BulkFilters(TypedDict, total=False):
    """Filters of a bulk job, with the meaning that they have in a list of runs. All must match; of a list, any one."""

    status: Status | Sequence[Status]
    kind: Kind | Sequence[Kind]
    target: str | Sequence[str]
    batch_id: str
    schedule_id: str
    parent_run_id: str
    root_only: bool
    label: str | Sequence[str]
    created_after: datetime
    created_before: datetime
    q: str


class BulkJobs(Resource[S_co]):
    """404 for a job that is unknown or not visible to the caller."""

    @route
    def create(
        self,
        action: Literal["cancel", "retry", "delete"],
        *,
        from_step: str | None = None,
        project: str | None = None,
        idempotency_key: str | None = None,
        **filters: Unpack[BulkFilters],
    ) -> Call[BulkJob]:
        """`POST /projects/{ref}/bulk`: begin an action on exactly the runs that match the filters now.

        `from_step` is that of `runs.retry`. TypeError for an unknown filter. Deletion needs the scope admin. 409
        BULK_TOO_LARGE for more than 10,000 runs, BULK_LIMIT_REACHED for a fifth running job.
        """
        if unknown := filters.keys() - BulkFilters.__annotations__.keys():
            raise TypeError(f"bulk_jobs.create has no filter {min(unknown)!r}")
        given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        for name in _LISTS:
            if isinstance(given.get(name), str):
                given[name] = [given[name]]
        where = self._in_project(project, "bulk")
        body = {"action": action, "filter": given} | members(from_step=from_step)
        return Call(
            "POST", where, _ANSWER, body=body, idempotency_key=idempotency_key or new_key(), pick=_job
        )

    @route
    def get(self, job_id: str, *, project: str | None = None) -> Call[BulkJob]:
        """`GET /projects/{ref}/bulk/{id}`: the job with its progress."""
        return Call("GET", self._in_project(project, "bulk", job_id), _ANSWER, pick=_job)

    @route
    def cancel(
        self, job_id: str, *, project: str | None = None, idempotency_key: str | None = None
    ) -> Call[BulkJob]:
        """`POST /projects/{ref}/bulk/{id}/cancel`: stop the job. What it has done stays."""
        where = self._in_project(project, "bulk", job_id, "cancel")
        return Call("POST", where, _ANSWER, body={}, idempotency_key=idempotency_key or new_key(), pick=_job)


def _job(answer: BulkAnswer) -> BulkJob:
    return answer.job
