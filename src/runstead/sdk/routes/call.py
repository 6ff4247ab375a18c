"""A call as a value, without I/O. Both clients send the same value."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.user_types import encode

T = TypeVar("T")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Query = Iterable[tuple[str, str]]

#: The header with which a worker proves that it writes for the current attempt.
LEASE_TOKEN: Final = "X-Lease-Token"  # noqa: S105 - a header's name


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request to the server and the type of its answer.

    `path` is quoted. `repeatable` is false for a call that no idempotency key makes safe to repeat: it is retried only
    where it certainly had no effect. `extra_wait_s` is added to the client's timeout, for calls that the server answers
    late on purpose. `owner` is a project (id or slug): the client adds its id to the body as the run's owner. `pick` takes
    the result from the decoded answer.
    """

    method: Method
    path: str
    answer: type[T]
    query: tuple[tuple[str, str], ...] = ()
    body: Any = field(default=msgspec.UNSET, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    idempotency_key: str | None = None
    repeatable: bool = True
    extra_wait_s: float = 0.0
    owner: str | None = None
    pick: Callable[[Any], Any] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The call's name in errors. A trigger's token is hidden, because it is a credential."""
        secret = self.path.startswith("/triggers/")
        return f"{self.method} {'/triggers/***' if secret else self.path}"

    @property
    def target(self) -> str:
        """Path and query of the request line."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def content(self) -> "bytes | Upload | None":
        """Return the body as JSON, or the upload. Raise TypeError where a value in it is not JSON."""
        if isinstance(self.body, Upload):
            return self.body
        return None if self.body is msgspec.UNSET else encode(self.body)

    def all_headers(self) -> dict[str, str]:
        """Return the headers of the call, without those of the client."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", **self.headers}
        if self.idempotency_key is not None:
            headers["Idempotency-Key"] = self.idempotency_key
        return headers

    def with_owner(self, project_id: str) -> "Call[T]":
        """Return the call with a project as the owner of its run."""
        return replace(self, owner=None, body={**self.body, "owner": {"kind": "project", "id": project_id}})

    def with_project(self, project: str) -> "Call[T]":
        """Return the call with a project in its query."""
        return replace(self, query=(*self.query, ("project", project)))


def idempotent(
    method: Method,
    path: str,
    answer: type[T],
    *,
    body: Any = msgspec.UNSET,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Call[T]:
    """Return a call under an idempotency key, the caller's or a new one: a retry has no second effect."""
    return Call(method, path, answer, body=body, headers=headers or {}, idempotency_key=key or new_key())


def event_stream(
    path: str, query: tuple[tuple[str, str], ...] = (), *, after: str | None = None
) -> Call[None]:
    """Return the call of a stream of server-sent events, from the one with the id `after` on."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if after:
        headers["Last-Event-ID"] = after
    return Call("GET", path, NoneType, query, headers=headers)


def path(*segments: str) -> str:
    """Return a quoted path: `path("runs", run_id, "complete")` → `/runs/…/complete`."""
    return "/" + "/".join(_segment(segment) for segment in segments)


def _segment(text: str) -> str:
    if not text:
        raise ValueError("An id in a path is empty")
    # A segment of dots only is a relative path, and would be removed on the way.
    return quote(text, safe=":") if text.strip(".") else text.replace(".", "%2E")


def query(**parameters: Any) -> tuple[tuple[str, str], ...]:
    """Return query parameters. None is left out, a list repeats its parameter, times become ISO 8601."""
    pairs: list[tuple[str, str]] = []
    for name, value in parameters.items():
        values = value if isinstance(value, list | tuple | set | frozenset) else (value,)
        pairs.extend((name, _text(one)) for one in values if one is not None)
    return tuple(pairs)


def chosen(fields: Iterable[str] | None, model: type[msgspec.Struct]) -> str | None:
    """Return the query parameter `fields`: these members, and those that the model cannot be built without."""
    if fields is None:
        return None
    required = [field.encode_name for field in msgspec.structs.fields(model) if field.required]
    return ",".join(dict.fromkeys((*required, *fields)))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value)


def members(**values: Any) -> dict[str, Any]:
    """Return a JSON object of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def fence(lease_token: str | None) -> dict[str, str]:
    return {} if lease_token is None else {LEASE_TOKEN: lease_token}


def new_key() -> str:
    """Return an idempotency key for one call and its retries."""
    return uuid.uuid4().hex
