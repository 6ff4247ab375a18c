"""The audit log of a project."""

from datetime import datetime

from runstead.sdk.models.audit import AuditEntry, AuditPage
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every


class Audit(Resource[S_co]):
    """Reading the log needs the scope `audit:read`: 403 without it."""

    @endpoint("GET", "/projects/{ref}/audit")
    def list(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        object: str | None = None,  # noqa: A002 - the member's name
        after: datetime | None = None,
        before: datetime | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        project: str | None = None,
    ) -> Call[AuditPage]:
        """One page, newest first.

        `actor` is an id, `action` such as run.cancel, `object` a kind (`run`) or a kind and an id (`run:<id>`).
        """

    iter = every(list, AuditEntry)
