"""The session's cookie, and how a request proves that a page of ours sent it."""

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from runstead.core.errors import Error
from runstead.web.framework.form import header

NAME: Final = "runstead_session"


def secret_in(headers: Mapping[bytes, bytes]) -> str | None:
    """The secret that the browser sends, if any."""
    try:
        found = SimpleCookie(header(headers, b"cookie") or "").get(NAME)
    except CookieError:
        return None
    return found.value if found is not None else None


def encrypted(scope: AsgiScope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy before us. Who lies here only loses the cookie."""
    return scope.get("scheme") == "https" or header(headers, b"x-forwarded-proto") == "https"


def give(response: Response, secret: str, seconds: int, *, secure: bool) -> None:
    """For this browser alone: no script reads it, no other site sends it."""
    response.set_cookie(
        NAME, secret, max_age=seconds, path="/ui", httponly=True, samesite="strict", secure=secure
    )


def take(response: Response) -> None:
    response.delete_cookie(NAME, path="/ui")


def refuse_other_sites(headers: Mapping[bytes, bytes]) -> None:
    """A form that another site made is not ours. Browsers say where a request comes from (Fetch Metadata, RFC 6454)."""
    site, origin = header(headers, b"sec-fetch-site"), header(headers, b"origin")
    host = header(headers, b"host")
    if site not in (None, "same-origin", "none"):
        raise Error("FORBIDDEN", "The form was sent from another site: open the page here, and send it again")
    if origin is not None and origin.partition("://")[2] != host:
        raise Error("FORBIDDEN", "The form was sent from another site: open the page here, and send it again")
