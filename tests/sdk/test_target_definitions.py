"""How a worker describes its targets: docstrings, and JSON Schemas of type hints."""

from dataclasses import dataclass
from typing import Annotated, Literal

import jsonschema_rs
import msgspec
import pytest
from pydantic import BaseModel

from runstead.sdk import App, Context, RunsteadError
from runstead.testing import Testbed


class Address(BaseModel):
    city: str


class Parcel(BaseModel):
    to: Address
    weight: float = 1.5


@dataclass
class Line:
    sku: str
    count: int = 1


app = App()


@app.task("order", validate_input=True)
async def order(
    ctx: Context,
    item: str,
    lines: list[Line],
    parcel: Parcel | None = None,
    size: Literal["s", "m"] = "m",
    priority: Annotated[int, msgspec.Meta(ge=1)] = 2,
) -> dict[str, int]:
    """Send an order.

    With its lines.
    """
    return {item: len(lines)}


@app.task("whole")
def whole(input: Line) -> None:  # noqa: A002
    pass


@app.task("loose")
def loose(config=None, anything: object = None, **more):
    pass


@app.agent("scribe")
async def scribe(ctx: Context):
    pass


app.command("task:build", ["make"])


@app.task("ship")
async def ship(ctx: Context, country: str, express: bool = False):
    """Ship an order.

    It leaves the same day.

    Args:
        country: Where it goes,
            by its code.
        express: Whether it flies.
        unknown: What no parameter has.
    """


@app.task("measure")
def measure(width: int):
    """Measure a parcel.

    Parameters
    ----------
    width
        In millimetres.
    """


def definitions():
    return {one["target"]: one for one in app.target_definitions}


def test_a_definition_is_derived_from_hints_and_docstring():
    found = definitions()["task:order"]
    assert found["description"] == "Send an order.\n\nWith its lines."
    assert found["output_schema"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    schema = found["input_schema"]
    assert (schema["type"], schema["required"]) == ("object", ["item", "lines"])
    assert schema["properties"]["priority"] == {"type": "integer", "minimum": 1, "default": 2}
    assert set(schema["$defs"]) == {"Line", "Address"}
    validator = jsonschema_rs.Draft202012Validator(schema)
    good = {"item": "tea", "lines": [{"sku": "a"}], "parcel": {"to": {"city": "Oslo"}}, "size": "s"}
    assert validator.is_valid(good)
    for wrong in ({"lines": [{}]}, {"parcel": {"to": {}}}, {"size": "xl"}, {"priority": 0}):
        assert not validator.is_valid(good | wrong), wrong


def test_what_has_no_schema_has_none():
    found = definitions()
    assert found["task:whole"]["input_schema"]["$defs"]["Line"]["required"] == ["sku"]
    assert found["task:loose"]["input_schema"]["type"] == ["object", "null"]
    assert found["agent:scribe"] == {"target": "agent:scribe"}
    assert found["task:build"].keys() == {"target"}


async def test_a_worker_registers_them_and_the_server_validates():
    async with Testbed(app) as bed:
        await bed.settle()
        listed = {one.target: one async for one in bed.client.workers.iter_targets()}
        assert set(listed) == set(app.targets)
        assert (listed["task:order"].online, listed["task:order"].validate_input) == (1, True)
        assert listed["task:order"].input_schema == definitions()["task:order"]["input_schema"]
        with pytest.raises(RunsteadError) as refused:
            await bed.run("task:order", input={"item": 7, "lines": []})
        assert [one.path for one in refused.value.errors] == ["$.request.input.item"]
        run = await bed.run(order, item="tea", lines=[Line("a")])
        assert (await bed.result(run)).output == {"tea": 1}
        lonely = await bed.run("task:elsewhere")
        assert lonely.unserved_since is None
        await bed.advance(seconds=10)
        assert (await bed.get(lonely)).unserved_since is not None


def test_a_docstring_describes_each_parameter_and_its_sections_are_no_part_of_the_description():
    found = definitions()
    shipped = found["task:ship"]
    assert shipped["description"] == "Ship an order.\n\nIt leaves the same day."
    assert shipped["input_schema"]["properties"] == {
        "country": {"type": "string", "description": "Where it goes,\nby its code."},
        "express": {"type": "boolean", "default": False, "description": "Whether it flies."},
    }
    assert found["task:measure"]["description"] == "Measure a parcel."
    assert found["task:measure"]["input_schema"]["properties"]["width"]["description"] == "In millimetres."
