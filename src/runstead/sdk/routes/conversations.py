"""Routes of conversations and of their runs."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import UNSET, UnsetType

from runstead.sdk.models.conversation import (
    Conversation,
    ConversationPage,
    ConversationType,
    Projection,
    ProjectionPage,
)
from runstead.sdk.models.event import ConversationAppended
from runstead.sdk.models.run import AccessToken
from runstead.sdk.routes.call import Call, changes, chosen, idempotent, members, path, query
from runstead.sdk.routes.events import NewEvents, append_call
from runstead.sdk.routes.route import Resource, S_co, every, route


class Conversations(Resource[S_co]):
    """Conversations, and the runs in them. 404 for one that is unknown or not visible to the caller."""

    @route
    def create(
        self,
        *,
        project_id: str | None = None,
        type: ConversationType | None = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
        metadata: Any = None,
        idempotency_key: str | None = None,
    ) -> Call[Conversation]:
        """`POST /conversations`. `title` has at most 500 characters. Without `project_id` the caller owns it."""
        body = members(project_id=project_id, type=type, title=title, metadata=metadata)
        return idempotent("POST", path("conversations"), Conversation, body=body, key=idempotency_key)

    @route
    def get(self, conversation_id: str) -> Call[Conversation]:
        """`GET /conversations/{conversation_id}`"""
        return Call("GET", path("conversations", conversation_id), Conversation)

    @route
    def list(
        self,
        *,
        project_id: str | None = None,
        status: Literal["active", "archived"] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ConversationPage]:
        """`GET /conversations`: newest first, of one project (id or slug) or of all that the caller has access to."""
        parameters = query(project_id=project_id, status=status, cursor=cursor, limit=limit)
        return Call("GET", path("conversations"), ConversationPage, parameters)

    iter = every(list, Conversation)

    @route
    def update(
        self,
        conversation_id: str,
        *,
        title: str | UnsetType | None = UNSET,
        summary: str | UnsetType | None = UNSET,
        status: Literal["active", "archived"] | UnsetType = UNSET,
        project_id: str | UnsetType = UNSET,
    ) -> Call[Conversation]:
        """`PATCH /conversations/{conversation_id}`: change the members that are given.

        `project_id` links a conversation without a project. 409 CONVERSATION_LINKED where it has one.
        """
        body = changes(title=title, summary=summary, status=status, project_id=project_id)
        return idempotent("PATCH", path("conversations", conversation_id), Conversation, body=body)

    @route
    def delete(self, conversation_id: str) -> Call[Conversation]:
        """`DELETE /conversations/{conversation_id}`: it is no longer found. Its runs continue to their end."""
        return Call("DELETE", path("conversations", conversation_id), Conversation)

    @route
    def get_run(self, conversation_id: str, run_id: str) -> Call[Projection]:
        """`GET /conversations/{conversation_id}/runs/{run_id}`: the projection of the run."""
        return Call("GET", path("conversations", conversation_id, "runs", run_id), Projection)

    @route
    def run_children(
        self,
        conversation_id: str,
        run_id: str,
        *,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ProjectionPage]:
        """`GET /conversations/{conversation_id}/runs/{run_id}/children`. Members that `fields` does not name are None."""
        where = path("conversations", conversation_id, "runs", run_id, "children")
        parameters = query(fields=chosen(fields, Projection), cursor=cursor, limit=limit)
        return Call("GET", where, ProjectionPage, parameters)

    iter_run_children = every(run_children, Projection)

    @route
    def access_token(self, conversation_id: str, *, expires_in_seconds: int = 3_600) -> Call[AccessToken]:
        """`POST /conversations/{conversation_id}/access-tokens`: get a token for a browser, which reads this
        conversation, its messages, and its runs with their events and streams, and nothing else. It is valid for at
        most 86,400 seconds.
        """
        body = {"expires_in_seconds": expires_in_seconds}
        return Call("POST", path("conversations", conversation_id, "access-tokens"), AccessToken, body=body)

    @route
    def append_events(
        self,
        conversation_id: str,
        run_id: str,
        events: NewEvents,
        *,
        expected_previous_event_id: int | None = None,
        expected_previous_external_event_sequence: int | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[ConversationAppended]:
        """`POST /conversations/{conversation_id}/runs/{run_id}/events`: as `events.append`; returns the projection."""
        return append_call(
            path("conversations", conversation_id, "runs", run_id, "events"),
            ConversationAppended,
            events,
            lease_token=lease_token,
            key=idempotency_key,
            expected_previous_event_id=expected_previous_event_id,
            expected_previous_external_event_sequence=expected_previous_external_event_sequence,
            attempt=attempt,
        )
