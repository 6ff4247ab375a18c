"""Routes of push services: for the services, and for their administration."""

from collections.abc import Mapping
from typing import Any

from runstead.sdk.models.push_service import PushService, PushServiceAnswer, PushServiceList
from runstead.sdk.routes.call import Call, idempotent, members, path, query
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every, route


class PushServices(Resource[S_co]):
    """Services that get runs by HTTP. 404 for one that is unknown or not visible to the caller."""

    @route
    def register(
        self,
        service_name: str,
        service_key: str,
        *,
        base_url: str,
        invoke_url: str,
        agent_id: str | None = None,
        project: str | None = None,
        everywhere: bool = False,
        version: str | None = None,
        runtime: str | None = None,
        region: str | None = None,
        capabilities: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Call[PushServiceAnswer]:
        """`POST /agent-runtimes/push-services`: register a service, or update the one with this key.

        It gets the runs of one project, or with `everywhere` of all projects that the client's credential may write.
        """
        body = members(
            service_name=service_name,
            service_key=service_key,
            scope_kind="global" if everywhere else "project",
            project_id=None if everywhere else self._project(project),
            agent_id=agent_id,
            base_url=base_url,
            invoke_url=invoke_url,
            version=version,
            runtime=runtime,
            region=region,
            capabilities=capabilities,
            metadata=metadata,
        )
        return idempotent("POST", path("agent-runtimes", "push-services"), PushServiceAnswer, body=body)

    @endpoint("POST", "/agent-runtimes/push-services/{service_id}/heartbeat", body={})
    def heartbeat(self, service_id: str) -> Call[PushServiceAnswer]:
        """The service is alive. Send it every 30 s."""

    @endpoint("GET", "/agent-runtimes/push-services/{service_id}")
    def get(self, service_id: str) -> Call[PushServiceAnswer]: ...

    @route
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[PushServiceList]:
        """`GET /agent-runtimes/push-services`: the services of a project, or of all projects of the client.

        `page_info.next` is the next page's cursor.
        """
        where = path("agent-runtimes", "push-services")
        parameters = query(project=project or self._client.project, cursor=cursor)
        return Call("GET", where, PushServiceList, parameters)

    iter = every(list, PushService)

    @endpoint("DELETE", "/agent-runtimes/push-services/{service_id}")
    def disable(self, service_id: str) -> Call[PushServiceAnswer]:
        """It gets no more runs until it registers again."""
