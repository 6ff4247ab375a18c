"""Builders of runs for the tests of a run's page."""

import itertools

RUNS = "/ui/projects/default/runs"
_ids = itertools.count(1)


class TaskRun:
    """A new task run, claimed by a worker unless `claimed` is false. `page` is the path of its page."""

    def __init__(self, api, *, claimed=True, parent=None, title=None, headers=None, **request):
        self.api = api
        self.id = f"task-run-{next(_ids)}"
        self.proof = {}
        self.page = f"{RUNS}/{self.id}"
        body = {
            "kind": "task",
            "owner": {"kind": "project", "id": api.project_id()},
            "public_id": self.id,
            "request": {"target": f"task:{self.id}", **request},
            **({"title": title} if title else {}),
            **({"parent_run_id": parent.id} if parent else {}),
        }
        api.post("/runs", body, headers)
        if claimed:
            self.claim()

    def claim(self):
        worker = self.api.register(f"worker-{self.id}")
        claimed = self.api.claim(worker, f"task:{self.id}")
        assert claimed["run_id"] == self.id
        self.proof = {"X-Lease-Token": claimed["lease_token"]}
        return worker

    def append(self, *events):
        self.api.post(f"/runs/{self.id}/events", {"events": list(events)}, self.proof)

    def log(self, lines):
        self.append({"type": "CUSTOM", "name": "run.log", "value": {"lines": lines}})

    def step(self, name, step_id="1"):
        self.append({"type": "STEP_STARTED", "stepName": name, "stepId": step_id})

    def end_step(self, name, step_id="1", **more):
        self.append({"type": "STEP_FINISHED", "stepName": name, "stepId": step_id, **more})

    def wait(self, reason, **members):
        self.api.post(f"/runs/{self.id}/wait", {"reason": reason, **members})

    def complete(self, status="completed", **members):
        self.api.complete(self.id, status, **members)

    def stored(self):
        return self.api.run(self.id)

    def artifact(self, name, content, media_type):
        self.api.http.put(
            f"/runs/{self.id}/artifacts/{name}", content=content, headers={"Content-Type": media_type}
        ).raise_for_status()


def text_delta(delta, message="m"):
    return {"type": "TEXT_MESSAGE_CONTENT", "messageId": message, "delta": delta}


def text_start(message="m", role="assistant"):
    return {"type": "TEXT_MESSAGE_START", "messageId": message, "role": role}


def tool_call(call_id="c", name="search", arguments='{"q": "x"}'):
    return (
        {"type": "TOOL_CALL_START", "toolCallId": call_id, "toolCallName": name},
        {"type": "TOOL_CALL_ARGS", "toolCallId": call_id, "delta": arguments},
        {"type": "TOOL_CALL_END", "toolCallId": call_id},
    )


def tool_result(content, call_id="c", **more):
    return {
        "type": "TOOL_CALL_RESULT",
        "toolCallId": call_id,
        "messageId": f"{call_id}-result",
        "content": content,
        **more,
    }


class InputRun:
    """An agent run in a conversation that waits for a response to a form with these fields."""

    def __init__(self, api, *fields, title="Where to?", **more):
        self.api = api
        self.conversation = api.post("/conversations")["id"]
        self.id = f"input-run-{next(_ids)}"
        self.page = f"{RUNS}/{self.id}"
        body = {
            "kind": "agent",
            "owner": {"kind": "conversation", "id": self.conversation},
            "public_id": self.id,
            "request": {"mode": "agent", "agent_id": "guide"},
        }
        api.post("/runs", body)
        new_request = {
            "run_id": self.id,
            "tool_call_id": "ask",
            "kind": "form",
            "requested_responder_type": "human",
            "title": title,
            "fields": list(fields),
            **more,
        }
        self.request = api.post(f"/conversations/{self.conversation}/input-requests", new_request)["id"]

    def stored(self):
        return self.api.run(self.id)

    def input_request(self):
        return self.api.get(f"/conversations/{self.conversation}/input-requests/{self.request}")
