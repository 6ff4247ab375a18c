"""From a run's config and input to a function's arguments, by its annotations."""

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

from runstead.sdk.durable.context import RunFailed
from runstead.sdk.models.lease import ClaimedRun

#: Parameters of these names get the whole of it; any other gets the member of its name.
_WHOLE: Final = ("config", "input", "run")


class Arguments:
    """Made once for a function `(ctx, …)`; TypeError at once where its signature cannot be served."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = getattr(function, "__name__", type(function).__name__)
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise TypeError(f"{self._name} must take the context first: def {self._name}(ctx, …)")
        self._parameters = parameters[1:]
        for parameter in self._parameters:
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
                raise TypeError(f"{self._name} takes its arguments by name: {parameter} cannot be given")
        try:
            self._types = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"An annotation of {self._name} cannot be resolved: {error}") from error

    def of(self, run: ClaimedRun) -> dict[str, Any]:
        """By name. RunFailed with INVALID_INPUT, naming the argument, where one is missing or of another type."""
        given = _members(run)
        bound: dict[str, Any] = {}
        for parameter in self._parameters:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound |= {name: value for name, value in given.items() if name not in bound}
            elif parameter.name in _WHOLE:
                value = run if parameter.name == "run" else getattr(run, parameter.name)
                if value is None and parameter.default is not inspect.Parameter.empty:
                    continue
                bound[parameter.name] = value if value is run else self._as_told(parameter.name, value)
            elif parameter.name in given:
                bound[parameter.name] = self._as_told(parameter.name, given[parameter.name])
            elif parameter.default is inspect.Parameter.empty:
                raise RunFailed(
                    f"{self._name} needs {parameter.name!r}: give it as a member of the run's config or input",
                    "INVALID_INPUT",
                )
        return bound

    def _as_told(self, name: str, value: Any) -> Any:
        try:
            return msgspec.convert(value, self._types.get(name, Any))
        except msgspec.ValidationError as error:
            raise RunFailed(
                f"The argument {name!r} of {self._name} is not valid: {error}", "INVALID_INPUT"
            ) from None


def _members(run: ClaimedRun) -> dict[str, Any]:
    """Those of the config, and over them those of the input."""
    members: dict[str, Any] = {}
    for whole in (run.config, run.input):
        if isinstance(whole, dict):
            members |= whole
    return members
