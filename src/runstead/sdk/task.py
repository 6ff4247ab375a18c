"""What the decorators of an `App` return: a function that can be called as before, and started as a run."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from runstead.sdk.models.user_types import convert
from runstead.sdk.routes.create import StartOptions

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

#: Parameters of these names get the whole value. Any other parameter gets the member of its name.
WHOLE: Final = ("config", "input", "run")

#: What `client.start` takes beside the arguments of a task's function.
START_OPTIONS: Final = StartOptions.__annotations__.keys() | {"project"}
#: Return annotations by function: each step needs one, and it takes long to resolve.
_return_types: Final[WeakKeyDictionary[Callable[..., Any], Any]] = WeakKeyDictionary()


class RunRequest(NamedTuple):
    """What a run of a target is created with. `returns` is the type of its output."""

    target: str
    config: Mapping[str, Any] | None
    input: Any
    returns: Any = Any


class Task(Generic[P, R_co]):
    """A target of an app with the types of its function: P are its parameters after `ctx`, R its result.

    `ctx.spawn(task, …)` and `client.start(task, …)` create its runs, with arguments by name. `target` is its name on
    the server, such as `task:invoice`.
    """

    def __init__(self, target: str, function: Callable[..., Any]) -> None:
        self.target = target
        self.function = function.function if isinstance(function, Task) else function
        functools.update_wrapper(self, self.function)  # type: ignore[arg-type]  # a Task itself is not called

    def request(self, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> RunRequest:
        """Return what creates a run with these arguments. Raise TypeError where they do not fit the function.

        The parameters `config` and `input` are the whole values. All other arguments become members of the input,
        or of the config where `input` is a parameter.
        """
        name = self.target
        if args:
            raise TypeError(f"The arguments of {name} are given by name")
        parameters = inspect.signature(self.function).parameters
        if "run" in parameters:
            raise TypeError(f"{name} takes the run itself: start it by its target, with config and input")
        expected = [parameter for parameter in parameters.values() if parameter.name != "ctx"]
        inspect.Signature(_by_name(expected)).bind(**arguments)
        whole = {key: value for key, value in arguments.items() if key in WHOLE}
        members = {key: value for key, value in arguments.items() if key not in WHOLE} or None
        config, given = whole.get("config"), whole.get("input")
        if "input" in whole:
            config = {**(config or {}), **members} if members else config
        else:
            given = members
        return RunRequest(self.target, config=config, input=given, returns=return_type(self.function))


def run_request(target: Any, args: tuple[Any, ...], arguments: Mapping[str, Any]) -> RunRequest:
    """Return what creates a run of a task with its arguments, or of a string target with `config` and `input`."""
    if isinstance(target, Task):
        return target.request(args, arguments)
    if not isinstance(target, str):
        raise TypeError(f"A target is a string or a function with a decorator of the app, not {target!r}")
    unknown = arguments.keys() - {"config", "input"}
    if args or unknown:
        given = ", ".join(sorted(unknown)) or "positional arguments"
        raise TypeError(f"{target} gets config={{…}} and input=…, not {given}")
    return RunRequest(target, config=arguments.get("config"), input=arguments.get("input"))


def start_request(
    target: Any, args: tuple[Any, ...], options: dict[str, Any], returns: Any
) -> tuple[str, dict[str, Any], Any]:
    """Return the target, the options of a new run and the type of its result.

    The options of a task's run are START_OPTIONS; all others are arguments of its function.
    """
    if not isinstance(target, Task):
        if args or not isinstance(target, str):
            raise TypeError("A run has one target: a string, or a function with a decorator of the app")
        return target, options, returns
    chosen = {name: value for name, value in options.items() if name in START_OPTIONS}
    request = target.request(args, {name: value for name, value in options.items() if name not in chosen})
    return request.target, {"config": request.config, "input": request.input, **chosen}, request.returns


class CallableTask(Task[P, R_co], Generic[Q, C_co, P, R_co]):
    """A `Task` that is called as its function: Q are all its parameters, and C is what the call returns."""

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> C_co:
        result: C_co = self.function(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<{self.target}>"


def _by_name(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        one if one.kind is inspect.Parameter.VAR_KEYWORD else one.replace(kind=keyword) for one in parameters
    ]


def return_type(function: Callable[..., Any]) -> Any:
    """Return the function's return annotation. Any where it has none, or one that cannot be resolved."""
    try:
        return _return_types[function]
    except (KeyError, TypeError):  # TypeError: it cannot be a key
        pass
    try:
        found = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except (TypeError, NameError, AttributeError):
        return Any
    with suppress(TypeError):
        _return_types[function] = found
    return found


def converted(value: Any, wanted: Any) -> Any:
    """Convert a JSON value to a type. Raise msgspec.ValidationError where it does not fit."""
    return value if wanted is Any else convert(value, wanted)
