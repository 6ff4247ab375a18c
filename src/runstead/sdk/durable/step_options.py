"""The options of a step, and the two ways to name one: `ctx.step("fetch", fetch, url)` and `ctx.step(fetch, url)`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

#: The exceptions of a step that its handler gets as themselves.
Raises: TypeAlias = type[Exception] | tuple[type[Exception], ...]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one step: `await ctx.step("fetch", fetch, url, options=Step(retries=3, timeout=30))`.

    `retries` is how often a failing function is called again. `backoff` is the seconds before the first of these calls;
    they double with each one, up to 300. `timeout` bounds each call in seconds; None: no bound. An exception of a type
    in `raises` is not retried, and the handler gets it as itself and not as StepFailed.
    """

    retries: int = 0
    backoff: float = 1.0
    timeout: float | None = None
    raises: Raises = ()

    def __post_init__(self) -> None:
        if self.retries < 0 or self.backoff < 0:
            raise ValueError("retries and backoff (seconds) must not be below 0")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError("timeout (seconds) must be above 0, or None for no bound")


DEFAULT: Final = Step()


class StepCall(NamedTuple):
    """A step's name, its function with the function's arguments, and its options."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Step


def step_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepCall:
    """Read the arguments of `ctx.step`. Raise TypeError where they name no step.

    The options are the keyword `options`, or the argument after the function. A value of another type than Step is the
    function's own argument.
    """
    named = bool(args) and isinstance(args[0], str)
    function, own = args[named : named + 1], args[named + 1 :]
    if not function or not callable(function[0]):
        raise TypeError('A step needs a function: ctx.step("fetch", fetch, url), or ctx.step(fetch, url)')
    options = DEFAULT
    if own and isinstance(own[0], Step):
        options, own = own[0], own[1:]
    elif isinstance(kwargs.get("options"), Step):
        options = kwargs.pop("options")
    name = args[0] if named else _name_of(function[0])
    return StepCall(name, function[0], args=own, kwargs=kwargs, options=options)


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", "<lambda>")
    if name == "<lambda>":
        raise TypeError(f'{function!r} has no name for the step: ctx.step("name", function, …)')
    return str(name)
