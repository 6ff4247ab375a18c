"""Routes that read runs and change their state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, Unpack

from runstead.sdk.models.lease import Heartbeat
from runstead.sdk.models.run import (
    Accepted,
    AccessToken,
    Attempt,
    AttemptList,
    Cancelled,
    CompensationList,
    Completed,
    OpenEvent,
    RegisteredCompensation,
    Run,
    RunList,
    RunPage,
    RunValues,
    Signal,
    Signalled,
    SignalPage,
    TerminalStatus,
    Waiting,
)
from runstead.sdk.models.value import packed
from runstead.sdk.routes.bulk_jobs import BulkFilters
from runstead.sdk.routes.call import Call, chosen, fence, idempotent, members, path, query
from runstead.sdk.routes.create import RunCreation
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.records import RunRecords
from runstead.sdk.routes.route import S_co, every, route

ResumeType = Literal["tool_result", "approval", "event", "input", "timer", "unpause"]
WaitReason = Literal["tool", "approval", "event", "input"]
_OF_ERROR: Final = {"error_code": "terminal_error_code", "error_message": "terminal_error_message"}
_FIELDS: Final = {"fields": partial(chosen, model=Run)}
_IF_ANY: Final = dict.fromkeys(("open_approvals", "open_events", "release"), lambda value: value or None)


class RunFilters(BulkFilters, total=False):
    """Filters of a list of runs. All filters must match; of a list of values, any one.

    `label` is `key:value`; `q` is text in the run id, title, target, labels or error; `limit` is 1 to 100 runs a page,
    which large runs shorten. `fields` names the members that are needed: the others are None.
    """

    sort: Literal["created_at", "duration"]
    limit: int
    fields: Sequence[str]


class Runs(RunCreation[S_co], RunRecords[S_co]):
    """Every method raises `RunsteadError`: 404 for a run that is unknown or not visible to the caller."""

    @endpoint("GET", "/runs/{run_id}")
    def get(self, run_id: str, *, resolve: Literal["output"] | None = None) -> Call[Run]:
        """With `resolve="output"` an output that an artifact holds is in the run itself.

        409 VALUE_NOT_READABLE where that artifact is missing or damaged.
        """

    @route
    def list(
        self, *, project: str | None = None, cursor: str | None = None, **filters: Unpack[RunFilters]
    ) -> Call[RunPage]:
        """`GET /projects/{ref}/runs`: one page of the project's runs, newest first."""
        return Call("GET", self._in_project(project, "runs"), RunPage, _filtered(cursor, filters))

    @route
    def list_all(self, *, cursor: str | None = None, **filters: Unpack[RunFilters]) -> Call[RunPage]:
        """`GET /runs`: one page of the runs of every project that the caller has access to, newest first."""
        return Call("GET", path("runs"), RunPage, _filtered(cursor, filters))

    iter = every(list, Run)
    iter_all = every(list_all, Run)

    @endpoint("POST", "/runs/{run_id}/complete", names=_OF_ERROR)
    def complete(
        self,
        run_id: str,
        status: TerminalStatus = "completed",
        *,
        output: Any = None,
        logs: str | None = None,
        artifacts: Sequence[Mapping[str, Any]] | None = None,
        exit_code: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        error_code: str | None = None,
        error_message: str | None = None,
        error_detail: Any = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Completed]:
        """End the run. The first completion wins; a repeat changes nothing.

        `output` is any JSON up to 1 MiB (a larger one fails the run with OUTPUT_TOO_LARGE; a worker stores it first);
        `artifacts` are objects {name, media_type?, size?, uri?, sha256?, …}; `metadata` is usage (provider, model,
        inputTokens …). With `attempt` or `lease_token`, 409 ATTEMPT_SUPERSEDED where that attempt no longer holds the
        run.
        """

    @endpoint("POST", "/runs/{run_id}/cancel", key="new")
    def cancel(self, run_id: str, *, reason: str | None = None) -> Call[Cancelled]:
        """Cancel the run and its descendants that have not ended.

        A worker learns of it at its next renewal of the lease, or at its next append.
        """

    @route
    def resume(
        self,
        run_id: str,
        result: Any = None,
        *,
        type: ResumeType = "tool_result",  # noqa: A002 - the member's name on the wire
        tool_call_id: str | None = None,
        is_error: bool = False,
    ) -> Call[Accepted]:
        """`POST /runs/{run_id}/resume`: send the result that a run waits for. `result` is any JSON.

        An approval needs no `tool_call_id` where the run has one open approval.
        409 TOOL_RESULT_NOT_WAITING or TOOL_RESULT_CONFLICT, 410 RUN_NOT_ACTIVE. The same result again is a duplicate.
        """
        body = {"type": type, "result": result, "is_error": is_error} | members(tool_call_id=tool_call_id)
        return idempotent("POST", path("runs", run_id, "resume"), Accepted, body=body)

    @route
    def signal(
        self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str | None = None
    ) -> Call[Signalled]:
        """`POST /runs/{run_id}/signals`: send a signal, which the run takes once, when it waits for an event of its name.

        `payload` is any JSON up to 256 KiB. A repeat with the same `idempotency_key` sends nothing. 410 RUN_NOT_ACTIVE,
        409 SIGNALS_FULL where the run has 1,000 signals that it has not taken.
        """
        body = {"name": name, "payload": packed(payload, self._client.codec)}
        body |= members(idempotency_key=idempotency_key)
        return idempotent("POST", path("runs", run_id, "signals"), Signalled, body=body)

    @endpoint("GET", "/runs/{run_id}/signals")
    def signals(
        self, run_id: str, *, taken: bool | None = None, cursor: str | None = None
    ) -> Call[SignalPage]:
        """One page of the run's signals, oldest first.

        With `taken` only those that the run has taken, or only the others.
        """

    iter_signals = every(signals, Signal)

    @route
    def compensate(
        self,
        run_id: str,
        target: str,
        *,
        config: Mapping[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
        idempotency_key: str | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[RegisteredCompensation]:
        """`POST /runs/{run_id}/compensations`: register a run that the server creates if this one fails or is cancelled.

        `target` is `task:…` or `workflow:…`. A repeat with the same `idempotency_key` registers nothing. 410
        RUN_NOT_ACTIVE, 409 COMPENSATIONS_FULL above 100 of them, or above 16 MiB of config and input.
        """
        codec = self._client.codec
        body = {"target": target} | members(
            config=packed(config, codec),
            input=packed(input, codec),
            title=title,
            idempotency_key=idempotency_key,
            attempt=attempt,
        )
        return idempotent(
            "POST",
            path("runs", run_id, "compensations"),
            RegisteredCompensation,
            body=body,
            headers=fence(lease_token),
        )

    @endpoint("GET", "/runs/{run_id}/compensations")
    def compensations(self, run_id: str) -> Call[CompensationList]:
        """The compensations of a run, with their runs once it has ended."""

    @endpoint("POST", "/runs/{run_id}/access-tokens")
    def access_token(
        self, run_id: str, *, expires_in_seconds: int = 3_600, family: bool = False
    ) -> Call[AccessToken]:
        """Get a token for a browser, which reads this run and its events only.

        With `family` it also reads the run's descendants. It is valid for at most 86,400 seconds.
        """

    @endpoint("GET", "/runs/{run_id}/values")
    def values(self, run_id: str) -> Call[RunValues]:
        """The named values that the run's worker has set, at any time."""

    @route
    def value(self, run_id: str, name: str, default: Any = None) -> Call[Any]:
        """`GET /runs/{run_id}/values?name=`: one value (any JSON), `default` where the run has not set it."""
        where = path("runs", run_id, "values")
        return Call("GET", where, RunValues, query(name=name), pick=lambda values: values.get(name, default))

    @endpoint("POST", "/runs/{run_id}/wait", key="new", convert=_IF_ANY)
    def wait(
        self,
        run_id: str,
        reason: WaitReason,
        *,
        tool_call_id: str | None = None,
        tool_name: str | None = None,
        resume_at: datetime | None = None,
        expires_at: datetime | None = None,
        awaited_run_id: str | None = None,
        open_approvals: Sequence[str] = (),
        open_events: Sequence[OpenEvent] = (),
        release: bool = False,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Waiting]:
        """Make the run wait until it is resumed.

        At `resume_at` the server resumes the run, at `expires_at` it fails the run (both aware datetimes). With
        `awaited_run_id`, the id of a child, the run resumes when the child has ended; if it has ended already, the run
        does not wait. `open_approvals` are the call ids of all approvals that can be answered. A signal for one
        of the `open_events` resumes it; if one has been kept, the run takes it and does not wait. The worker keeps its
        lease meanwhile, or gives it back with `release`.
        """

    @endpoint("POST", "/runs/{run_id}/heartbeats")
    def heartbeat(
        self,
        run_id: str,
        attempt: int,
        *,
        lease_duration_seconds: int | None = None,
        lease_token: str | None = None,
    ) -> Call[Heartbeat]:
        """Renew the lease without knowing the worker's id.

        The lease is 5 to 300 seconds; None: as long as before. 409 ATTEMPT_SUPERSEDED where the lease is lost.
        """

    @endpoint("GET", "/runs/{run_id}/children", convert=_FIELDS)
    def children(
        self,
        run_id: str,
        *,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[RunList]:
        """A page of the run's children, oldest first.

        `input`, `config`, `output` and `logs` are None unless `fields` names them; then the members that it does not
        name are None. `limit` is 1 to 1,000.
        """

    @endpoint("GET", "/runs/{run_id}/tree", convert=_FIELDS)
    def tree(
        self,
        run_id: str,
        *,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[RunList]:
        """A page of the run's whole family from the root, oldest first.

        `parent_run_id` gives the tree. `fields` is that of `children`. `limit` is 1 to 10,000.
        """

    iter_children = every(children, Run)
    iter_tree = every(tree, Run)

    @endpoint("GET", "/runs/{run_id}/attempts")
    def attempts(self, run_id: str, *, cursor: str | None = None) -> Call[AttemptList]:
        """The run's attempts, oldest first; large errors make several pages."""

    iter_attempts = every(attempts, Attempt)


def _filtered(cursor: str | None, filters: RunFilters) -> tuple[tuple[str, str], ...]:
    given: dict[str, Any] = {**filters, "fields": chosen(filters.get("fields"), Run)}
    return query(cursor=cursor, **given)
