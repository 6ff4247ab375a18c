"""The first arguments of commands: the app, the caller, and what the path names.

`commands.get(*named(call))` is `commands.get(call.app, call.principal, project, alert_id)` at
`/projects/{project}/alerts/{alert_id}`.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core.identity.principal import Principal
from runstead.http.framework.endpoint import Call
from runstead.http.runs import run_ref

T = TypeVar("T")


def scoped(call: Call[Any, Any]) -> tuple[App, Principal, str]:
    """The app, the caller, and the first name in the path, such as the project."""
    return call.app, call.principal, next(iter(call.path.values()))


def named(call: Call[Any, Any]) -> tuple[App, Principal, str, str]:
    """The app, the caller, and the first two names in the path, such as the project and the alert."""
    first, second, *_ = call.path.values()
    return call.app, call.principal, first, second


def on_run(call: Call[Any, Any]) -> tuple[App, Principal, RunRef]:
    """The app, the caller, and the run that the path and the query name."""
    return call.app, call.principal, run_ref(call)


def from_body(shape: Callable[..., T], body: msgspec.Struct, **members: Any) -> T:
    """Build a command's argument with these members; the others are the body's members of the same names.

    Raises AttributeError if the body has no such member.
    """
    names = (field.name for field in msgspec.structs.fields(shape))  # type: ignore[arg-type]
    return shape(**{name: getattr(body, name) for name in names if name not in members}, **members)


def set_members(body: msgspec.Struct) -> dict[str, Any]:
    """Return the members of a body that the request has, without those that are unset."""
    members = msgspec.structs.asdict(body).items()
    return {name: value for name, value in members if value is not msgspec.UNSET}
