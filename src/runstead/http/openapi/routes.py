"""The OpenAPI document at `/openapi.json`."""

from functools import cache

import msgspec
from starlette.responses import Response

from runstead.http.framework.endpoint import Call, Nothing, Routes

routes = Routes("Documentation")


@cache
def _json() -> bytes:
    # Imported late, since the document contains all routes, also those of this module.
    from runstead.http.framework.app import operations  # noqa: PLC0415
    from runstead.http.openapi.document import document  # noqa: PLC0415

    return msgspec.json.encode(document(operations()))


@routes.route("GET", "/openapi.json", answer=None, open=True, media_type="application/json")
async def openapi(call: Call[Nothing, Nothing]) -> Response:
    """Get this document, OpenAPI 3.1."""
    return Response(_json(), media_type="application/json")
