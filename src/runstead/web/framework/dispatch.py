"""Where a request goes: to the dashboard, or to the API."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope as AsgiScope, Send


class Door:
    """Both behind one address. A browser at the root is shown to the dashboard; a program is answered as ever."""

    def __init__(self, http: ASGIApp, web: ASGIApp) -> None:
        self._http = http
        self._web = web

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/ui" or path.startswith("/ui/"):
            await self._web(scope, receive, send)
        elif path == "/" and _reads_pages(scope):
            await RedirectResponse("/ui", 303)(scope, receive, send)
        else:
            await self._http(scope, receive, send)


def _reads_pages(scope: AsgiScope) -> bool:
    return any(name == b"accept" and value.startswith(b"text/html") for name, value in scope["headers"])
