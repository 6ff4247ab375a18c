"""Routes of input requests: forms that a run waits for."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from runstead.sdk.models.input_request import (
    InputRequest,
    InputRequestPage,
    InputSecrets,
    InputStatus,
    ResponderType,
)
from runstead.sdk.routes.call import Call, fence, path, query
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route


class InputRequests(Resource[S_co]):
    """Forms that runs wait for. 404 for one that is unknown or not visible to the caller."""

    @endpoint("POST", "/conversations/{conversation_id}/input-requests", key="new", body={"kind": "form"})
    def create(
        self,
        conversation_id: str,
        run_id: str,
        tool_call_id: str,
        title: str,
        fields: Sequence[Mapping[str, Any]],
        *,
        requested_responder_type: ResponderType = "human",
        description: str | None = None,
        expires_at: datetime | None = None,
        metadata: Mapping[str, Any] | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[InputRequest]:
        """The run waits until the form is filled in.

        1 to 100 fields, each with `name`, `label` and `type`. At `expires_at` (an aware datetime) the run fails. 409
        RUN_ALREADY_WAITING, 410 RUN_NOT_ACTIVE. The same request for the same tool call is a repeat.
        """

    @endpoint("GET", "/conversations/{conversation_id}/input-requests")
    def list(
        self,
        conversation_id: str,
        *,
        status: InputStatus | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[InputRequestPage]:
        """The forms of a conversation, newest first."""

    iter = every(list, InputRequest)

    @endpoint("GET", "/conversations/{conversation_id}/input-requests/{input_request_id}")
    def get(self, conversation_id: str, input_request_id: str) -> Call[InputRequest]: ...

    @endpoint("POST", "/conversations/{conversation_id}/input-requests/{input_request_id}/responses")
    def respond(
        self, conversation_id: str, input_request_id: str, values: Mapping[str, Any]
    ) -> Call[InputRequest]:
        """The run resumes.

        The same values again are a repeat. No idempotency key is sent, because the server would store a digest of
        secret values. 400 with one error for each invalid value, 409 INPUT_REQUEST_NOT_OPEN.
        """

    @route
    def secrets(
        self, run_id: str, input_request_id: str, *, lease_token: str, project: str | None = None
    ) -> Call[InputSecrets]:
        """`POST /runs/{run_id}/input-requests/{input_request_id}/secrets`: the values of secret fields.

        Only the holder of the run's lease reads them. 403 for another caller, 409 ATTEMPT_SUPERSEDED after the attempt,
        410 RUN_NOT_ACTIVE after the run, 409 SECRETS_NOT_KEPT where none are stored.
        """
        where = path("runs", run_id, "input-requests", input_request_id, "secrets")
        return Call("POST", where, InputSecrets, query(project=project), headers=fence(lease_token))

    @endpoint("POST", "/conversations/{conversation_id}/input-requests/{input_request_id}/cancel")
    def cancel(self, conversation_id: str, input_request_id: str) -> Call[InputRequest]:
        """Cancel the form.

        The run resumes with an error as its result.
        """
