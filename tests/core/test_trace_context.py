"""Headers of W3C Trace Context: what is taken over, and what is ignored."""

import pytest

from runstead.core import limits
from runstead.core.trace_context import parse, split

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (PARENT, PARENT),
        (f" {PARENT}\t", PARENT),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),  # unknown flags are not passed on
        (f"01-{TRACE}-{SPAN}-01", PARENT),  # a later version is read as this one
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", PARENT),
    ],
)
def test_a_valid_traceparent_is_stored(given, stored):
    assert parse(given, None) == stored


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{PARENT}-more",
        f"{PARENT}.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}",
        f"{PARENT},{PARENT}",
        f"{PARENT}\n",
    ],
)
def test_a_malformed_traceparent_is_ignored_with_its_tracestate(given):
    assert parse(given, "vendor=1") is None


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("vendor=1", "vendor=1"),
        ("a=1 , b=2,,\tfw529a3039@dt=x y ", "a=1,b=2,fw529a3039@dt=x y"),
        ("tenant@system=;,0=z", "tenant@system=;,0=z"),
    ],
)
def test_a_valid_tracestate_is_stored_after_its_traceparent(given, stored):
    assert parse(PARENT, given) == f"{PARENT} {stored}"
    assert split(parse(PARENT, given)) == (PARENT, stored)


@pytest.mark.parametrize(
    "given",
    [
        "",
        " , ",
        "vendor",
        "Vendor=1",
        "a=1,a=2",
        "a=b=c",
        "a=é",
        "a=",
        ",".join(f"k{n}=1" for n in range(limits.trace_state_members_max + 1)),
        f"a={'x' * 255},b={'x' * 255},c={'x' * 255}",
        f"a={'x' * 257}",
    ],
)
def test_a_malformed_or_large_tracestate_is_ignored_alone(given):
    assert parse(PARENT, given) == PARENT


def test_a_run_without_context_has_no_headers():
    assert split(None) == (None, None)
    assert split(PARENT) == (PARENT, None)
