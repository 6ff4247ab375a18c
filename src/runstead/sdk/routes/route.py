"""A route is written once, as a method that describes its call. `Client` sends it, `AsyncClient` awaits it."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from runstead.sdk.routes.call import Call

P = ParamSpec("P")
T = TypeVar("T")


class RouteGroup:
    """Base of every group of routes. `project` is the id or slug that calls mean unless told otherwise."""

    project: str | None = None

    def _project(self, given: str | None) -> str:
        ref = given or self.project
        if ref is None:
            raise ValueError("This call needs a project: give one to the client or to the call")
        return ref


class SyncSender:
    """A client that blocks."""

    def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and decode its answer."""
        raise NotImplementedError


class AsyncSender:
    """A client that is awaited."""

    async def send(self, call: Call[T]) -> T:
        """Send any call, with retries, and decode its answer."""
        raise NotImplementedError


class CallFactory:
    """Neither: what it answers is the call itself."""


class Route(Generic[P, T]):
    """The method that a describing function becomes."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.describe = describe
        self.__doc__ = describe.__doc__

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
            return self.describe
        described = self.describe.__get__(caller)
        if isinstance(caller, CallFactory):
            return described

        @functools.wraps(described)
        def sent(*args: P.args, **kwargs: P.kwargs) -> Any:
            return caller.send(described(*args, **kwargs))

        return sent


def route(describe: Callable[Concatenate[Any, P], Call[T]]) -> Route[P, T]:
    return Route(describe)
