"""Rules between members that the types of bodies cannot express, as JSON Schema."""

from collections.abc import Iterator, Mapping, Sequence
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


#: Type → the rules between its members.
_RULES: Final[dict[type[Any], list[Schema]]] = {
    ResumeRun: [_TOOL_RESULT],
    FormField: _FORM_FIELD,
    ScheduleTarget: _SCHEDULE_TARGET,
    CreateSchedule: [_TIMES],
    SourceSchedule: [_TIMES, _RUNTIME_TARGET],  # an item of a body, which `describe_targets` does not see
    RegisterPushService: [_PUSH_SERVICE],
    CreateTrigger: [_TRIGGER],
    CreateAlert: _ALERT,
}
_WITH_URLS: Final = {
    RegisterPushService: ("base_url", "invoke_url"),
    CreateWebhook: ("url",),
    UpdateWebhook: ("url",),
}


def describe_rules(components: dict[str, Schema]) -> None:
    """Add the rules of each type, and what patterns and constants can express."""
    for shape, rules in _RULES.items():
        if shape.__name__ in components:
            components[shape.__name__].setdefault("allOf", []).extend(rules)
    for shape, names in _WITH_URLS.items():
        properties = components.get(shape.__name__, {}).get("properties", {})
        for url in (properties[name] for name in names if name in properties):
            for schema in (url, *url.get("anyOf", ())):
                if schema.get("type") == "string":
                    schema["pattern"] = _URL
    for shape in (CreateInputRequest, InputRequestView):
        if shape.__name__ in components:
            components[shape.__name__]["properties"]["kind"] = _constant("form")


def _constant(value: str) -> Schema:
    return {"type": "string", "const": value, "default": value}


def describe_creations(components: dict[str, Schema]) -> None:
    """Split `CreateRun` into one body per kind of run, such as `CreateTaskRun`."""
    whole = components[CreateRun.__name__]
    plain = {shape.__name__: components[shape.__name__] for shape in REQUESTS.values()}
    names = {}
    for kind, shape in REQUESTS.items():
        request = f"{kind.title()}Request"
        components[request] = _request(kind, request, plain[shape.__name__])
        owner = "conversation" if kind == "agent" else "project"
        components[f"{owner.title()}Owner"] = _owner(owner, components["OwnerBody"])
        names[kind] = f"Create{kind.title()}Run"
        body = _of_kind(kind, names[kind], f"A run of kind `{kind}` to create.", whole)
        body["properties"] |= {"owner": reference(f"{owner.title()}Owner"), "request": reference(request)}
        if kind == "agent":  # no credential implies a conversation
            body["required"] = ["kind", "owner", "request"]
        components[names[kind]] = body
    components[CreateRun.__name__] = _one_of(whole, names)
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
    names = {kind: f"Batch{kind.title()}Run" for kind in ("task", "workflow", "eval")}
    for kind, name in names.items():
        request = deepcopy(components[f"{kind.title()}Request"])
        request["title"] = f"Batch{kind.title()}Request"
        del request["properties"]["batch_id"]
        body = _of_kind(kind, name, f"A run of kind `{kind}`, owned by the project of its batch.", whole)
        body["properties"]["request"] = reference(request["title"])
        components |= {request["title"]: request, name: body}
    components[BatchRun.__name__] = _one_of(whole, names)


def _of_kind(kind: str, name: str, description: str, whole: Schema) -> Schema:
    """Return the schema of the whole body for one kind of run."""
    body = deepcopy(whole) | {"title": name, "description": description}
    body["properties"]["kind"] = _constant(kind)
    return body


def _one_of(whole: Schema, names: Mapping[Any, str]) -> Schema:
    """Return the schema of a body that is one of these: kind → name."""
    return {
        "title": whole["title"],
        "description": whole["description"],
        "oneOf": [reference(name) for name in names.values()],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: reference(name)["$ref"] for kind, name in names.items()},
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
    owner = _of_kind(kind, f"{kind.title()}Owner", f"The {kind} that the run belongs to.", plain)
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
