"""Notifications of a project's changes."""

from datetime import datetime

from runstead.sdk.models.response import ResponseModel


class Notification(ResponseModel, frozen=True, kw_only=True):
    """Something in a project has changed.

    `type` is run.created, run.updated, run.completed, conversation.updated or resync. After a resync notifications may
    have been missed: read again what you show. To continue after this notification, pass its `cursor`.
    """

    type: str
    at: datetime
    run_id: str | None = None
    conversation_id: str | None = None
    status: str | None = None
    cursor: str = ""
