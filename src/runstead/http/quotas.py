"""Quotas of a project: `/projects/{project}/quota`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from runstead.commands import quotas as commands
from runstead.commands.quotas import QuotaUse
from runstead.core.identity.quota import BOUNDS
from runstead.http.answers import answer_of
from runstead.http.arguments import scoped
from runstead.http.bounds import between
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.problems import CHANGE, LOOKUP

routes = Routes("Administration")

_QUOTA = "/projects/{project}/quota"


def _number(name: str) -> Meta:
    return between(1, BOUNDS[name])


class PutQuota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quotas of a project. The instance's default applies where a member is null or left out."""

    requests_per_minute: Annotated[int, _number("requests_per_minute")] | None = None
    runs_per_minute: Annotated[int, _number("runs_per_minute")] | None = None
    runs_pending: Annotated[int, _number("runs_pending")] | None = None
    events_per_run: Annotated[int, _number("events_per_run")] | None = None
    event_bytes_per_run: Annotated[int, _number("event_bytes_per_run")] | None = None
    artifact_bytes: Annotated[int, _number("artifact_bytes")] | None = None
    streams: Annotated[int, _number("streams")] | None = None
    keys: Annotated[int, _number("keys")] | None = None
    members: Annotated[int, _number("members")] | None = None


class QuotaView(msgspec.Struct, frozen=True):
    """`limit` is in force, `own` was set for the project. `used` is null where use is not counted.
    Null: no quota. At most 10,000 pending runs are counted.
    """

    name: str
    limit: int | None
    own: int | None
    used: int | None


QuotaList = answer_of("QuotaList", data=list[QuotaView])


def _reply(uses: list[QuotaUse]) -> Reply:
    return Reply(200, QuotaList([QuotaView(*use) for use in uses]))


@routes.route("GET", _QUOTA, answer=QuotaList, errors=LOOKUP)
async def get_quota(call: Call[Nothing, Nothing]) -> Reply:
    """Get a project's quotas and how much of them is used.

    `requests_per_minute`, `runs_per_minute` and `streams` count at each process of the server.
    """
    return _reply(await commands.get(*scoped(call)))


@routes.route("PUT", _QUOTA, body=PutQuota, answer=QuotaList, errors=CHANGE)
async def put_quota(call: Call[PutQuota, Nothing]) -> Reply:
    """Set a project's quotas. This needs the scope `system`.

    They apply at once in this process, within five seconds in others.
    """
    values = msgspec.structs.asdict(call.body)
    return _reply(await commands.put(*scoped(call), values))
