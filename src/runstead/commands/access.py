"""Access to a project: what a command needs of its caller, and what the audit log records of it."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from runstead.commands import locate
from runstead.commands.app import App
from runstead.core.audit import Action, by
from runstead.core.identity.principal import Principal, Scope
from runstead.core.identity.project import Project, user_uuid
from runstead.ports.store import Recording, Store

P = ParamSpec("P")
T = TypeVar("T")


class Access(NamedTuple):
    """A caller in a project, in which it has the scope that the command needs."""

    app: App
    principal: Principal
    project: Project
    action: Action | None

    @property
    def project_id(self) -> str:
        return self.project.id

    @property
    def user(self) -> str | None:
        """The id of the user who calls, for `created_by`. None: a credential of no user."""
        return user_uuid(self.principal.id)

    @property
    def store(self) -> Store:
        return self.app.store

    @property
    def recording(self) -> Recording:
        """The nouns of the store, whose changes are recorded as the action of the command."""
        assert self.action is not None
        return self.app.store.recording(by(self.principal, self.action, self.project.id))


def needs(
    scope: Scope, *, bound: str | None = None, records: Action | None = None
) -> Callable[
    [Callable[Concatenate[Access, P], Awaitable[T]]],
    Callable[Concatenate[App, Principal, str, P], Awaitable[T]],
]:
    """Turn a function of an access into a command: its callers pass the app, the principal, and a project's id or slug.

    The command raises NOT_FOUND, and FORBIDDEN without the scope. `bound`: what a token of one run or conversation
    cannot do. Such a token is refused. `records`: the action of changes through `Access.recording`.
    """

    def decorate(
        function: Callable[Concatenate[Access, P], Awaitable[T]],
    ) -> Callable[Concatenate[App, Principal, str, P], Awaitable[T]]:
        @wraps(function)
        async def command(
            app: App, principal: Principal, ref: str, /, *args: P.args, **kwargs: P.kwargs
        ) -> T:
            project = await locate.project(app, principal, scope, ref, bound=bound)
            return await function(Access(app, principal, project, records), *args, **kwargs)

        return command

    return decorate
