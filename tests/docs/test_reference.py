"""The SDK reference names every public object, and each has a docstring with its units and errors."""

import ast
import importlib
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Callable
from functools import cached_property
from pkgutil import iter_modules

import pytest

from runstead import sdk, testing
from runstead.sdk import models
from runstead.sdk.resources import Resources
from runstead.sdk.routes.route import _Method

from .pages import ROOT

PAGES = sorted((ROOT / "docs/reference").glob("*.md"))
#: What the pages show: objects, modules and packages, each with its members.
SHOWN = [line for page in PAGES for line in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)]
MODELS = [importlib.import_module(f"{models.__name__}.{each.name}") for each in iter_modules(models.__path__)]
#: The end of a name that has the unit of its number.
UNIT = re.compile(r"(^|_)(days|hours|minutes?|seconds|s|ms|mb|bytes|chars|tokens|id)$")
#: The end of the name of a count, a position or a code, which has no unit.
COUNT = re.compile(r"(^|_)(attempt|concurrency|exit_code|limit|priority|retries|runs|sequence)$")


def own(one):
    return getattr(one, "__module__", "").startswith("runstead.")


def exported():
    """What users import or reach from a client, by name: exports, the server's answers, resources of a client."""
    found = {
        f"{module.__name__}.{word}": getattr(module, word)
        for module in (sdk, testing)
        for word in module.__all__
    }
    for module in MODELS:
        found |= {
            f"{module.__name__}.{word}": one
            for word, one in vars(module).items()
            if getattr(one, "__module__", None) == module.__name__ and not word.startswith("_")
        }
    found |= {home(one): one for one in resources()}
    return {word: one for word, one in found.items() if own(one)}


def resources():
    """The classes of the resources of a client, such as that of `client.runs`."""
    return [one.func for one in vars(Resources).values() if isinstance(one, cached_property)]


def home(one):
    """The full name of an object, where it is defined."""
    return f"{one.__module__}.{one.__qualname__}"


def members(cls):
    """The public methods and properties of a class, also those that it inherits from a class of Runstead."""
    found = {}
    for base in reversed(cls.__mro__):
        if own(base):
            found |= vars(base)
    for word, member in found.items():
        if word.startswith("_"):
            continue
        if isinstance(member, _Method):
            yield word, member.build
        elif isinstance(member, classmethod | staticmethod):
            yield word, member.__func__
        elif isinstance(member, property):
            yield word, member.fget
        elif isinstance(member, types.FunctionType):
            yield word, member


def public():
    """The public functions by their names, each with the class that documents it."""
    found = {}
    for word, one in EXPORTED.items():
        if isinstance(one, types.FunctionType):
            found[word] = (one, None)
        elif isinstance(one, type):
            found |= {f"{word}.{name}": (member, one) for name, member in members(one)}
            if "__init__" in vars(one) and isinstance(one.__init__, types.FunctionType):
                found[f"{word}()"] = (one.__init__, one)
    return found


EXPORTED = exported()
FUNCTIONS = public()


def documented(function, owner):
    """The docstring of a function, also one that it refers to, and that of its class."""
    text = inspect.getdoc(function) or ""
    for cls, word in re.findall(r"^As `(Context|Testbed)\.(\w+)`", text):
        text += f" {inspect.getdoc(getattr({'Context': sdk.Context, 'Testbed': testing.Testbed}[cls], word))}"
    return f"{text} {owner and inspect.getdoc(owner)}"


def is_number(annotation):
    if typing.get_origin(annotation) is Callable:
        return False
    kinds = typing.get_args(annotation) or (annotation,)
    return any(kind in (int, float) for kind in kinds)


def raised(function):
    """The names of the exceptions that a function itself raises. A dataclass makes functions without a source."""
    if function.__code__.co_filename == "<string>":
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raises = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return {
        error.func.id for error in raises if isinstance(error, ast.Call) and isinstance(error.func, ast.Name)
    }


@pytest.mark.parametrize("shown", SHOWN)
def test_a_name_of_the_reference_exists(shown):
    module, _, last = shown.rpartition(".")
    assert hasattr(importlib.import_module(module), last) or importlib.import_module(shown)


def test_every_exported_name_is_in_the_reference():
    missing = [
        word
        for word, one in EXPORTED.items()
        if not any(f"{home(one)}.".startswith(f"{shown}.") for shown in SHOWN)
    ]
    assert missing == []


def test_every_exported_class_has_a_docstring():
    classes = {home(one): one for one in EXPORTED.values() if isinstance(one, type)}
    assert [word for word, one in classes.items() if not vars(one).get("__doc__")] == []


def test_every_public_method_has_a_docstring():
    assert [
        called
        for called, (function, _) in FUNCTIONS.items()
        if not called.endswith("()") and not function.__doc__
    ] == []


def test_every_number_has_its_unit_in_its_name_or_in_the_docstring():
    unclear = []
    for called, (function, owner) in FUNCTIONS.items():
        text = documented(function, owner)
        for argument, annotation in typing.get_type_hints(function).items():
            clear = UNIT.search(argument) or COUNT.search(argument) or re.search(rf"\b{argument}\b", text)
            if argument != "return" and is_number(annotation) and not clear:
                unclear.append(f"{called}: {argument}")
    assert unclear == []


def test_every_error_that_a_method_raises_is_in_its_docstring():
    silent = {
        called: missing
        for called, (function, owner) in FUNCTIONS.items()
        if (missing := {error for error in raised(function) if error not in documented(function, owner)})
    }
    assert silent == {}


def test_placeholders_of_docstrings_are_code():
    """A browser would take `<name>` for an element."""
    texts = {called: inspect.getdoc(function) or "" for called, (function, _) in FUNCTIONS.items()}
    bare = {called for called, text in texts.items() if re.search(r"<\w", re.sub(r"`[^`]*`", "", text))}
    assert bare == set()


def test_every_page_has_a_place_in_the_navigation_of_the_site():
    """`make docs` refuses other pages. Decisions and the parts of the comparison are listed by a page of their own."""
    places = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    listed = {page for page in pages if re.fullmatch(r"(decisions|comparison)/[a-z0-9].*", page)}
    assert pages - listed <= set(places)
