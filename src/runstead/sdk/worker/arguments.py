"""Converts a run's config and input to the arguments of a function, by its annotations."""

import inspect
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

from runstead.sdk.durable.context import HandlerContext, RunFailed
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.user_types import decode_hook
from runstead.sdk.task import WHOLE

#: The name of a first parameter without a type that gets the context.
CONTEXT: Final = "ctx"


class Arguments:
    """The parameters of a function `(ctx, …)` or `(…)`. Raise TypeError where its signature cannot be served."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = getattr(function, "__name__", type(function).__name__)
        parameters = list(inspect.signature(function).parameters.values())
        try:
            self._types = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"An annotation of {self._name} cannot be resolved: {error}") from error
        contexts = [one for one in parameters if self._is_context(one)]
        self.takes_context = bool(contexts)
        if contexts and (len(contexts) > 1 or contexts[0] is not parameters[0]):
            raise TypeError(f"{self._name} must take the context first: def {self._name}(ctx, …)")
        self._parameters = parameters[len(contexts) :]
        for parameter in self._parameters:
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY):
                raise TypeError(f"{self._name} takes its arguments by name: {parameter} cannot be given")

    def _is_context(self, parameter: inspect.Parameter) -> bool:
        wanted = self._types.get(parameter.name)
        return parameter.name == CONTEXT or (isinstance(wanted, type) and issubclass(wanted, HandlerContext))

    @property
    def of_input(self) -> list[tuple[inspect.Parameter, Any]]:
        """The parameters that a run's input gives values to, with their types."""
        return [
            (one, self._types.get(one.name, Any))
            for one in self._parameters
            if one.name not in ("config", "run")
        ]

    def of(self, run: ClaimedRun) -> dict[str, Any]:
        """Return the arguments by name. Raise RunFailed with INVALID_INPUT where one is missing or has another type."""
        values = _members(run)
        bound: dict[str, Any] = {}
        for parameter in self._parameters:
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                bound |= {name: value for name, value in values.items() if name not in bound}
            elif parameter.name in WHOLE:
                value = run if parameter.name == "run" else getattr(run, parameter.name)
                if value is None and parameter.default is not inspect.Parameter.empty:
                    continue
                bound[parameter.name] = value if value is run else self._convert(parameter.name, value)
            elif parameter.name in values:
                bound[parameter.name] = self._convert(parameter.name, values[parameter.name])
            elif parameter.default is inspect.Parameter.empty:
                raise RunFailed(
                    f"{self._name} needs {parameter.name!r}: add it to the run's config or input",
                    "INVALID_INPUT",
                )
        return bound

    def _convert(self, name: str, value: Any) -> Any:
        try:
            return msgspec.convert(value, self._types.get(name, Any), dec_hook=decode_hook)
        except msgspec.ValidationError as error:
            raise RunFailed(
                f"The argument {name!r} of {self._name} is not valid: {error}", "INVALID_INPUT"
            ) from None


def _members(run: ClaimedRun) -> dict[str, Any]:
    """Return the members of the config and the input. The input's members take precedence."""
    members: dict[str, Any] = {}
    for value in (run.config, run.input):
        if isinstance(value, dict):
            members |= value
    return members
