"""Routes as declarations: the signature of a method names what is sent, and its body is its docstring alone."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, Final, Literal, ParamSpec, TypeVar, get_args

from msgspec import UNSET

from runstead.sdk.routes.call import Call, Method, fence, members, new_key, path, query
from runstead.sdk.routes.route import Resource, Route

P = ParamSpec("P")
T = TypeVar("T")

#: Parameters that are neither in the query nor in the body: the last two are headers.
_APART: Final = frozenset({"project", "idempotency_key", "lease_token", "if_match"})


def endpoint(
    method: Method,
    template: str,
    *,
    key: Literal["none", "new", "given"] = "none",
    body: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    convert: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Callable[[Callable[Concatenate[Any, P], Call[T]]], Route[P, T]]:
    """Return the decorator of a method that sends exactly its parameters, and returns the `T` of its `Call[T]`.

    `template` is the path: `{run_id}` is the parameter `run_id`, and `{ref}` the project of the call or of the client.
    The other parameters are the query of a GET or a DELETE, and members of the body of all others, beside those in
    `body`. None is left out, except where the default is UNSET: then UNSET is left out, and None is sent.

    `key` is the idempotency key: with `new` the caller's or a new one, with `given` the caller's, and without one the
    call is not repeated. `names` are the members whose parameters have other names, and `convert` makes the value that is
    sent of a parameter's.
    """
    names, convert = names or {}, convert or {}
    segments = template.strip("/").split("/")

    def declare(declared: Callable[Concatenate[Any, P], Call[T]]) -> Route[P, T]:
        parameters = dict(list(inspect.signature(declared).parameters.items())[1:])
        defaults = {name: one.default for name, one in parameters.items() if one.default is not one.empty}
        in_path = {segment[1:-1] for segment in segments if segment.startswith("{")}
        sent = [name for name in parameters if name not in in_path | _APART]
        has_body = method not in ("GET", "DELETE") and (body is not None or bool(sent))
        answer: type[T] = get_args(declared.__annotations__["return"])[0]

        @functools.wraps(declared)
        def build(resource: Any, /, *args: P.args, **kwargs: P.kwargs) -> Call[T]:
            declared(resource, *args, **kwargs)  # raises TypeError for arguments that do not fit
            values = {**defaults, **dict(zip(parameters, args, strict=False)), **kwargs}
            where = [_filled(segment, values, resource) for segment in segments]
            values |= {name: change(values[name]) for name, change in convert.items()}
            given = {
                names.get(name, name): values[name]
                for name in sent
                if values[name] is not (UNSET if defaults.get(name) is UNSET else None)
            }
            own_key = values.get("idempotency_key")
            return Call(
                method,
                path(*where),
                answer,
                query=() if has_body else query(**given),
                body={**(body or {}), **given} if has_body else UNSET,
                headers=fence(values.get("lease_token")) | members(**{"If-Match": values.get("if_match")}),
                idempotency_key=own_key or new_key() if key == "new" else own_key,
                repeatable=key != "given" or own_key is not None,
            )

        about = f"`{method} {template}`"
        build.__doc__ = f"{about}: {declared.__doc__}" if declared.__doc__ else about
        return Route(build)

    return declare


def _filled(segment: str, values: Mapping[str, Any], resource: Resource[Any]) -> str:
    if segment == "{ref}":
        return resource._project(values["project"])  # noqa: SLF001 - its own method
    return str(values[segment[1:-1]] or "") if segment.startswith("{") else segment
