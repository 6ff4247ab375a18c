"""Issuers: the callers on whose rights the tokens of workers and of single runs depend."""

from typing import Literal, get_args

import msgspec

IssuerKind = Literal["api_key", "member", "claim", "push_service"]


class Issuer(msgspec.Struct, frozen=True):
    """Who made a token. The token is valid only while its issuer has the required scope.

    `id` is the id of the API key or push service, or the user's id. The scope of a `member` comes from the role in
    the project, or from owning a personal project; that of a `claim` comes only from the `projectId` of a JWT, until an
    admin removes the user from the project.
    """

    kind: IssuerKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


def parse_issuer(text: str) -> Issuer | None:
    """Return the issuer that was stored or signed as `str(issuer)`, None for any other text."""
    kind, _, issuer_id = text.partition(":")
    return Issuer(kind, issuer_id) if kind in get_args(IssuerKind) else None  # type: ignore[arg-type]
