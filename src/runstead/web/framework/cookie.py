"""The session cookie, and the check that a form was sent from a page of this server."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from runstead.core.errors import Error
from runstead.web.framework.form import header

NAME: Final = "runstead_session"


def secret_in(headers: Mapping[bytes, bytes]) -> str | None:
    """The session secret that the browser sent, None if there is none."""
    try:
        morsel = SimpleCookie(header(headers, b"cookie") or "").get(NAME)
    except CookieError:
        return None
    return morsel.value if morsel is not None else None


def encrypted(scope: AsgiScope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the browser uses TLS, to this server or to a proxy. A client that lies loses only its cookie."""
    return scope.get("scheme") == "https" or header(headers, b"x-forwarded-proto") == "https"


def set_cookie(response: Response, secret: str, seconds: int, *, secure: bool) -> None:
    """Set the session cookie. No script can read it, and no other site can cause it to be sent."""
    response.set_cookie(
        NAME, secret, max_age=seconds, path="/ui", httponly=True, samesite="strict", secure=secure
    )


def delete_cookie(response: Response) -> None:
    response.delete_cookie(NAME, path="/ui")


def refuse_other_sites(headers: Mapping[bytes, bytes]) -> None:
    """Reject a form of another site, by Fetch Metadata and the Origin header (RFC 6454). FORBIDDEN."""
    site, origin = header(headers, b"sec-fetch-site"), header(headers, b"origin")
    host = header(headers, b"host")
    if site not in (None, "same-origin", "none"):
        raise Error("FORBIDDEN", "The form was sent from another site: open the page here and send it again")
    if origin is not None and origin.partition("://")[2] != host:
        raise Error("FORBIDDEN", "The form was sent from another site: open the page here and send it again")
