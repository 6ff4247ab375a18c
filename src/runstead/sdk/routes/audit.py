"""The audit log of a project."""

from datetime import datetime

from runstead.sdk.models.audit import AuditEntry, AuditPage
from runstead.sdk.routes.call import Call, query
from runstead.sdk.routes.route import Resource, S_co, every, route


class Audit(Resource[S_co]):
    """Reading the log needs the scope `audit:read`: 403 without it."""

    @route
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
        """`GET /projects/{ref}/audit`: one page, newest first.

        `actor` is an id, `action` such as run.cancel, `object` a kind (`run`) or a kind and an id (`run:<id>`).
        """
        filters = query(
            actor=actor,
            action=action,
            object=object,
            after=after,
            before=before,
            cursor=cursor,
            limit=limit,
        )
        return Call("GET", self._in_project(project, "audit"), AuditPage, filters)

    iter = every(list, AuditEntry)
