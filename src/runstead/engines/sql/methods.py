"""How the methods of a noun run: each is a generator function of steps, which a decorator runs on the database."""

from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from runstead.engines.sql.steps import Database, Steps

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", bound="SqlNoun")
Method: TypeAlias = Callable[Concatenate[N, P], Coroutine[Any, Any, T]]


class SqlNoun:
    def __init__(self, database: Database) -> None:
        self._database = database


def read(steps: Callable[Concatenate[N, P], Steps[T]]) -> Method[N, P, T]:
    """Runs the steps as `Database.read` does."""

    @wraps(steps)
    async def method(noun: N, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await noun._database.read(steps, noun, *args, **kwargs)  # noqa: SLF001 - a method of the noun

    return method


def scan(steps: Callable[Concatenate[N, P], Steps[T]]) -> Method[N, P, T]:
    """Runs the steps as `Database.scan` does."""

    @wraps(steps)
    async def method(noun: N, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await noun._database.scan(steps, noun, *args, **kwargs)  # noqa: SLF001 - a method of the noun

    return method


def paged(steps: Callable[Concatenate[N, P], Steps[T]]) -> Method[N, P, T]:
    """Runs the steps as `Database.page` does."""

    @wraps(steps)
    async def method(noun: N, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await noun._database.page(steps, noun, *args, **kwargs)  # noqa: SLF001 - a method of the noun

    return method


def command(steps: Callable[Concatenate[N, int, P], Steps[T]]) -> Method[N, P, T]:
    """Runs the steps in a transaction. Their first argument, which callers leave out, is the engine's time in ms.

    An argument `idempotency` is the idempotency record of the transaction. The steps need not use it.
    """
    return _transaction(steps, quick=False)


def quick_command(steps: Callable[Concatenate[N, int, P], Steps[T]]) -> Method[N, P, T]:
    """As `command`, for steps that take well under a millisecond."""
    return _transaction(steps, quick=True)


def _transaction(steps: Callable[Concatenate[N, int, P], Steps[T]], *, quick: bool) -> Method[N, P, T]:
    _, _, *names = signature(steps).parameters
    place = names.index("idempotency") if "idempotency" in names else len(names)

    @wraps(steps)
    async def method(noun: N, /, *args: P.args, **kwargs: P.kwargs) -> T:
        idempotency: Any = args[place] if len(args) > place else kwargs.get("idempotency")
        return await noun._database.write(  # noqa: SLF001 - a method of the noun
            lambda now: steps(noun, now, *args, **kwargs), idempotency, quick=quick
        )

    return method
