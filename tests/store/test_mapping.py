"""Rows become records, and records arguments, by the names of columns and fields."""

from typing import NamedTuple

import msgspec
import pytest

from runstead.core.conversations.conversation import Conversation
from runstead.core.identity.principal import Scope
from runstead.core.identity.project import ApiKey
from runstead.core.queue.worker import HeldRun
from runstead.core.runs.run import RunStatus
from runstead.core.webhooks.webhook import Webhook
from runstead.engines.sql.mapping import changed_fields, decoder, fields


class Named(msgspec.Struct):
    first: str | None
    second: str | None
    count: int = 0


class Pair(NamedTuple):
    left: int
    right: bool


def test_columns_find_their_fields_in_any_order():
    assert decoder(Named, ("second", "first"))(["b", "a"]) == Named(first="a", second="b")


def test_a_column_that_is_no_field_is_refused():
    with pytest.raises(AssertionError):
        decoder(Named, ("first", "second", "third"))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(AssertionError):
        decoder(Named, ("first", "second", "first"))


def test_a_field_without_a_column_must_have_a_default():
    assert decoder(Named, ("first", "second"))([None, None]).count == 0
    with pytest.raises(TypeError):
        decoder(Named, ("first",))(["a"])


def test_a_named_tuple_is_a_record_too():
    assert decoder(Pair, ("right", "left"))([1, 2]) == Pair(2, True)


def test_values_are_converted_to_the_types_of_their_fields():
    held = decoder(HeldRun, HeldRun.__struct_fields__)(["w", "r", None, None, "running", 1, 2, 3])
    assert held.status is RunStatus.RUNNING
    names = ("id", "project_id", "type", "created_at", "updated_at", "personal")
    assert decoder(Conversation, names)(["c", "p", "chat", 1, 1, 1]).personal is True
    webhook = decoder(Webhook, Webhook.__struct_fields__)(
        ["w", "p", "u", "run.failed run.started", "s", 1, 1, *[None] * 6, "standard", 0]
    )
    assert webhook.events == ("run.failed", "run.started")


def test_a_set_of_words_is_one_text_and_comes_back():
    key = ApiKey("k", "p", "prefix", b"hash", frozenset({Scope.WORKERS, Scope.RUNS_READ}), 1)
    row = fields(key)
    assert row["scopes"] == "runs:read workers"
    assert decoder(ApiKey, tuple(row))(list(row.values())) == key


def test_only_fields_that_differ_are_changed():
    old = Webhook("w", "p", "u", ("*",), "s", 1, 1)
    assert changed_fields(old, old) == {}
    new = msgspec.structs.replace(old, events=("run.failed", "run.started"), updated_at=2)
    assert changed_fields(old, new) == {"events": "run.failed run.started", "updated_at": 2}
