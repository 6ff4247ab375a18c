"""The forms in which a step is named, called and given options."""

import functools

import pytest

from runstead.sdk import Step
from runstead.sdk.durable.step_options import step_call


def fetch(url, page=1, options=None):
    """A function with a parameter of its own that is named `options`."""


ONCE, THRICE = Step(), Step(retries=3)


@pytest.mark.parametrize(
    ("args", "kwargs", "called"),
    [
        (("load", fetch, "u"), {"page": 2}, ("load", ("u",), {"page": 2}, ONCE)),
        ((fetch, "u"), {}, ("fetch", ("u",), {}, ONCE)),
        (("load", fetch, "u"), {"options": THRICE}, ("load", ("u",), {}, THRICE)),
        ((fetch,), {"url": "u", "options": THRICE}, ("fetch", (), {"url": "u"}, THRICE)),
        ((fetch, THRICE, "u"), {"page": 2}, ("fetch", ("u",), {"page": 2}, THRICE)),
        ((fetch, "u"), {"options": "own"}, ("fetch", ("u",), {"options": "own"}, ONCE)),
    ],
    ids=["named", "unnamed", "options last", "keywords", "options after the function", "own options"],
)
def test_a_step_is_called_with_a_name_or_without_and_with_options_or_without(args, kwargs, called):
    call = step_call(args, kwargs)
    assert (call.name, call.args, call.kwargs, call.options) == called
    assert call.function is fetch


def test_a_step_takes_its_name_from_the_function_inside_of_a_partial():
    assert step_call((functools.partial(fetch, "u"),), {}).name == "fetch"


@pytest.mark.parametrize("args", [(lambda: 1,), ("load",), ("load", "fetch"), ()])
def test_a_step_without_a_name_or_a_function_is_refused(args):
    with pytest.raises(TypeError, match=r"ctx\.step"):
        step_call(args, {})


@pytest.mark.parametrize("options", [{"retries": -1}, {"backoff": -0.1}, {"timeout": 0}])
def test_options_that_cannot_be_kept_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        Step(**options)
