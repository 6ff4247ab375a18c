"""The access log, on both paths of a request."""

import pytest
import structlog

from runstead.http.framework.app import HttpApp

from .wire import Wires, request, status_of


@pytest.fixture
def logged(api):
    """logged(request, from_s, plain): the lines of the access log of one request."""

    async def logged(asked, from_s=0.0, *, plain=True):
        wires = Wires(HttpApp(api.app, api.authenticator, from_s), plain=plain)
        with structlog.testing.capture_logs() as lines:
            answer = await wires.ask(asked)
        assert b"x-request-id: " in answer
        request_id = answer.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode()
        found = [line for line in lines if line["event"] == "request"]
        for line in found:
            assert line.pop("request_id") == request_id
            assert line.pop("ms") >= 0
            assert line["bytes"] == len(answer.partition(b"\r\n\r\n")[2])
        return [{**line, "bytes": None} for line in found], status_of(answer)

    return logged


def line(route, status, tenant, method="GET"):
    return {
        "event": "request",
        "log_level": "info",
        "method": method,
        "route": route,
        "status": status,
        "bytes": None,
        "tenant": tenant,
    }


@pytest.mark.parametrize("plain", [True, False])
async def test_a_request_is_logged_with_its_route_and_without_its_query_or_ids(api, logged, plain):
    run_id = (await api.create())["run_id"]
    key = {"authorization": f"Bearer {api.keys['default']}"}
    asked = request("GET", f"/runs/{run_id}?project={api.project.id}", **key)
    assert await logged(asked, plain=plain) == ([line("/runs/{run_id}", 200, api.project.id)], 200)
    refused = request("GET", f"/runs/{run_id}", authorization="Bearer vf_local_wrong")
    assert await logged(refused, plain=plain) == ([line("/runs/{run_id}", 401, None)], 401)
    head = request("HEAD", f"/runs/{run_id}", **key)
    assert await logged(head, plain=plain) == ([line("/runs/{run_id}", 200, api.project.id, "HEAD")], 200)


async def test_the_secret_of_a_trigger_and_a_path_without_a_route_are_not_logged(logged):
    lines, _ = await logged(request("POST", "/triggers/rtt_secret", b"{}", content_type="application/json"))
    assert [(one["route"], "rtt_secret" in str(one)) for one in lines] == [("/triggers/{token}", False)]
    lines, status = await logged(request("GET", "/nowhere/secret"))
    assert (lines, status) == ([line("unknown", 404, None)], 404)


async def test_only_requests_that_took_as_long_are_logged(logged):
    assert await logged(request("GET", "/healthz"), 600.0) == ([], 200)
    assert await logged(request("GET", "/healthz"), float("inf")) == ([], 200)
