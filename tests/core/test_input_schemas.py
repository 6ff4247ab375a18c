"""Which checks of an input are certainly short, by the size of the schema, and the process that does the others."""

import asyncio
import gc
import json
import sys

import pytest

from runstead.core.identity.tenant import tenant
from runstead.security.input_checks import InputChecks
from runstead.security.input_schemas import is_short, size_of

TEXT = {"type": "string"}


def size(schema):
    return size_of(json.dumps(schema).encode())


def test_a_definition_counts_wherever_a_reference_names_it():
    once = size({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": TEXT}})
    twice = size({"allOf": [{"$ref": "#/$defs/a"}] * 2, "$defs": {"a": TEXT}})
    assert twice - once == size(TEXT) + len("$ref") + 1
    doubled = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n - 1}"}] * 2} for n in range(1, 40)}
    schema = {"$ref": "#/$defs/a39", "$defs": {"a0": TEXT, **doubled}}
    assert size(schema) > 2**39
    assert not is_short(json.dumps(schema).encode(), b"5")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
        {"$ref": "#/$defs/a0", "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(3_000)}},
        {"$dynamicRef": "#a"},
        {"allOf": [{"unevaluatedProperties": False}]},
        {"properties": {"a": {"pattern": "[01]{5000}"}}},
        {"patternProperties": {"a{5000}": {}}},
    ],
    ids=["itself", "items", "chain", "dynamic", "unevaluated", "pattern", "names"],
)
def test_a_schema_without_a_bound_is_never_short(schema):
    assert size(schema) is None
    assert not is_short(json.dumps(schema).encode(), None)


def test_a_usual_schema_is_short_for_a_usual_input():
    line = {"type": "object", "properties": {"sku": TEXT, "count": {"type": "integer"}}}
    schema = {
        "properties": {"lines": {"type": "array", "items": {"$ref": "#/$defs/l"}}},
        "$defs": {"l": line},
    }
    text = json.dumps(schema).encode()
    assert is_short(text, b"x" * 10_000)
    assert not is_short(text, b"x" * 1_000_000)


async def test_a_helper_process_that_was_ended_is_replaced():
    """The memory of earlier schemas may have ended it: that is no fault of the next input."""
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    schema = json.dumps({"$ref": "#/$defs/node", "$defs": {"node": node}}).encode()
    checks = InputChecks()
    for _ in range(2):
        ((place, message),) = await checks.faults(schema, b'{"next": {"next": 7}}')
        assert (place, message) == (".next.next", 'the value is not of type "object"')
        checks._helper.kill()
    checks.stop()


async def test_tenants_take_turns_with_long_checks():
    schema = b'{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}'
    checks, order = InputChecks(), []

    async def check(name):
        tenant.set(name)
        await checks.schema(schema)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name in ("hostile",) * 5 + ("other",):
            group.create_task(check(name))
    checks.stop()
    assert order == ["hostile", "hostile", "other", "hostile", "hostile", "hostile"]


def test_no_pipe_of_a_helper_process_outlives_its_event_loop():
    async def check():
        checks = InputChecks()
        await checks.schema(b'{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}')
        assert checks._helper is not None
        checks.stop()

    unraisable = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", unraisable.append)
        asyncio.run(check())
        gc.collect()
    assert unraisable == []
