"""Sign-in with an API key or a token, sign-out, and the list of sessions."""

from msgspec.structs import replace
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.commands import browser_sessions
from runstead.commands.app import App
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.origin import origin_of
from runstead.http.framework.problems import STATUS
from runstead.web.framework import cookie
from runstead.web.framework.form import Fields, header
from runstead.web.framework.pages import Pages
from runstead.web.framework.render import render
from runstead.web.framework.request import PageRequest

pages = Pages()


def form(to: str, error: Error | None = None, provider: str | None = None) -> Response:
    """The sign-in form, with the error of the last attempt above it. `provider`: the name of the OpenID provider."""
    return HTMLResponse(
        render("access/sign_in.html", next=local_address(to), error=error, provider=provider),
        STATUS[error.code] if error else 200,
    )


def local_address(address: str) -> str:
    """The address if it is a page of the dashboard, else `/ui`: prevents open redirects."""
    plain = address.startswith("/ui") and "//" not in address and "\\" not in address
    return address if plain and address.isprintable() else "/ui"


async def sign_in(
    app: App,
    authenticator: Authenticator,
    scope: AsgiScope,
    headers: dict[bytes, bytes],
    fields: Fields,
    provider: str | None = None,
) -> Response:
    """Start a session for the credential, or show the form with the reason why not."""
    credential = fields.one("credential")
    to = local_address(fields.one("next"))
    if not credential:
        return form(to, Error("INVALID_REQUEST", "Paste an API key or a token"), provider)
    origin = origin_of(scope)
    try:
        principal, expires_at = await authenticator.examine(credential, origin.address)
        principal = replace(principal, origin=origin)
        agent = header(headers, b"user-agent")
        secret, session = await browser_sessions.sign_in(app, principal, credential, agent, expires_at)
    except Error as error:
        if error.code not in ("UNAUTHENTICATED", "FORBIDDEN"):
            raise
        await browser_sessions.record_refusal(app, credential, error.message, origin)
        return form(to, error, provider)
    return start(browser_sessions.SignedIn(secret, session), to, secure=cookie.encrypted(scope, headers))


def start(signed_in: browser_sessions.SignedIn, to: str, *, secure: bool) -> Response:
    """Give the browser its session, and redirect it to a page."""
    response = RedirectResponse(to, 303)
    seconds = max(1, (signed_in.session.expires_at - now_ms()) // 1_000)
    cookie.set_cookie(response, signed_in.secret, seconds, secure=secure)
    return response


@pages.post("/sign-out")
async def sign_out(request: PageRequest) -> Response:
    await browser_sessions.sign_out(*request.caller, request.secret)
    response = RedirectResponse("/ui/sign-in", 303)
    cookie.delete_cookie(response)
    return response


@pages.get("/sessions")
async def sessions(request: PageRequest) -> Response:
    own = await browser_sessions.own(*request.caller)
    return await request.page("access/sessions.html", sessions=own, current=request.session)


@pages.post("/sessions/{session_id}/revoke")
async def revoke(request: PageRequest) -> Response:
    await browser_sessions.revoke(*request.caller, request.path["session_id"])
    return request.redirect_with_flash("The session has ended.", "/ui/sessions")


@pages.post("/sessions/revoke-all")
async def revoke_all(request: PageRequest) -> Response:
    count = await browser_sessions.revoke_all(*request.caller)
    response = request.redirect_with_flash(f"{count} sessions have ended.", "/ui/sign-in")
    cookie.delete_cookie(response)
    return response
