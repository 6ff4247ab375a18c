"""
Shows the routes of a client with what they return, as an extension of Griffe.

In the source a route builds a `Call[Run]`. The client that has it sends the call and returns a
`Run`; `Pages` and streams become iterators. The docstring of an endpoint begins with its route.
"""

from typing import Any, Final

from griffe import Class, Docstring, ExprCall, ExprSubscript, Extension, Function

_ITERATORS: Final = {"Pages", "StreamFollower"}


class Calls(Extension):
    """Show what a caller gets: `T` for `Call[T]` and for the coroutine `Awaits[T]`, `Iterator[T]` for `Pages[T]`."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Change the return annotations of a class, and drop overloads that differ in types alone."""
        for func in cls.functions.values():
            if func.is_alias:
                continue
            _show_result(func)
            _show_route(func)
            distinct: dict[tuple[str, ...], Function] = {}
            for overload in func.overloads or ():
                _show_result(overload)
                distinct.setdefault(tuple(each.name for each in overload.parameters), overload)
            func.overloads = list(distinct.values()) or None


def _show_result(func: Function) -> None:
    returns = func.returns
    if not isinstance(returns, ExprSubscript):
        return
    wrapper = str(returns.left)
    if wrapper in ("Call", "Awaits"):
        func.returns = returns.slice
        func.labels |= {"async"} if wrapper == "Awaits" else set()
    elif wrapper in _ITERATORS:
        func.returns = f"Iterator[{returns.slice}]"


def _show_route(func: Function) -> None:
    for decorator in func.decorators:
        if isinstance(decorator.value, ExprCall) and str(decorator.value.function) == "endpoint":
            method, template = (str(each).strip("'\"") for each in decorator.value.arguments[:2])
            about = f": {func.docstring.value}" if func.docstring else ""
            func.docstring = Docstring(f"`{method} {template}`{about}", parent=func)
