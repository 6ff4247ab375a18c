"""Sign-in with an OpenID provider: to its page, and back."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec
from msgspec.structs import replace
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.commands import browser_sessions
from runstead.commands.app import App
from runstead.core import limits
from runstead.core.identity.openid import OpenIdUser, roles_of
from runstead.core.identity.principal import Principal
from runstead.http.auth.authenticator import Authenticator
from runstead.http.auth.openid import OpenIdClient, OpenIdError, PendingSignIn
from runstead.http.framework.origin import origin_of
from runstead.web.access import sign_in
from runstead.web.framework import cookie
from runstead.web.framework.form import Fields, fields_of, header
from runstead.web.framework.render import render

PATH: Final = "/ui/sign-in/openid"
CALLBACK: Final = f"{PATH}/callback"
_COOKIE: Final = "runstead_openid"
#: Marks the credential of a session that began here. No API key and no token begins with it.
_CREDENTIAL: Final = "openid:"


async def begin(client: OpenIdClient, scope: AsgiScope, headers: Mapping[bytes, bytes]) -> Response:
    """Redirect the browser to the provider."""
    to = sign_in.local_address(fields_of(scope["query_string"]).one("next"))
    try:
        address, pending = await client.begin(to)
    except OpenIdError as error:
        return _failed(error, to)
    response = RedirectResponse(address, 303)
    response.set_cookie(
        _COOKIE,
        urlsafe_b64encode(msgspec.json.encode(pending)).decode(),
        max_age=limits.openid_sign_in_s,
        path=PATH,
        httponly=True,
        samesite="lax",  # it must come with the navigation from the provider
        secure=cookie.encrypted(dict(scope), dict(headers)),
    )
    return response


async def callback(
    client: OpenIdClient,
    app: App,
    authenticator: Authenticator,
    scope: AsgiScope,
    headers: Mapping[bytes, bytes],
) -> Response:
    """Start a session for the user whom the provider names, or show why not."""
    query: Fields = fields_of(scope["query_string"])
    pending = _pending(headers)
    to = "/ui" if pending is None else sign_in.local_address(pending.to)
    try:
        if pending is None:
            raise OpenIdError("The sign-in took too long, or this page was opened again")
        user = await client.finish(pending, query.one)
    except OpenIdError as error:
        if not error.unavailable:
            await browser_sessions.record_refusal(app, "", str(error), origin_of(scope))
        response = _failed(error, to)
    else:
        principal = await principal_of(client, authenticator, user)
        principal = replace(principal, origin=origin_of(scope))
        credential = _CREDENTIAL + msgspec.json.encode(user).decode()
        signed_in = await browser_sessions.sign_in(app, principal, credential, header(headers, b"user-agent"))
        response = sign_in.start(signed_in, to, secure=cookie.encrypted(scope, headers))
    response.delete_cookie(_COOKIE, path=PATH)
    return response


def user_in(credential: str) -> OpenIdUser | None:
    """Return the user of a session's credential. None: it is an API key or a token."""
    if not credential.startswith(_CREDENTIAL):
        return None
    return msgspec.json.decode(credential.removeprefix(_CREDENTIAL), type=OpenIdUser)


async def principal_of(client: OpenIdClient, authenticator: Authenticator, user: OpenIdUser) -> Principal:
    return await authenticator.openid_user(user, roles_of(client.settings.roles, user.groups))


def _pending(headers: Mapping[bytes, bytes]) -> PendingSignIn | None:
    try:
        morsel = SimpleCookie(header(headers, b"cookie") or "").get(_COOKIE)
        encoded = b"" if morsel is None else morsel.value.encode()
        return msgspec.json.decode(urlsafe_b64decode(encoded), type=PendingSignIn)
    except (CookieError, ValueError):
        return None


def _failed(error: OpenIdError, to: str) -> Response:
    page = render("access/openid_error.html", message=str(error), next=to)
    return HTMLResponse(page, 503 if error.unavailable else 403)
