"""The OpenAPI document at `/openapi.json`, and as a page at `/docs`."""

from functools import cache
from typing import Any

import msgspec
from starlette.responses import Response

from runstead.http.framework.endpoint import Call, Nothing, Routes
from runstead.http.openapi.page import CONTENT_SECURITY_POLICY, page

routes = Routes("Documentation")


@cache
def _document() -> dict[str, Any]:
    # Imported late, since the document contains all routes, also those of this module.
    from runstead.http.framework.app import operations  # noqa: PLC0415
    from runstead.http.openapi.document import document  # noqa: PLC0415

    return document(operations())


@cache
def _json() -> bytes:
    return msgspec.json.encode(_document())


@cache
def _html() -> str:
    return page(_document())


@routes.route("GET", "/openapi.json", answer=None, open=True, media_type="application/json")
async def openapi(call: Call[Nothing, Nothing]) -> Response:
    """Get this document, OpenAPI 3.1."""
    return Response(_json(), media_type="application/json")


_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@routes.route("GET", "/docs", answer=None, open=True, media_type="text/html")
async def docs(call: Call[Nothing, Nothing]) -> Response:
    """Show this document as an HTML page, with all error codes."""
    return Response(_html(), headers=_HEADERS, media_type="text/html")
