"""Pages of other origins may call the API, where the operator names them (the Fetch standard's CORS protocol)."""

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Lease-Token",
)
_ANSWER_HEADERS: Final = ("ETag", "Idempotent-Replayed", "Location", "Retry-After")


def open_to(origins: tuple[str, ...], app: ASGIApp) -> ASGIApp:
    """`app`, answering pages of these origins (`https://app.example.com`, or `*` for any). Unchanged without any.

    Cookies are never part of it: a page sends its credential in a header.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_ANSWER_HEADERS,
        max_age=600,
    )
