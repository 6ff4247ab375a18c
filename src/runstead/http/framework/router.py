"""Which endpoint serves a path: a tree of dictionaries, one step for each part of the path."""

from collections.abc import Iterable
from typing import Any, Final

from runstead.http.framework.endpoint import Endpoint, Operation, Server

#: Where a part of a path may be anything, and where a path ends. No part of a path is None or a number.
_ANYTHING: Final = None
_END: Final = 0

_Leaf = tuple[
    Endpoint, tuple[tuple[str, int], ...]
]  # with its names, and at which part of the path each stands
_Node = dict[Any, Any]


class Router:
    """Finds endpoints. A part that a path spells out wins over one that may be anything: `/runs/event-types` is no run."""

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
            for place, part in enumerate(path.split("/")):
                anything = part.startswith("{")
                if anything:
                    names.append((part[1:-1], place))
                node = node.setdefault(_ANYTHING if anything else part, {})
            assert _END not in node, path
            self.endpoints.append(Endpoint(server, path, methods))
            node[_END] = (self.endpoints[-1], tuple(names))
        _spread(self._root)

    def find(self, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint of a decoded path, and what stands at the path's names."""
        node, parts = self._root, path.split("/")
        for part in parts:
            below = node.get(part)
            if below is None:
                below = node.get(_ANYTHING) if part else None
                if below is None:
                    return None
            node = below
        leaf: _Leaf | None = node.get(_END)
        if leaf is None:
            return None
        return leaf[0], {name: parts[place] for name, place in leaf[1]}


def _spread(node: _Node) -> None:
    """Let what follows "anything" follow each part that is spelled out beside it too, so that no look goes back."""
    anything = node.get(_ANYTHING)
    for part, below in node.items():
        if part is _END:
            continue
        if anything is not None and part is not _ANYTHING:
            _merge(below, anything)
        _spread(below)


def _merge(into: _Node, other: _Node) -> None:
    for part, below in other.items():
        if part is _END or part not in into:
            into.setdefault(part, below)
        else:
            _merge(into[part], below)
