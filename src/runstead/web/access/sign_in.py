"""Signing in with an API key or a token, and out."""

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.commands import browser_sessions
from runstead.commands.app import App
from runstead.core.clock import now_ms
from runstead.core.errors import Error
from runstead.http.auth.authenticator import Authenticator
from runstead.http.framework.problems import STATUS
from runstead.web.framework import cookie
from runstead.web.framework.form import Fields, header
from runstead.web.framework.pages import Pages
from runstead.web.framework.render import render
from runstead.web.framework.request import Visit

pages = Pages()


def ask(to: str, error: Error | None = None) -> Response:
    """The form. What was wrong with the last one is said above it."""
    return HTMLResponse(
        render("access/sign_in.html", next=ours(to), error=error), STATUS[error.code] if error else 200
    )


def ours(address: str) -> str:
    """Where to go on: a page of the dashboard and nowhere else."""
    plain = address.startswith("/ui") and "//" not in address and "\\" not in address
    return address if plain and address.isprintable() else "/ui"


async def enter(
    app: App, authenticator: Authenticator, scope: AsgiScope, headers: dict[bytes, bytes], form: Fields
) -> Response:
    credential = form.one("credential")
    to = ours(form.one("next"))
    if not credential:
        return ask(to, Error("INVALID_REQUEST", "Paste an API key or a token"))
    try:
        principal, expires_at = await authenticator.examine(credential)
        agent = header(headers, b"user-agent")
        secret, session = await browser_sessions.sign_in(app, principal, credential, agent, expires_at)
    except Error as error:
        if error.code not in ("UNAUTHENTICATED", "FORBIDDEN"):
            raise
        return ask(to, error)
    answer = RedirectResponse(to, 303)
    seconds = max(1, (session.expires_at - now_ms()) // 1_000)
    cookie.give(answer, secret, seconds, secure=cookie.encrypted(scope, headers))
    return answer


@pages.post("/sign-out")
async def leave(visit: Visit) -> Response:
    await browser_sessions.sign_out(visit.app, visit.secret)
    answer = RedirectResponse("/ui/sign-in", 303)
    cookie.take(answer)
    return answer


@pages.get("/sessions")
async def sessions(visit: Visit) -> Response:
    found = await browser_sessions.own(visit.app, visit.principal)
    return await visit.page("access/sessions.html", sessions=found, current=visit.session)


@pages.post("/sessions/{session_id}/revoke")
async def revoke(visit: Visit) -> Response:
    await browser_sessions.revoke(visit.app, visit.principal, visit.path["session_id"])
    return visit.back("The session has ended.", "/ui/sessions")


@pages.post("/sessions/revoke-all")
async def revoke_all(visit: Visit) -> Response:
    count = await browser_sessions.revoke_all(visit.app, visit.principal)
    answer = visit.back(f"{count} sessions have ended.", "/ui/sign-in")
    cookie.take(answer)
    return answer
