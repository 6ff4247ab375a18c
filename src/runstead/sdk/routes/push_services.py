"""What push services call, and whoever looks after them."""

from collections.abc import Mapping
from typing import Any

from runstead.sdk.models.push_service import PushServiceAnswer, PushServiceList, RunEventToken
from runstead.sdk.routes.call import Call, members, new_key, path
from runstead.sdk.routes.route import RouteGroup, route


class PushServiceRoutes(RouteGroup):
    @route
    def register_push_service(
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
        """`POST /agent-runtimes/push-services`: the same key updates the service.

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
        where = path("agent-runtimes", "push-services")
        return Call("POST", where, PushServiceAnswer, body=body, idempotency_key=new_key())

    @route
    def push_service_heartbeat(self, service_id: str) -> Call[PushServiceAnswer]:
        """`POST /agent-runtimes/push-services/{service_id}/heartbeat`: the service lives. Every 30 s or so."""
        where = path("agent-runtimes", "push-services", service_id, "heartbeat")
        return Call("POST", where, PushServiceAnswer, body={})

    @route
    def get_push_service(self, service_id: str) -> Call[PushServiceAnswer]:
        """`GET /agent-runtimes/push-services/{service_id}`."""
        return Call("GET", path("agent-runtimes", "push-services", service_id), PushServiceAnswer)

    @route
    def list_push_services(self, *, project: str | None = None) -> Call[PushServiceList]:
        """`GET /agent-runtimes/push-services`: those that reach a project, or any project of the client."""
        given = members(project=project or self.project)
        return Call(
            "GET", path("agent-runtimes", "push-services"), PushServiceList, query=tuple(given.items())
        )

    @route
    def disable_push_service(self, service_id: str) -> Call[PushServiceAnswer]:
        """`DELETE /agent-runtimes/push-services/{service_id}`: no more runs for it until it registers again."""
        return Call("DELETE", path("agent-runtimes", "push-services", service_id), PushServiceAnswer)

    @route
    def child_event_token(self, run_id: str, child_run_id: str) -> Call[RunEventToken]:
        """`POST /runs/{run_id}/children/{child_run_id}/event-writer-token`: for the events of a direct child."""
        where = path("runs", run_id, "children", child_run_id, "event-writer-token")
        return Call("POST", where, RunEventToken, body={})
