"""The types of `@app.task` and its siblings, for coroutines and plain functions, with a context or without."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from runstead.sdk.durable.context import Context
from runstead.sdk.durable.thread_context import ThreadContext
from runstead.sdk.task import CallableTask

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Registers a function, and returns it as a `Task` that can still be called."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> CallableTask[Concatenate[Context, P], Coroutine[Any, Any, R], P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[ThreadContext, P], R], /
    ) -> CallableTask[Concatenate[ThreadContext, P], R, P, R]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CallableTask[P, Coroutine[Any, Any, R], P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> CallableTask[P, R, P, R]: ...
