"""Notifications of a project, and following them across broken connections, without I/O."""

from collections.abc import Iterator
from datetime import datetime
from types import NoneType

import msgspec

from runstead.sdk.errors import UnexpectedAnswerError
from runstead.sdk.models.response import ResponseModel
from runstead.sdk.routes.call import Call, path
from runstead.sdk.transport.retry import Retries
from runstead.sdk.transport.sse import Frame, Parser
from runstead.sdk.transport.stream_follower import StreamFollower


class Notification(ResponseModel, frozen=True, kw_only=True):
    """A hint: `type` is run.created, run.updated, run.completed, conversation.updated or resync.

    After a resync, and only then, something may have been missed: read again what you show. `cursor` goes on after
    this hint.
    """

    type: str
    at: datetime
    run_id: str | None = None
    conversation_id: str | None = None
    status: str | None = None
    cursor: str = ""


class NotificationFollower(StreamFollower[Notification]):
    """One follower's place in a project's notifications. `last` is the cursor to go on from."""

    def __init__(self, project: str, after: str | None, retries: Retries) -> None:
        super().__init__(retries)
        self._project = project
        self.last = after
        self._begun = False

    def call(self) -> Call[None]:
        self._parser = Parser()
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.last or self._begun:
            # A connection that broke before it told its cursor has a gap as well: no server knows this one.
            headers["Last-Event-ID"] = self.last or "none"
        self._begun = True
        return Call("GET", path("projects", self._project, "notifications"), NoneType, headers=headers)

    def feed(self, chunk: bytes) -> Iterator[Notification]:
        self._failures = 0
        for frame in self._parser.feed(chunk):
            self.last = frame.id
            yield self._notification(frame)
        # A frame without data moves the cursor alone, so that a follower of a quiet project knows where it stands.
        self.last = self._parser.last_id or self.last

    def _notification(self, frame: Frame) -> Notification:
        try:
            told = msgspec.json.decode(frame.data, type=Notification)
        except msgspec.DecodeError as error:
            trouble = str(error)
        else:
            return msgspec.structs.replace(told, cursor=frame.id)
        raise UnexpectedAnswerError(f"The notifications were not understood: {trouble}", 200)
