"""CORS: pages of configured origins may call the API (the Fetch standard's CORS protocol)."""

from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    "X-Lease-Token",
    "X-Request-Id",
)
_ANSWER_HEADERS: Final = (
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Runstead-Warning",
    "X-Request-Id",
)


def with_cors(origins: tuple[str, ...], app: ASGIApp) -> ASGIApp:
    """Wrap `app` so that pages of these origins (`https://app.example.com`, or `*` for any) may call it.

    Cookies are not allowed: a page sends its credential in a header. Without origins, `app` is returned
    unchanged.
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
