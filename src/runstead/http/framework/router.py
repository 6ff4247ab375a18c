"""Find the endpoint of a path in a tree of dictionaries, one level per path segment."""

from collections.abc import Iterable
from typing import Any, Final

from runstead.http.framework.endpoint import Endpoint, Operation, Server

#: Keys of the tree: a parameter, and the end of a path. Segments are strings, so these keys never collide.
_PARAMETER: Final = None
_END: Final = 0

_Leaf = tuple[Endpoint, tuple[tuple[str, int], ...]]
"""An endpoint, and the (name, segment index) of each path parameter."""
_Node = dict[Any, Any]


class Router:
    """Finds endpoints.

    A literal segment takes precedence over a parameter: `/runs/event-types` is not a run.
    """

    def __init__(self, server: Server, operations: Iterable[Operation]) -> None:
        paths: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            methods = paths.setdefault(operation.path, {})
            assert operation.method not in methods, operation.path
            methods[operation.method] = operation
        self.endpoints: list[Endpoint] = []
        self._root: _Node = {}
        for path, methods in paths.items():
            node, names = self._root, []
            for index, segment in enumerate(path.split("/")):
                is_parameter = segment.startswith("{")
                if is_parameter:
                    names.append((segment[1:-1], index))
                node = node.setdefault(_PARAMETER if is_parameter else segment, {})
            assert _END not in node, path
            self.endpoints.append(Endpoint(server, path, methods))
            node[_END] = (self.endpoints[-1], tuple(names))
        _spread(self._root)

    def find(self, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """Return the endpoint of a decoded path and its parameters, or None."""
        node, segments = self._root, path.split("/")
        for segment in segments:
            child = node.get(segment)
            if child is None:
                child = node.get(_PARAMETER) if segment else None
                if child is None:
                    return None
            node = child
        leaf: _Leaf | None = node.get(_END)
        if leaf is None:
            return None
        return leaf[0], {name: segments[index] for name, index in leaf[1]}


def _spread(node: _Node) -> None:
    """Copy the children of a parameter to its literal siblings, so that a search never backtracks."""
    parameter = node.get(_PARAMETER)
    for segment, child in node.items():
        if segment is _END:
            continue
        if parameter is not None and segment is not _PARAMETER:
            _merge(child, parameter)
        _spread(child)


def _merge(into: _Node, other: _Node) -> None:
    for segment, child in other.items():
        if segment is _END or segment not in into:
            into.setdefault(segment, child)
        else:
            _merge(into[segment], child)
