"""The page of the context has every member of the class, with its arguments and errors, and no other."""

import inspect
import re

import pytest

from runstead.sdk import Context, Step, ThreadContext

from .pages import section, text

PAGE = "docs/context.md"
MEMBERS = [name for name in dir(Context) if not name.startswith("_")]


def arguments_of(member):
    """The names that a caller may give. Those of `step` and `spawn` follow from their overloads."""
    if isinstance(member, property):
        return set()
    names = set(inspect.signature(member).parameters) - {"self"}
    return names - ({"args", "kwargs", "arguments"} if "args" in names else set())


def test_the_page_has_a_heading_for_every_member_and_no_other():
    assert sorted(re.findall(r"^### `(\w+)`$", text(PAGE), re.MULTILINE)) == sorted(MEMBERS)


def test_a_thread_has_the_same_members():
    assert [name for name in dir(ThreadContext) if not name.startswith("_")] == MEMBERS


@pytest.mark.parametrize("name", MEMBERS)
def test_a_section_has_every_argument_and_error_of_its_member(name):
    member = getattr(Context, name)
    written = re.findall(r"`([^`]+)`", section(PAGE, f"### `{name}`").replace("\n", " "))
    words = set(re.findall(r"\w+", " ".join(written)))
    assert arguments_of(member) <= words
    about = (member.fget if isinstance(member, property) else member).__doc__
    assert set(re.findall(r"\b\w+(?:Error|Failed|Timeout)\b", about)) - {"LeaseLostError"} <= words


def test_the_section_of_steps_has_every_option():
    assert set(Step.__struct_fields__) <= set(
        re.findall(r"^\| `(\w+)`", section(PAGE, "### `step`"), re.MULTILINE)
    )


@pytest.mark.parametrize(
    "name", [name for name in MEMBERS if not isinstance(getattr(Context, name), property)]
)
def test_a_method_takes_the_same_arguments_in_a_thread(name):
    both = [inspect.signature(getattr(one, name)).parameters for one in (Context, ThreadContext)]
    assert [one.kind for one in both[0].values()] == [one.kind for one in both[1].values()] or name == "spawn"
    assert list(both[0]) == list(both[1]) or name == "spawn"
