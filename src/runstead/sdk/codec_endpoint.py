"""An endpoint that decodes values for the dashboard: an ASGI application that has the codec's keys. See docs/codec.md.

A browser that shows a run sends `POST {"values": [{"$encoded": …}, …]}` and gets `{"values": [value, …]}`, in order.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runstead.sdk.errors import ValueNotReadable
from runstead.sdk.models.value import Codec, unpacked
from runstead.sdk.worker.threads import in_thread

#: Decides who may decode: it gets the request, with its cookies and headers.
Authorize = Callable[[Request], Awaitable[bool]]

_BODY_BYTES_MAX: Final = 16 * 1024 * 1024
_VALUES_MAX: Final = 1_000


class _Body(msgspec.Struct):
    values: list[Any]


def codec_endpoint(codec: Codec, *, origins: Sequence[str], authorize: Authorize) -> Starlette:
    """Return an ASGI application that decodes values with the codec at any path.

    `origins` are the origins of dashboards, such as https://runs.example.com: the scripts of other sites cannot read the
    answers. `authorize` returns whether the caller of a request may read values. It should check who the person is, by
    a cookie of your single sign-on or a header of the proxy in front: without it, anyone who reaches the endpoint and
    has encoded values can read them. Raise ValueError where `origins` is empty or has `*`.
    """
    if not origins or "*" in origins:
        raise ValueError("Name the origins of dashboards, such as https://runs.example.com, without *")

    async def decode(request: Request) -> Response:
        if not await authorize(request):
            return _problem(403, "The caller may not decode values")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY_BYTES_MAX:
                return _problem(413, f"The body has more than {_BODY_BYTES_MAX} bytes")
        try:
            values = msgspec.json.decode(body, type=_Body).values
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _problem(400, f"The body must be {{values: [...]}}: {error}")
        if len(values) > _VALUES_MAX:
            return _problem(400, f"A request has at most {_VALUES_MAX} values")
        try:
            plain = await in_thread(lambda: _decoded(values, codec), "runstead-codec")
        except ValueNotReadable as error:
            return _problem(422, error.detail)
        return Response(
            msgspec.json.encode({"values": plain}), headers=_HEADERS, media_type="application/json"
        )

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["POST"],
        allow_headers=["content-type"],
        allow_credentials=True,
    )
    return Starlette(routes=[Route("/{path:path}", decode, methods=["POST"])], middleware=[cors])


_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _decoded(values: list[Any], codec: Codec) -> list[Any]:
    """Decode each value. One that cannot be decoded stays as it is; raise ValueNotReadable where none can be."""
    plain, error = [], None
    for value in values:
        try:
            plain.append(unpacked(value, codec))
        except ValueNotReadable as caught:
            plain.append(value)
            error = caught
    if error is not None and plain == values:
        raise error
    return plain


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, status, _HEADERS, "application/problem+json")
