"""Rules between members that the types of bodies cannot express, as JSON Schema."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any, Final

from runstead.core.alerts.alert import KINDS, TARGET_KINDS
from runstead.core.conversations.form import FormField
from runstead.http.alerts import CreateAlert
from runstead.http.batches import BatchRun
from runstead.http.create_bodies import REQUESTS, CreateRun
from runstead.http.framework.values import END, NO_CONTROLS, UUID, RuntimeTarget
from runstead.http.inputs import CreateInputRequest, InputRequestView
from runstead.http.push_services import RegisterPushService
from runstead.http.schedules import CreateSchedule, ScheduleTarget
from runstead.http.source_schedules import SourceSchedule
from runstead.http.triggers import CreateTrigger
from runstead.http.waits import ResumeRun
from runstead.http.webhooks import CreateWebhook, UpdateWebhook

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_NULL: Final[Schema] = {"type": "null"}
_ENVIRONMENT: Final = "runtime_target_environment_id"
_BRANCH: Final = "runtime_target_branch_id"


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _members(**types: Schema) -> Schema:
    return {"properties": types}


def _when(
    case: Schema, then: Schema, otherwise: Schema | None = None, *, required: Sequence[str] = ()
) -> Schema:
    """Build the rule for objects whose members have the schemas of `case`, and which have the `required` members."""
    condition = {"properties": case} | ({"required": list(required)} if required else {})
    return {"if": condition, "then": then} | ({} if otherwise is None else {"else": otherwise})


def _where(kind: str, then: Schema, otherwise: Schema) -> Schema:
    case = {"runtime_target_kind": {"const": kind}}
    return _when(case, then, otherwise, required=["runtime_target_kind"])


def _ids(**types: Schema) -> Schema:
    """Build a schema of these members. Those of type string are required."""
    return {"properties": types, "required": [name for name, schema in types.items() if schema is _TEXT]}


#: RuntimeTarget.check
_RUNTIME_TARGET: Final = _where(
    "environment",
    _ids(**{_ENVIRONMENT: _TEXT, _BRANCH: _NULL}),
    _where(
        "preview_branch",
        _ids(**{_ENVIRONMENT: _NULL, _BRANCH: _TEXT}),
        _ids(**{_ENVIRONMENT: _NULL, _BRANCH: _NULL}),
    ),
)

_WORKFLOW: Final = _when({"workflow_id": _NULL}, _ids(target=_TEXT))

_TOOL_RESULT: Final = _when({"type": {"const": "tool_result"}}, _ids(tool_call_id=_TEXT))

_TEXT_FIELDS: Final = ["email", "number", "radio", "select", "text", "textarea", "url"]
#: form.check_fields: it drops the default of a secret field, and members that the field's type does not have.
_FORM_FIELD: Final = [
    _when({"type": {"enum": ["radio", "select"]}}, {"required": ["options"]}),
    _when(
        {"type": {"const": "checkbox"}, "secret": {"const": False}},
        _members(defaultValue={"type": "boolean"}),
    ),
    _when({"type": {"enum": _TEXT_FIELDS}, "secret": {"const": False}}, _members(defaultValue=_TEXT)),
]

#: commands.triggers.create: only agents have a conversation.
_TRIGGER: Final = _when({"target": {"pattern": "^(task|workflow|eval):"}}, _members(conversation_id=_NULL))

#: alert.check
_ALERT: Final = [
    _when({"kind": {"enum": sorted(KINDS.keys() - set(TARGET_KINDS))}}, _members(target=_NULL)),
    _when({"kind": {"enum": sorted(KINDS.keys() - {"schedule_missed"})}}, _members(schedule_id=_NULL)),
    _when(
        {"kind": {"const": "failure_rate"}}, _members(threshold={"type": ["number", "null"], "maximum": 1})
    ),
]

#: schedule.check
_SCHEDULE_TARGET: Final = [
    _when({"kind": {"enum": ["task", "workflow"]}}, _members(conversation_mode=_NULL, conversation_id=_NULL)),
    _when(
        {"conversation_mode": {"const": "existing"}},
        _ids(conversation_id=_TEXT),
        required=["conversation_mode"],
    ),
    _when(
        {"conversation_mode": {"enum": ["create_new", "none"]}},
        _members(conversation_id=_NULL),
        required=["conversation_mode"],
    ),
]

#: schedule.check: exactly one of the two
_TIMES: Final = _when({"run_at": _TEXT}, _members(schedule=_NULL), _ids(schedule=_TEXT), required=["run_at"])

#: commands.push_services.register
_PUSH_SERVICE: Final = _when(
    {"scope_kind": {"const": "project"}}, _ids(project_id=_TEXT), _members(project_id=_NULL)
)
#: The part of `egress.check_url` that a pattern can express.
_URL: Final = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x1f\x7f/?#@]+([/?][^\x00-\x1f\x7f#]*)?" + END


def describe_creations(components: dict[str, Schema]) -> None:
    """Split `CreateRun` into one body per kind of run, such as `CreateTaskRun`."""
    whole = components[CreateRun.__name__]
    plain = {shape.__name__: components[shape.__name__] for shape in REQUESTS.values()}
    bodies = {}
    for kind, shape in REQUESTS.items():
        request = f"{kind.title()}Request"
        components[request] = _request(kind, request, plain[shape.__name__])
        owner = "conversation" if kind == "agent" else "project"
        components[f"{owner.title()}Owner"] = _owner(owner, components["OwnerBody"])
        body = deepcopy(whole)
        body["title"] = bodies[kind] = f"Create{kind.title()}Run"
        body["description"] = f"A run of kind `{kind}` to create."
        body["properties"] |= {
            "kind": {"type": "string", "const": kind, "default": kind},
            "owner": reference(f"{owner.title()}Owner"),
            "request": reference(request),
        }
        if kind == "agent":  # no credential implies a conversation
            body["required"] = ["kind", "owner", "request"]
        components[body["title"]] = body
    components[CreateRun.__name__] = {
        "title": whole["title"],
        "description": whole["description"],
        "oneOf": [reference(name) for name in bodies.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: reference(name)["$ref"] for kind, name in bodies.items()},
        },
    }
    if reference("OwnerBody") not in _references(components):
        del components["OwnerBody"]


def describe_batches(components: dict[str, Schema]) -> None:
    """Split `BatchRun` into one body per kind, without owner and batch_id.

    Call it after `describe_creations`.
    """
    whole = components.get(BatchRun.__name__)
    if whole is None:
        return
    del whole["properties"]["owner"]  # accepted, but it can only be the batch's project
    bodies = {}
    for kind in ("task", "workflow", "eval"):
        request = deepcopy(components[f"{kind.title()}Request"])
        request["title"] = f"Batch{kind.title()}Request"
        del request["properties"]["batch_id"]
        body = deepcopy(whole)
        body["title"] = bodies[kind] = f"Batch{kind.title()}Run"
        body["description"] = f"A run of kind `{kind}`, owned by the project of its batch."
        body["properties"] |= {
            "kind": {"type": "string", "const": kind, "default": kind},
            "request": reference(request["title"]),
        }
        components |= {request["title"]: request, body["title"]: body}
    components[BatchRun.__name__] = {
        "title": whole["title"],
        "description": whole["description"],
        "oneOf": [reference(name) for name in bodies.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: reference(name)["$ref"] for kind, name in bodies.items()},
        },
    }


def _references(value: Any) -> Iterator[Schema]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield {"$ref": value["$ref"]}
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _references(item)


def describe_targets(components: dict[str, Schema], bodies: list[type[Any]]) -> None:
    """Add the rules of runtime targets to bodies that have one."""
    for body in bodies:
        if issubclass(body, RuntimeTarget):
            components[body.__name__].setdefault("allOf", []).append(_RUNTIME_TARGET)


def _owner(kind: str, plain: Schema) -> Schema:
    owner = deepcopy(plain)
    owner["title"] = f"{kind.title()}Owner"
    owner["description"] = f"The {kind} that the run belongs to."
    owner["properties"]["kind"] = {"type": "string", "const": kind, "default": kind}
    if kind == "conversation":
        owner["properties"]["id"] = {
            "type": "string",
            "pattern": UUID,
            "description": "The conversation's id.",
        }
    return owner


def _request(kind: str, name: str, plain: Schema) -> Schema:
    request = deepcopy(plain)
    request["title"] = name
    rules = request["allOf"] = [_RUNTIME_TARGET]
    if kind == "workflow":
        rules.append(_WORKFLOW)
    target = request["properties"]["target"]
    target["description"] = f"`{kind}:<id>`"
    for schema in (target, *target.get("anyOf", ())):
        if schema.get("pattern") == NO_CONTROLS:
            schema["pattern"] = rf"^{kind}:[^\x00-\x1f\x7f]+{END}"
            schema["minLength"] = len(kind) + 2
    return request


def describe_resumes(components: dict[str, Schema]) -> None:
    if ResumeRun.__name__ in components:
        components[ResumeRun.__name__]["allOf"] = [_TOOL_RESULT]


def describe_forms(components: dict[str, Schema]) -> None:
    if FormField.__name__ in components:
        components[FormField.__name__]["allOf"] = _FORM_FIELD
    for shape in (CreateInputRequest, InputRequestView):
        if shape.__name__ in components:
            kind = {"type": "string", "const": "form", "default": "form"}
            components[shape.__name__]["properties"]["kind"] = kind


def describe_schedules(components: dict[str, Schema]) -> None:
    if ScheduleTarget.__name__ in components:
        components[ScheduleTarget.__name__]["allOf"] = _SCHEDULE_TARGET
    for shape in (CreateSchedule, SourceSchedule):
        if shape.__name__ in components:
            components[shape.__name__].setdefault("allOf", []).append(_TIMES)
    if SourceSchedule.__name__ in components:  # an item of a body, which `describe_targets` does not see
        components[SourceSchedule.__name__]["allOf"].append(_RUNTIME_TARGET)


def describe_push_services(components: dict[str, Schema]) -> None:
    if (service := components.get(RegisterPushService.__name__)) is not None:
        service["allOf"] = [_PUSH_SERVICE]
        for url in ("base_url", "invoke_url"):
            service["properties"][url]["pattern"] = _URL


def describe_alerts(components: dict[str, Schema]) -> None:
    if (alert := components.get(CreateAlert.__name__)) is not None:
        alert["allOf"] = _ALERT


def describe_triggers(components: dict[str, Schema]) -> None:
    if (trigger := components.get(CreateTrigger.__name__)) is not None:
        trigger["allOf"] = [_TRIGGER]


def describe_webhooks(components: dict[str, Schema]) -> None:
    for shape in (CreateWebhook, UpdateWebhook):
        url = components.get(shape.__name__, {}).get("properties", {}).get("url", {})
        for schema in (url, *url.get("anyOf", ())):
            if schema.get("type") == "string":
                schema["pattern"] = _URL
