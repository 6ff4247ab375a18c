"""Routes as methods that build calls. In `Client` and `AsyncClient` the same method sends the call."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from runstead.sdk.routes.call import Call

P = ParamSpec("P")
T = TypeVar("T")


class RouteGroup:
    """Base of every group of routes. `project` is the default project, an id or slug."""

    project: str | None = None

    def _project(self, project: str | None) -> str:
        ref = project or self.project
        if ref is None:
            raise ValueError("This call needs a project: pass one to the client or to the call")
        return ref


class SyncSender:
    """A client whose methods block."""

    def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        raise NotImplementedError


class AsyncSender:
    """A client whose methods are coroutines."""

    async def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        raise NotImplementedError


class CallFactory:
    """Not a client: its methods return the calls."""


class Route(Generic[P, T]):
    """A method that sends the call that `build` returns."""

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, caller: None, owner: type) -> Callable[Concatenate[Any, P], Call[T]]: ...
    @overload
    def __get__(self, caller: SyncSender, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, caller: AsyncSender, owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, caller: CallFactory, owner: type | None = None) -> Callable[P, Call[T]]: ...
    def __get__(self, caller: Any, owner: type | None = None) -> Any:
        if caller is None:
            return self.build
        build = self.build.__get__(caller)
        if isinstance(caller, CallFactory):
            return build

        @functools.wraps(build)
        def send(*args: P.args, **kwargs: P.kwargs) -> Any:
            return caller.send(build(*args, **kwargs))

        return send


def route(build: Callable[Concatenate[Any, P], Call[T]]) -> Route[P, T]:
    return Route(build)
