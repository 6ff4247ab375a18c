"""`/openapi.json`, and the same for people at `/docs`."""

from functools import cache

import msgspec
from starlette.responses import Response

from runstead.http.endpoint import Call, Nothing, Routes

routes = Routes("Documentation")


@cache
def _document() -> bytes:
    # Imported late: the document is made of all routes, these two among them.
    from runstead.http.app import operations  # noqa: PLC0415
    from runstead.http.openapi import document  # noqa: PLC0415

    return msgspec.json.encode(document(operations()))


@routes.route("GET", "/openapi.json", answer=None, open=True, media_type="application/json")
async def openapi(call: Call[Nothing, Nothing]) -> Response:
    """This document: OpenAPI 3.1."""
    return Response(_document(), media_type="application/json")
