"""Routes as methods of resources. A method builds calls; the client that holds the resource sends them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from runstead.sdk.errors import RunsteadError
from runstead.sdk.models.response import PageInfo
from runstead.sdk.models.value import Codec
from runstead.sdk.routes.call import Call, path
from runstead.sdk.transport.stream_follower import StreamFollower

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Caller:
    """What holds resources. `project` is the default project of calls, an id or slug."""

    project: str | None = None
    #: Encodes and decodes the values of runs.
    codec: Codec | None = None


class SyncSender(Caller):
    """A client whose methods block."""

    def request(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        raise NotImplementedError

    def _follow(self, follower: StreamFollower[T], deadline: float | None = None) -> Generator[T, None, None]:
        raise NotImplementedError

    def _perform(self, calls: Generator[Call[Any], Any, T]) -> T:
        raise NotImplementedError


class AsyncSender(Caller):
    """A client whose methods are coroutines."""

    async def request(self, call: Call[T]) -> T:
        """Send any call, with retries, and return its decoded answer."""
        raise NotImplementedError

    def _follow(self, follower: StreamFollower[T]) -> AsyncGenerator[T, None]:
        raise NotImplementedError

    async def _perform(self, calls: Generator[Call[Any], Any, T]) -> T:
        return await perform(calls, self.request)


async def perform(calls: Generator[Call[Any], Any, T], send: Callable[[Call[Any]], Awaitable[Any]]) -> T:
    """Send the calls that a procedure yields, and return its value."""
    try:
        call = next(calls)
        while True:
            try:
                answer = await send(call)
            except RunsteadError as error:
                call = calls.throw(error)
            else:
                call = calls.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value


class CallFactory(Caller):
    """Not a client: the methods of its resources return the calls."""


S_co = TypeVar("S_co", bound=Caller, covariant=True)


class Resource(Generic[S_co]):
    """Base of every resource: the routes of one noun, such as `client.runs`."""

    def __init__(self, client: S_co) -> None:
        self._client: Final = client

    def _project(self, project: str | None) -> str:
        ref = project or self._client.project
        if ref is None:
            raise ValueError("This call needs a project: pass one to the client or to the call")
        return ref

    def _in_project(self, project: str | None, *segments: str) -> str:
        """Return a path below the project of the call, or of the client."""
        return path("projects", self._project(project), *segments)


class PageOf(Protocol[T_co]):
    """An answer with items of a list: a `Page`, a `Listing` or a `ScheduleList`."""

    @property
    def data(self) -> Sequence[T_co]: ...

    @property
    def page_info(self) -> PageInfo: ...


class Pages(Generic[T]):
    """Calls that read a list page by page: `read(start)`, then `read(next_after(page))` until that is None."""

    def __init__(
        self,
        read: Callable[[Any], Call[Any]],
        start: Any = None,
        next_after: Callable[[Any], Any] = lambda page: page.page_info.next,
    ) -> None:
        self.call: Call[Any] | None = read(start)
        self._read = read
        self._next_after = next_after

    def items(self, page: Any) -> list[T]:
        """Return the items of a page, and set `call` to that of the next page, None after the last one."""
        after = self._next_after(page)
        self.call = None if after is None else self._read(after)
        items: list[T] = page.data
        return items


class _Method:
    """A method of a resource. The client's method named `how` performs what `build` returns."""

    how: str

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build
        self.__doc__ = build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _bind(self, resource: Any) -> Any:
        if resource is None:
            return self.build
        build = self.build.__get__(resource)
        client = resource if isinstance(resource, Caller) else resource._client  # noqa: SLF001 - its own method
        if isinstance(client, CallFactory):
            bound = build
        else:
            perform = getattr(client, self.how)

            def bound(*args: Any, **kwargs: Any) -> Any:
                return perform(build(*args, **kwargs))

            bound.__name__, bound.__doc__ = self._name, self.__doc__
        if client is not resource:
            # The next look-up of the method finds it here, without the descriptor.
            vars(resource)[self._name] = bound
        return bound


class Route(_Method, Generic[P, T_co]):
    """A method that sends a call, and returns its answer. It is a method of a resource, or of the client itself."""

    how = "request"

    def __init__(self, build: Callable[Concatenate[Any, P], Call[T_co]]) -> None:
        super().__init__(build)

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[Concatenate[Any, P], Call[T_co]]: ...
    @overload
    def __get__(
        self, resource: Resource[SyncSender] | SyncSender, owner: type | None = None
    ) -> Callable[P, T_co]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncSender] | AsyncSender, owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, T_co]]: ...
    @overload
    def __get__(
        self, resource: Resource[CallFactory], owner: type | None = None
    ) -> Callable[P, Call[T_co]]: ...
    def __get__(self, resource: Any, owner: type | None = None) -> Any:
        return self._bind(resource)


class Procedure(_Method, Generic[P, T]):
    """A method that sends several calls: a generator that yields calls, receives their answers, and returns a value.

    It is a method of a resource, or of the client itself.
    """

    how = "_perform"

    def __init__(self, build: Callable[Concatenate[Any, P], Generator[Call[Any], Any, T]]) -> None:
        super().__init__(build)

    @overload
    def __get__(self, holder: None, owner: type) -> Callable[..., Generator[Call[Any], Any, T]]: ...
    @overload
    def __get__(
        self, holder: Resource[SyncSender] | SyncSender, owner: type | None = None
    ) -> Callable[P, T]: ...
    @overload
    def __get__(
        self, holder: Resource[AsyncSender] | AsyncSender, owner: type | None = None
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        return self._bind(holder)


class _Iteration(_Method, Generic[P, T]):
    """A method that yields items."""

    @overload
    def __get__(self, resource: None, owner: type) -> Callable[..., Any]: ...
    @overload
    def __get__(
        self, resource: Resource[SyncSender], owner: type | None = None
    ) -> Callable[P, Generator[T, None, None]]: ...
    @overload
    def __get__(
        self, resource: Resource[AsyncSender], owner: type | None = None
    ) -> Callable[P, AsyncGenerator[T, None]]: ...
    def __get__(self, resource: Any, owner: type | None = None) -> Any:
        return self._bind(resource)


class PagedRoute(_Iteration[P, T]):
    """A method that yields every item of a list, page by page."""

    how = "_iterate"

    def __init__(self, build: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        super().__init__(build)


class StreamRoute(_Iteration[P, T]):
    """A method that yields the items of a stream as they come, over any number of connections."""

    how = "_follow"

    def __init__(self, build: Callable[Concatenate[Any, P], StreamFollower[T]]) -> None:
        super().__init__(build)


# Their names as decorators.
route = Route
procedure = Procedure
paged = PagedRoute
stream = StreamRoute


def every(listing: Route[P, PageOf[T]], item: type[T]) -> PagedRoute[P, T]:
    """Return the method that yields every item of a list, from its `cursor` on. `item` is the items' type."""

    def pages(resource: Any, /, *args: P.args, **kwargs: P.kwargs) -> Pages[T]:
        def read(cursor: Any) -> Call[Any]:
            return listing.build(resource, *args, **{**kwargs, "cursor": cursor})  # type: ignore[no-any-return]

        return Pages(read, kwargs.get("cursor"))

    of = (listing.build.__doc__ or "``").split("`")[1]
    pages.__doc__ = f"Yield each `{item.__name__}` of `{of}`, page by page."
    return PagedRoute(pages)
