"""Targets that workers have registered: what they do, and the JSON Schemas of their input and output."""

import msgspec


class TargetDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker describes a target. The schemas are JSON text (JSON Schema 2020-12).

    `validate_input`: a run whose input does not fit `input_schema` is not created.
    """

    target: str
    description: str | None = None
    input_schema: bytes | None = None
    output_schema: bytes | None = None
    version: str | None = None
    validate_input: bool = False


class RegisteredTarget(TargetDefinition, frozen=True, kw_only=True):
    """A target of a project, as a worker described it last. Times in ms.

    `online` is how many workers that serve it are not silent. `last_seen_at` is the last heartbeat of any of them.
    """

    registered_at: int
    online: int
    last_seen_at: int | None


class TargetState(msgspec.Struct, frozen=True):
    """What decisions about runs need of a target. `input_schema`: only if it validates."""

    target: str
    input_schema: bytes | None
    online: int
    last_seen_at: int | None
