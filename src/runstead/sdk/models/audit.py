"""Entries of a project's audit log."""

from datetime import datetime
from typing import Any

import msgspec

from runstead.sdk.models.response import Page, ResponseModel


class AuditActor(ResponseModel, frozen=True, kw_only=True):
    """Who acted. `kind` is user, api_key, worker, service, operator (the server's command line) or unknown."""

    kind: str
    id: str
    name: str | None = None


class AuditObject(ResponseModel, frozen=True, kw_only=True):
    """The changed object. The id of a member is the user id, of a limit the target (`*`: the whole project)."""

    kind: str
    id: str


class AuditChange(ResponseModel, frozen=True, kw_only=True):
    """The members that differ. Values are shortened, and secrets are `(hidden)`."""

    before: dict[str, Any] = msgspec.field(default_factory=dict)
    after: dict[str, Any] = msgspec.field(default_factory=dict)


class AuditEntry(ResponseModel, frozen=True, kw_only=True):
    """An action, such as `run.cancel`, with its actor and its object."""

    id: str
    at: datetime
    actor: AuditActor
    action: str
    object: AuditObject
    credential_id: str | None = None
    address: str | None = None
    request_id: str | None = None
    change: AuditChange | None = None


class AuditPage(Page[AuditEntry], frozen=True, kw_only=True):
    """One page of the audit log, newest first."""
