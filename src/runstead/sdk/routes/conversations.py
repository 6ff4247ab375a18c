"""Routes of conversations and of their runs."""

from collections.abc import Sequence
from functools import partial
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
from runstead.sdk.routes.call import Call, chosen
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.events import NewEvents
from runstead.sdk.routes.route import Resource, S_co, every


class Conversations(Resource[S_co]):
    """Conversations, and the runs in them. 404 for one that is unknown or not visible to the caller."""

    @endpoint("POST", "/conversations", key="new")
    def create(
        self,
        *,
        project_id: str | None = None,
        type: ConversationType | None = None,  # noqa: A002 - the member's name on the wire
        title: str | None = None,
        metadata: Any = None,
        idempotency_key: str | None = None,
    ) -> Call[Conversation]:
        """`title` has at most 500 characters. Without `project_id` the caller owns it."""

    @endpoint("GET", "/conversations/{conversation_id}")
    def get(self, conversation_id: str) -> Call[Conversation]: ...

    @endpoint("GET", "/conversations")
    def list(
        self,
        *,
        project_id: str | None = None,
        status: Literal["active", "archived"] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ConversationPage]:
        """Newest first, of one project (id or slug) or of all that the caller has access to."""

    iter = every(list, Conversation)

    @endpoint("PATCH", "/conversations/{conversation_id}", key="new")
    def update(
        self,
        conversation_id: str,
        *,
        title: str | UnsetType | None = UNSET,
        summary: str | UnsetType | None = UNSET,
        status: Literal["active", "archived"] | UnsetType = UNSET,
        project_id: str | UnsetType = UNSET,
    ) -> Call[Conversation]:
        """Change the members that are given.

        `project_id` links a conversation without a project. 409 CONVERSATION_LINKED where it has one.
        """

    @endpoint("DELETE", "/conversations/{conversation_id}")
    def delete(self, conversation_id: str) -> Call[Conversation]:
        """It is no longer found. Its runs continue to their end."""

    @endpoint("GET", "/conversations/{conversation_id}/runs/{run_id}")
    def get_run(self, conversation_id: str, run_id: str) -> Call[Projection]:
        """The projection of the run."""

    @endpoint(
        "GET",
        "/conversations/{conversation_id}/runs/{run_id}/children",
        convert={"fields": partial(chosen, model=Projection)},
    )
    def run_children(
        self,
        conversation_id: str,
        run_id: str,
        *,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Call[ProjectionPage]:
        """The children of a run. Members that `fields` does not name are None."""

    iter_run_children = every(run_children, Projection)

    @endpoint("POST", "/conversations/{conversation_id}/access-tokens")
    def access_token(self, conversation_id: str, *, expires_in_seconds: int = 3_600) -> Call[AccessToken]:
        """Get a token for a browser, which reads this
        conversation, its messages, and its runs with their events and streams, and nothing else. It is valid for at
        most 86,400 seconds.
        """

    @endpoint("POST", "/conversations/{conversation_id}/runs/{run_id}/events", key="new")
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
        """As `events.append`; returns the projection."""
