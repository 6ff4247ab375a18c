"""A command that calls a server is a function of a client. Every command returns or shows an `Output`."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, NamedTuple, ParamSpec, get_args, get_origin

from cyclopts import App, Parameter

from runstead.cli.shared.connection import NO_OPTIONS, ServerOptions, connected
from runstead.cli.shared.options import AsJson
from runstead.cli.shared.output import write_err, write_out
from runstead.cli.shared.render import Column, Screen, document, safe, table

if TYPE_CHECKING:
    from runstead.sdk import Client
else:
    Client = Any  # a command imports the SDK when it runs, so that `--help` is fast

__all__ = ["Client", "Output", "command", "facts", "listed", "one_line", "with_secret"]

P = ParamSpec("P")


class Output(NamedTuple):
    """What a command prints: `value` as JSON, or `text` for people, with a `note` on stderr."""

    value: Any
    text: str = ""
    note: str = ""
    exit_code: int = 0

    def show(self, *, json: bool) -> None:
        """Print it. End the program unless the exit code is 0."""
        if json:
            write_out(document(self.value))
        elif self.text:
            write_out(self.text)
        if self.note and not json:
            write_err(self.note)
        if self.exit_code:
            sys.exit(self.exit_code)


def listed(found: Sequence[Any], columns: Sequence[Column[Any]], what: str) -> Output:
    """Return a JSON array, a table, or `no …` on stderr if the list is empty."""
    if found:
        return Output(found, table(columns, found, Screen.of()))
    return Output(found, note=f"no {what}")


def with_secret(answer: Any, name: str, value: str | None, note: str) -> Output:
    """Return the name of a new object and its secret on a line each, with a note about the secret on stderr."""
    if value is None:
        return Output(answer, name)
    return Output(answer, f"{name}\n{value}", f"runstead: the second line is {note}; it is shown only now")


def one_line(value: Any, text: str) -> Output:
    """Return the value as JSON, or the line that describes it. Harmful characters are escaped."""
    return Output(value, safe(text))


def facts(value: Mapping[str, Any]) -> Output:
    """Return the members of an object, on a line each."""
    return Output(value, "\n".join(f"{name}: {safe(str(member))}" for name, member in value.items()))


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
