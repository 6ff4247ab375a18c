"""All pages as one ASGI application: who is it, may a form be taken, and what the browser may do with the answer."""

import hmac
from typing import Final
from urllib.parse import quote

import structlog
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope as AsgiScope, Send

from runstead.commands import browser_sessions
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import Principal
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.body import Disconnected, read_body
from runstead.http.framework.problems import STATUS
from runstead.web.access import pages as access, sign_in
from runstead.web.batches import pages as batches
from runstead.web.framework import assets, cookie
from runstead.web.framework.form import Fields, fields_of, header
from runstead.web.framework.pages import Page
from runstead.web.framework.render import render
from runstead.web.framework.request import Visit, csrf_of
from runstead.web.runs import actions, bulk_changes, chart, downloads, listing, live, page as run
from runstead.web.schedules import pages as schedules
from runstead.web.system import pages as system, workers
from runstead.web.usage import pages as webhooks
from runstead.web.webhooks import pages as usage, triggers

log = structlog.get_logger(__name__)

NOUNS: Final = (
    listing,
    bulk_changes,
    chart,
    usage,
    schedules,
    batches,
    workers,
    webhooks,
    triggers,
    access,
    system,
    run,
    live,
    downloads,
    actions,
    sign_in,
)

#: Nothing from elsewhere, nothing inline, no frame around us.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class WebApp:
    """The dashboard. Everything below `/ui` is its."""

    def __init__(self, app: App, authenticator: Authenticator) -> None:
        paths: dict[str, dict[str, Page]] = {}
        for page in (page for noun in NOUNS for page in noun.pages.found):
            assert page.method not in paths.setdefault(page.path, {}), page.path
            paths[page.path][page.method] = page
        routes = [Route(path, _Endpoint(app, authenticator, found)) for path, found in paths.items()]
        routes += [
            Route(assets.PATH + "/{digest}/{name:path}", _Static()),
            Route("/ui/sign-in", _SignIn(app, authenticator)),
        ]
        self._router = Router(routes, redirect_slashes=False, default=_Endpoint(app, authenticator, {}))

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)


class _Endpoint:
    """All methods of one path, for who is signed in."""

    def __init__(self, app: App, authenticator: Authenticator, pages: dict[str, Page]) -> None:
        self._app = app
        self._authenticator = authenticator
        self._pages = pages

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(scope, receive)
        except Disconnected:
            return
        except Error as error:
            response = trouble(error)
        except Exception:
            log.exception("page failed", method=scope["method"], path=scope["path"])
            response = trouble(Error("INTERNAL", "Something went wrong here; it was logged"))
        dress(response)
        await response(scope, receive, send)

    async def _answer(self, scope: AsgiScope, receive: Receive) -> Response:
        headers = dict(scope["headers"])
        secret = cookie.secret_in(headers)
        found = await self._who(secret)
        if found is None or secret is None:
            return _to_sign_in(scope, headers)
        session, principal = found
        scope.setdefault("path_params", {})
        query = fields_of(scope["query_string"])
        form = Fields([])
        if scope["method"] == "POST":
            cookie.refuse_other_sites(headers)
            form = fields_of(await read_body(headers, receive, limits.body_bytes_max))
            given = form.one("csrf") or header(headers, b"x-csrf-token") or ""
            if not hmac.compare_digest(given.encode(), csrf_of(secret).encode()):
                raise Error(
                    "FORBIDDEN", "The form is not from this session: reload the page, and send it again"
                )
        visit = Visit(self._app, scope, principal, session, secret, query, form, self._authenticator.forget)
        try:
            page = self._pages.get("GET" if scope["method"] == "HEAD" else scope["method"])
            if page is None and self._pages:
                raise Error("METHOD_NOT_ALLOWED", f"{scope['method']} is not allowed here")
            if page is None:
                raise Error("NOT_FOUND", "There is no such page")
            return await page.show(visit)
        except Error as error:
            if visit.by_htmx:
                return HTMLResponse(render("framework/trouble.html", error=error), STATUS[error.code])
            return await visit.page("framework/error.html", error=error, status=STATUS[error.code])

    async def _who(self, secret: str | None) -> tuple[BrowserSession, Principal] | None:
        """The session and its caller, as far as both are still good."""
        opened = None if secret is None else await browser_sessions.opened(self._app, secret)
        if opened is None:
            return None
        credential, session = opened
        try:
            return session, await self._authenticator.authenticate(f"Bearer {credential}", None)
        except Error as error:
            if error.code != "UNAUTHENTICATED":
                raise
            return None


class _SignIn:
    """The one page for who is not signed in."""

    def __init__(self, app: App, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] == "POST":
                headers = dict(scope["headers"])
                cookie.refuse_other_sites(headers)
                form = fields_of(await read_body(headers, receive, limits.sign_in_body_bytes_max))
                response = await sign_in.enter(self._app, self._authenticator, scope, headers, form)
            else:
                response = sign_in.ask(fields_of(scope["query_string"]).one("next"))
        except Disconnected:
            return
        except Error as error:
            response = trouble(error)
        dress(response)
        await response(scope, receive, send)


class _Static:
    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        response: ASGIApp
        try:
            response = assets.serve(scope["path_params"]["name"])
        except Error as error:
            response = dress(trouble(error))
        await response(scope, receive, send)


def dress(response: Response) -> Response:
    """Our headers, where the answer does not say otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def trouble(error: Error) -> Response:
    """A page for who may be nobody: it shows nothing but the sentence."""
    extra = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    return HTMLResponse(render("framework/alone.html", error=error), STATUS[error.code], extra)


def _to_sign_in(scope: AsgiScope, headers: dict[bytes, bytes]) -> Response:
    if (
        header(headers, b"sec-fetch-site") == "cross-site"
        and header(headers, b"sec-fetch-mode") == "navigate"
    ):
        # A link from another site: the browser keeps a strict cookie back. It sends it with a request of our own.
        return HTMLResponse(render("framework/again.html"))
    path = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
    place = "/ui/sign-in" + (f"?next={quote(path)}" if path not in ("/ui", "/ui/") else "")
    if header(headers, b"hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": "/ui/sign-in"})
    if scope["method"] != "GET" or header(headers, b"accept") == "text/event-stream":
        raise Error("UNAUTHENTICATED", "The session has ended: sign in again")
    return RedirectResponse(place, 303)
