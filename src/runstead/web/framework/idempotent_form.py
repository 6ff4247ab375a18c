"""What is made once, however often its form is sent; and where it has a secret, that one answer alone shows it.

A form carries a token of its own, and the store keeps it with the effect as it keeps an idempotency key. So a reload of the
answer, or a button pressed twice, makes nothing more, on whichever replica; and the secret waits nowhere to be fetched.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.responses import Response

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.core.identity.project import Project
from runstead.web.framework.request import Visit

T = TypeVar("T")


def once_field() -> Markup:
    """What a form holds that makes something, with a secret or without."""
    return Markup('<input type="hidden" name="once" value="{}">').format(secrets.token_hex(16))


async def once(visit: Visit, command: Callable[[IdempotencyRecord], Awaitable[T]]) -> T | None:
    """What the command makes; None where this form, filled in like this, has made it before."""
    token = visit.form.one("once")
    if not token:
        raise Error("INVALID_REQUEST", "The form is not whole: reload its page, and send it again")
    filled = urlencode([pair for pair in visit.form.pairs if pair[0] != "csrf"])
    digest = hashlib.sha256(f"{visit.address}\n{filled}".encode())
    key = f"form:{hashlib.sha256(token.encode()).hexdigest()}:{digest.hexdigest()}"
    # The answer that is kept says nothing: least of all the secret.
    idempotency = IdempotencyRecord(visit.principal.identity, key, digest.digest(), lambda _: (200, b"null"))
    try:
        return await command(idempotency)
    except ReplayedResponse:
        return None


def made_before(visit: Visit, what: str, to: str) -> Response:
    """The answer to a form that is sent again."""
    return visit.back(f"{what} was made when the form was sent first. It is shown only once.", to)


async def reveal(
    visit: Visit, project: Project | None, *, title: str, label: str, secret: str, note: str, to: str
) -> Response:
    """The page that shows a secret, this once: no cache keeps it, no address and no cookie holds it."""
    return await visit.page(
        "framework/secret.html", project=project, title=title, label=label, secret=secret, note=note, to=to
    )
