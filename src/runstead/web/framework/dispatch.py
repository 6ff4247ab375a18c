"""Routes requests to the pages or to the API."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope as AsgiScope, Send

#: The first segments of the paths of pages.
_PAGES = frozenset({"ui", "docs", "llms.txt", "llms-full.txt"})


class Dispatch:
    """Serves pages below `/ui` and `/docs` and the API elsewhere. A browser at `/` is redirected to `/ui`."""

    def __init__(self, http: ASGIApp, web: ASGIApp) -> None:
        self._http = http
        self._web = web

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path[1:].partition("/")[0] in _PAGES:
            await self._web(scope, receive, send)
        elif path == "/" and _accepts_html(scope):
            await RedirectResponse("/ui", 303)(scope, receive, send)
        else:
            await self._http(scope, receive, send)


def _accepts_html(scope: AsgiScope) -> bool:
    return any(name == b"accept" and value.startswith(b"text/html") for name, value in scope["headers"])
