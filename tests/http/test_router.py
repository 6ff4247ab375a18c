"""The router finds the same routes as a list of patterns that are tried in order."""

from itertools import product
from types import SimpleNamespace

import pytest
from starlette.routing import Match, Route

from runstead.http.framework.app import operations
from runstead.http.framework.endpoint import Server
from runstead.http.framework.router import Router

PATHS = list(dict.fromkeys(operation.path for operation in operations()))
#: Patterns in the order of a list: literal segments before parameters.
LISTED = [
    Route(path, print)
    for path in sorted(PATHS, key=lambda path: [part[:1] == "{" for part in path.split("/")])
]


def by_patterns(path):
    for route in LISTED:
        matched, scope = route.matches({"type": "http", "path": path, "method": "GET"})
        if matched is not Match.NONE:
            return route.path, scope["path_params"]
    return None


@pytest.fixture(scope="module")
def router():
    return Router(Server(SimpleNamespace(store=None), None), operations())


def by_tree(router, path):
    found = router.find(path)
    return None if found is None else (found[0].path, found[1])


def test_every_path_is_found_with_its_parameters(router):
    for path in PATHS:
        asked = path.replace("{", "the-").replace("}", "")
        assert by_tree(router, asked) == by_patterns(asked)
        assert by_tree(router, asked)[0] == path


def test_paths_with_segments_of_other_routes_are_found_as_by_patterns(router):
    words = [set(), set(), set()]  # by place: elsewhere, a word is like "x"
    for path in PATHS:
        for place, part in zip(words, path.split("/")[1:], strict=False):
            place.add(part)
    for length in (1, 2, 3):
        for parts in product(*({"", "x", "runs"} | place for place in words[:length])):
            path = "/" + "/".join(parts)
            assert by_tree(router, path) == by_patterns(path), path


def test_a_literal_segment_can_be_a_parameter_further_down(router):
    assert by_tree(router, "/runs/event-types") == ("/runs/event-types", {})
    assert by_tree(router, "/runs/event-types/events") == ("/runs/{run_id}/events", {"run_id": "event-types"})
