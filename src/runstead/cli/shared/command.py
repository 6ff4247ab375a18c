"""Commands that call a server: a function of a client, which returns what is printed."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_args, get_origin

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.results import Output

if TYPE_CHECKING:
    from runstead.sdk import Client
else:
    Client = Any  # a command imports the SDK when it runs, so that `--help` is fast

__all__ = ["Client", "command"]

P = ParamSpec("P")


def command(
    group: App, name: str, *, project: bool = False, default: bool = False
) -> Callable[[Callable[Concatenate[Client, P], Output]], Callable[Concatenate[Client, P], Output]]:
    """Add a function to a group as the command `name`, with the options of the connection and `--json`.

    The function gets the client of the named server before its own parameters, and `json` if it has that parameter. It
    returns what is printed. Errors of the call end the program. A text in an annotation is the help of its option.
    `project`: the command needs a project. `default`: the group alone is the command too.
    """

    def add(
        function: Callable[Concatenate[Client, P], Output],
    ) -> Callable[Concatenate[Client, P], Output]:
        parameters = list(inspect.signature(function).parameters.values())
        own = [one for one in parameters[1:] if one.name != "json"]
        takes_json = len(own) < len(parameters) - 1

        @functools.wraps(function)
        def run(*args: Any, server: ServerOptions = NO_OPTIONS, json: AsJson = False, **kwargs: Any) -> None:
            if takes_json:
                kwargs["json"] = json
            with connected(server, project=project) as client:
                output = function(client, *args, **kwargs)
            output.show(json=json)

        # cyclopts reads the options from the signature.
        keyword = inspect.Parameter.KEYWORD_ONLY
        more = [
            inspect.Parameter("server", keyword, default=NO_OPTIONS, annotation=ServerOptions),
            inspect.Parameter("json", keyword, default=False, annotation=AsJson),
        ]
        shown = [one.replace(annotation=_with_help(one.annotation)) for one in own]
        run.__signature__ = inspect.Signature([*shown, *more])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in [*shown, *more]}
        group.command(run, name=name)
        if default:
            group.default(run)
        return function

    return add


def _with_help(annotation: Any) -> Any:
    """Return the annotation with the text in it as cyclopts' help."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *about = get_args(annotation)
    return Annotated[(kind, *(Parameter(help=one) if isinstance(one, str) else one for one in about))]
