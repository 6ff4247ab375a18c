"""Input requests: forms that a run waits for."""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from runstead.sdk.models.response import Listing, ResponseModel

InputStatus = Literal["open", "submitted", "cancelled", "expired"]
ResponderType = Literal["human", "agent", "system"]


class InputResponse(ResponseModel, frozen=True, kw_only=True):
    """The values of a submitted form. Values of secret fields are None; `withheld` lists those that were submitted."""

    id: str
    input_request_id: str
    conversation_id: str
    run_id: str
    actor_type: str
    actor_id: str
    values: dict[str, Any]
    created_at: datetime
    withheld: list[str] = msgspec.field(default_factory=list)


class InputRequest(ResponseModel, frozen=True, kw_only=True):
    """A form that a run waits for. `status` is open, submitted, cancelled or expired.

    `keeps_secrets`: values of secret fields are stored encrypted until the run ends. False: they are dropped.
    """

    id: str
    conversation_id: str
    run_id: str
    tool_call_id: str
    kind: str
    status: str
    requested_responder_type: str
    title: str
    fields: list[dict[str, Any]]
    created_at: datetime
    description: str | None = None
    recommendations: Any = None
    metadata: Any = None
    expires_at: datetime | None = None
    submitted_at: datetime | None = None
    cancelled_at: datetime | None = None
    expired_at: datetime | None = None
    latest_response: InputResponse | None = None
    keeps_secrets: bool = False


class InputSecrets(ResponseModel, frozen=True, kw_only=True):
    """Name → value of the secret fields of a response that had one."""

    SECRETS: ClassVar[frozenset[str]] = frozenset({"values"})

    values: dict[str, Any]


class InputRequestPage(Listing[InputRequest], frozen=True, kw_only=True):
    """One page of input requests."""
