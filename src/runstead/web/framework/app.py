"""All pages as one ASGI application: authentication, CSRF checks, errors and security headers."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import quote

import structlog
from msgspec.structs import replace
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope as AsgiScope, Send

from runstead.commands import browser_sessions
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.errors import Error
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.principal import Origin, Principal
from runstead.core.identity.tenant import current_request_id
from runstead.http.auth.authenticator import Authenticator, bearer
from runstead.http.auth.openid import OpenIdClient
from runstead.http.framework.asgi import AsgiRequest, send_response, while_connected
from runstead.http.framework.body import Disconnected, read_body
from runstead.http.framework.compression import compress_response
from runstead.http.framework.origin import origin_of
from runstead.http.framework.problems import STATUS
from runstead.http.framework.request_span import in_span
from runstead.ports import tracing
from runstead.web.access import audit, openid, pages as access, sign_in
from runstead.web.alerts import pages as alerts
from runstead.web.batches import pages as batches
from runstead.web.documentation.site import PATHS as DOCUMENTATION, Documentation
from runstead.web.framework import assets, cookie
from runstead.web.framework.form import Fields, fields_of, header
from runstead.web.framework.pages import Page
from runstead.web.framework.policy import policy
from runstead.web.framework.render import render
from runstead.web.framework.request import PageRequest, csrf_of
from runstead.web.framework.text import cut
from runstead.web.runs import (
    actions,
    bulk_changes,
    bulk_jobs,
    chart,
    downloads,
    listing,
    live,
    page as run,
    saved_views,
    start,
)
from runstead.web.schedules import pages as schedules
from runstead.web.system import pages as system, workers
from runstead.web.usage import budgets, pages as usage
from runstead.web.webhooks import pages as webhooks, triggers

log = structlog.get_logger(__name__)

NOUNS: Final = (
    listing,
    start,
    bulk_changes,
    bulk_jobs,
    saved_views,
    chart,
    usage,
    budgets,
    schedules,
    batches,
    workers,
    webhooks,
    triggers,
    alerts,
    access,
    audit,
    system,
    run,
    live,
    downloads,
    actions,
    sign_in,
)

HEADERS: Final = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class WebApp:
    """The dashboard, which is everything below `/ui`, and the documentation at `/docs`."""

    def __init__(
        self, app: App, authenticator: Authenticator, openid_client: OpenIdClient | None = None
    ) -> None:
        paths: dict[str, dict[str, Page]] = {}
        for page in (page for noun in NOUNS for page in noun.pages.registered):
            assert page.method not in paths.setdefault(page.path, {}), page.path
            paths[page.path][page.method] = page
        routes = [
            Route(path, _Endpoint(path, app, authenticator, pages=pages, openid_client=openid_client))
            for path, pages in paths.items()
        ]
        routes += [
            Route(assets.PATH + "/{digest}/{name:path}", _Open(assets.serve)),
            *(Route(path, _Open(Documentation().respond)) for path in DOCUMENTATION),
            Route("/ui/sign-in", _SignIn(app, authenticator, openid_client)),
        ]
        if openid_client is not None:
            step = _SignIn(app, authenticator, openid_client)
            routes += [Route(openid.PATH, step), Route(openid.CALLBACK, step)]
        default = _Endpoint("unknown", app, authenticator, pages={}, openid_client=openid_client)
        self._router = Router(routes, redirect_slashes=False, default=default)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)


@dataclass(frozen=True)
class _Endpoint:
    """All methods of one path, for a signed-in browser."""

    path: str
    app: App
    authenticator: Authenticator
    pages: dict[str, Page]
    openid_client: OpenIdClient | None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        request = AsgiRequest(scope, receive, {})
        current_request_id.set(request.origin.request_id)
        answer = partial(self._answer, scope, receive)
        work = answer(request) if tracing.tracer is None else in_span(answer, self.path, request)
        try:
            response = await while_connected(work, scope["method"], receive)
        except Disconnected:
            return
        await _send_page(response, scope, receive, send)

    async def _answer(self, scope: AsgiScope, receive: Receive, request: AsgiRequest) -> Response:
        try:
            return await self._respond(scope, receive, request.origin)
        except Disconnected:
            raise
        except Error as error:
            return error_page(error, scope)
        except Exception:
            log.exception("page failed", method=scope["method"], path=scope["path"])
            return error_page(Error("INTERNAL", "An unexpected error occurred and was logged"), scope)

    async def _respond(self, scope: AsgiScope, receive: Receive, origin: Origin) -> Response:
        headers = dict(scope["headers"])
        secret = cookie.secret_in(headers)
        signed_in = await self._authenticate(secret)
        if signed_in is None or secret is None:
            return _to_sign_in(scope, headers)
        session, principal = signed_in
        principal = replace(principal, origin=origin)  # the authenticator's is shared
        scope.setdefault("path_params", {})
        query = fields_of(scope["query_string"])
        form = Fields([])
        if scope["method"] == "POST":
            cookie.refuse_other_sites(headers)
            form = fields_of(await read_body(headers, receive, limits.body_bytes_max))
            token = form.one("csrf") or header(headers, b"x-csrf-token") or ""
            if not hmac.compare_digest(token.encode(), csrf_of(secret).encode()):
                raise Error(
                    "FORBIDDEN", "The form is not from this session: reload the page and send it again"
                )
        request = PageRequest(
            app=self.app,
            scope=scope,
            principal=principal,
            session=session,
            secret=secret,
            query=query,
            form=form,
            forget_credentials=self.authenticator.forget,
        )
        try:
            page = self.pages.get("GET" if scope["method"] == "HEAD" else scope["method"])
            if page is None and self.pages:
                raise Error("METHOD_NOT_ALLOWED", f"{scope['method']} is not allowed here")
            if page is None:
                raise Error("NOT_FOUND", "Page not found")
            return await page.handler(request)
        except Error as error:
            if request.by_htmx or request.in_place:
                return HTMLResponse(render("framework/error_part.html", error=error), STATUS[error.code])
            what = _missing(error, request.path)
            return await request.page(
                "framework/error.html", error=error, what=what, status=STATUS[error.code]
            )

    async def _authenticate(self, secret: str | None) -> tuple[BrowserSession, Principal] | None:
        """The session and its principal; None if the session or its credential is no longer valid."""
        opened = None if secret is None else await browser_sessions.opened(self.app, secret)
        if opened is None:
            return None
        credential, session = opened
        if (user := openid.user_in(credential)) is not None:
            if self.openid_client is None:  # this sign-in is switched off
                return None
            principal = await openid.principal_of(self.openid_client, self.authenticator, user)
            return session, replace(principal, credential_id=session.id)
        try:
            principal = await self.authenticator.authenticate(bearer(credential))
            return session, replace(principal, credential_id=session.id)
        except Error as error:
            if error.code != "UNAUTHENTICATED":
                raise
            return None


@dataclass(frozen=True)
class _SignIn:
    """The sign-in page, for browsers without a session."""

    app: App
    authenticator: Authenticator
    openid_client: OpenIdClient | None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        current_request_id.set(origin_of(scope).request_id)
        headers, client, name = dict(scope["headers"]), self.openid_client, None
        if client is not None:
            name = client.settings.name
        try:
            if client is not None and scope["path"] == openid.PATH:
                response = await openid.begin(client, scope, headers)
            elif client is not None and scope["path"] == openid.CALLBACK:
                response = await openid.callback(client, self.app, self.authenticator, scope, headers)
            elif scope["method"] == "POST":
                cookie.refuse_other_sites(headers)
                form = fields_of(await read_body(headers, receive, limits.sign_in_body_bytes_max))
                response = await sign_in.sign_in(self.app, self.authenticator, scope, headers, form, name)
            else:
                response = sign_in.form(fields_of(scope["query_string"]).one("next"), provider=name)
        except Disconnected:
            return
        except Error as error:
            response = error_page(error, scope)
        await _send_page(response, scope, receive, send)


@dataclass(frozen=True)
class _Open:
    """Files that anyone may read, without a session."""

    serve: Callable[[AsgiScope], Awaitable[Response]]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] not in ("GET", "HEAD"):
                raise Error("METHOD_NOT_ALLOWED", f"{scope['method']} is not allowed here")
            response = await self.serve(scope)
        except Error as error:
            response = error_page(error, scope)
        await send_response(add_security_headers(response), scope, receive, send)


def _missing(error: Error, path: dict[str, str]) -> str:
    """What the address names and was not found, such as `No run r-1 in project default`; else empty."""
    for name, value in path.items():
        noun = name.removesuffix("_id").replace("_", " ")
        if error.code == "NOT_FOUND" and error.message.casefold() == f"{noun} not found":
            place = "" if noun == "project" else f" in project {path.get('project', '')}"
            return f"No {noun} {cut(value, 200)}{place}"
    return ""


def _accepted(scope: AsgiScope) -> bytes | None:
    return dict(scope["headers"]).get(b"accept-encoding")


async def _send_page(response: Response, scope: AsgiScope, receive: Receive, send: Send) -> None:
    add_security_headers(response)
    await send_response(await compress_response(_accepted(scope), response), scope, receive, send)


def add_security_headers(response: Response) -> Response:
    """Add the security headers that the response does not set itself."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def error_page(error: Error, scope: AsgiScope) -> Response:
    """An error page for a browser that may not be signed in. It shows only the message."""
    extra = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    page = render("framework/plain_error.html", error=error, request_id=origin_of(scope).request_id)
    return HTMLResponse(page, STATUS[error.code], extra)


def _to_sign_in(scope: AsgiScope, headers: dict[bytes, bytes]) -> Response:
    if (
        header(headers, b"sec-fetch-site") == "cross-site"
        and header(headers, b"sec-fetch-mode") == "navigate"
    ):
        # For a link from another site, the browser withholds a SameSite=Strict cookie; on a reload it sends it.
        return HTMLResponse(render("framework/same_site_redirect.html"))
    path = scope["path"] + ("?" + scope["query_string"].decode("latin-1") if scope["query_string"] else "")
    sign_in_address = "/ui/sign-in" + (f"?next={quote(path)}" if path not in ("/ui", "/ui/") else "")
    if header(headers, b"hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": "/ui/sign-in"})
    if scope["method"] not in ("GET", "HEAD") or header(headers, b"accept") == "text/event-stream":
        raise Error("UNAUTHENTICATED", "The session has ended: sign in again")
    return RedirectResponse(sign_in_address, 303)
