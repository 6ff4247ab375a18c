"""Requests that are refused at their headers, before a task is made for them (`admission.py`)."""

from typing import Any, Final, Protocol

from runstead.core.errors import Error
from runstead.core.identity.principal import Origin
from runstead.http.framework.endpoint import Answer, Endpoint
from runstead.http.framework.problems import STATUS, problem_json
from runstead.ports import metrics


class UnusedEvent:
    """Replaces uvicorn's event, for which a plain request never waits: its body is complete."""

    def set(self) -> None: ...


class Sender(Protocol):
    """The connection, as a refused request uses it (`protocol.py`)."""

    transport: Any

    def write(self, answer: Answer, body: bytes, origin: Origin, *, keep_alive: bool) -> None: ...
    def on_response_complete(self) -> None: ...


class Refused:
    """A plain request that was refused, with the members that uvicorn's protocol reads of a cycle."""

    __slots__ = (
        "_endpoint",
        "_method",
        "_origin",
        "_path",
        "_refusal",
        "_sender",
        "disconnected",
        "keep_alive",
        "response_complete",
    )
    message_event: Final = UnusedEvent()

    def __init__(
        self,
        sender: Sender,
        endpoint: Endpoint,
        method: str,
        path: str,
        origin: Origin,
        refusal: Error,
        keep_alive: bool,
    ) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._method = method
        self._path = path
        self._origin = origin
        self._refusal = refusal
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False

    def send(self) -> None:
        """Answer, once the body was received."""
        sender, refusal, status = self._sender, self._refusal, STATUS[self._refusal.code]
        body = problem_json(refusal, self._path, self._origin.request_id)
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % (refusal.retry_after_s or 1)),
        ]
        self.response_complete = True
        shown = b"" if self._method == "HEAD" else body
        sender.write(Answer(status, headers, body), shown, self._origin, keep_alive=self.keep_alive)
        if not self.keep_alive:
            sender.transport.close()
        sender.on_response_complete()
        metrics.count(self._endpoint.path, self._method, status, 0.0)
