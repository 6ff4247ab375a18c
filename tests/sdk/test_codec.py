"""Codecs: what the server stores of encoded values, and who reads them."""

import base64
import json
import os
import sqlite3
import warnings
import zlib

import pytest

from runstead.sdk import App, ChildFailed, Client, RunFailed, Step, StepFailed
from runstead.sdk.codecs import AesGcm, Chain, Compression
from runstead.sdk.errors import RunDiffersWarning, RunsteadError, ValueNotReadable
from runstead.sdk.models.value import is_encoded, reference_of
from runstead.testing import BlockingTestbed, Testbed

OLD, NEW = os.urandom(32), os.urandom(32)
SECRET = "open sesame"
codec = Chain(Compression(), AesGcm({"old": OLD}, "old"))


class OutOfStockError(Exception):
    code = "OUT_OF_STOCK"


def new_app(codec, **options):
    app = App(codec=codec, **options)

    @app.task("order")
    async def order(ctx, secret: str) -> dict:
        price = await ctx.step("price", lambda: {"secret": secret, "price": 5})
        paid = await ctx.wait_for_event("paid")
        child = await ctx.spawn(pack, secret=secret, paid=paid)
        return {"price": price, "packed": await child.result()}

    @app.task("pack")
    def pack(ctx, secret: str, paid: object) -> list:
        return [secret, paid]

    @app.task("large")
    async def large(ctx, secret: str) -> str:
        text = await ctx.step("text", lambda: secret * 100_000)
        await ctx.sleep(3600)
        return text * 2

    @app.task("fails", retries=1)
    async def fails(ctx, secret: str):
        with pytest.raises(StepFailed, match=f"none of {secret}"):
            await ctx.step("first check", check, secret, options=Step(retries=1))
        await ctx.sleep(3600)
        await ctx.step("check", check, secret)

    @app.task("parent")
    async def parent(ctx, secret: str) -> str:
        child = await ctx.spawn(fails, secret=secret)
        try:
            return await child.result()
        except ChildFailed as error:
            return f"{error.code}: {error}"

    @app.workflow("undone", retries=1, on_cancel=undo)
    async def undone(ctx, secret: str):
        await ctx.step("charge", lambda: f"charge of {secret}")
        await ctx.compensate("task:refund", input={"secret": secret})
        await ctx.step("first fails", fail_first, ctx.run.attempt)
        await ctx.step("check", check, secret)

    @app.task("refund")
    async def refund(ctx, secret: str) -> str:
        return f"refunded {secret}"

    return app


async def undo(ctx, secret: str) -> list:
    return [secret, await ctx.steps_to_undo()]


def fail_first(attempt):
    if attempt == 1:
        raise ValueError("once")


def check(secret):
    raise OutOfStockError(f"none of {secret}")


def stored_text(bed) -> str:
    """Return everything that the server's database has."""
    path = bed.server._store._path
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        connection.text_factory = lambda data: data.decode("latin-1")
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        rows = [row for name in names for row in connection.execute(f'SELECT * FROM "{name}"')]
    return repr(rows)


async def test_the_server_never_sees_inputs_results_payloads_outputs_and_errors():
    async with Testbed(new_app(codec)) as bed:
        run = await bed.run("task:order", input={"secret": SECRET})
        await bed.signal(run, "paid", {"card": SECRET})
        run = await bed.result(run)
        expected = {"price": {"secret": SECRET, "price": 5}, "packed": [SECRET, {"card": SECRET}]}
        assert (run.output, run.input) == (expected, {"secret": SECRET})
        failed = await bed.run("task:fails", config={"secret": SECRET})
        family = await bed.run("task:parent", input={"secret": SECRET})
        await bed.advance(hours=1)
        failed = await bed.result(failed)
        assert (failed.error.code, failed.error.message) == (
            "OUT_OF_STOCK",
            f"The step 'check' failed: none of {SECRET}",
        )
        assert failed.error.type == "OutOfStockError"
        await bed.settle()
        assert (await bed.result(family)).output.endswith(f"none of {SECRET}")
        with pytest.raises(RunFailed, match=f"none of {SECRET}"):
            await bed.client.run(failed.run_id).result()
        raw = await bed.client.runs.get(failed.run_id)
        assert (raw.error.message, raw.error.code) == ("The message is encoded", "OUT_OF_STOCK")
        assert is_encoded((await bed.client.runs.get(run.run_id)).output)
        text = stored_text(bed)
        assert "OUT_OF_STOCK" in text
        assert SECRET not in text


async def test_a_large_value_is_encoded_and_then_kept_as_an_artifact():
    async with Testbed(new_app(AesGcm({"old": OLD}, "old"))) as bed:
        run = await bed.run("task:large", input={"secret": SECRET})
        await bed.advance(hours=1)
        run = await bed.result(run)
        assert run.output == SECRET * 200_000
        reference = reference_of((await bed.client.runs.get(run.run_id)).output)
        content = await bed.client.artifacts.read(run.run_id, reference.name)
        assert is_encoded(json.loads(content))
        assert (await bed.client.run(run.run_id).result()) == run.output
        assert is_encoded((await bed.client.runs.get(run.run_id, resolve="output")).output)


async def test_a_large_value_that_is_compressed_enough_stays_in_the_run():
    async with Testbed(new_app(Compression())) as bed:
        run = await bed.run("task:large", input={"secret": SECRET})
        await bed.advance(hours=1)
        assert is_encoded((await bed.client.runs.get(run.run_id)).output)
        assert (await bed.result(run)).output == SECRET * 200_000


async def test_a_rotated_key_reads_old_values_and_writes_new_ones():
    async with Testbed(new_app(AesGcm({"old": OLD}, "old"))) as bed:
        run = await bed.run("task:order", input={"secret": SECRET})
        rotated = AesGcm({"old": OLD, "new": NEW}, "new")
        await bed.deploy(new_app(rotated))
        bed.client.codec = rotated
        await bed.signal(run, "paid")
        assert (await bed.result(run)).output["packed"] == [SECRET, None]
        stored = (await bed.client.runs.get(run.run_id)).output
        assert base64.b64decode(stored["$encoded"])[2:5] == b"new"


async def test_a_worker_that_cannot_decode_a_value_makes_the_run_wait_for_one_that_can():
    async with Testbed(new_app(codec)) as bed:
        await bed.deploy(new_app(None))
        run = await bed.run("task:order", input={"secret": SECRET})
        assert (run.status, run.blocked) == (
            "waiting",
            "The value is encoded: pass the codec that encoded it, as App(codec=…) or Client(codec=…)",
        )
        await bed.deploy(new_app(AesGcm({"old": NEW}, "old")))
        await bed.advance(minutes=2)
        assert "The codec cannot decode the value" in (await bed.get(run)).blocked
        await bed.deploy(new_app(codec))
        await bed.advance(minutes=2)
        await bed.deploy(new_app(None))
        await bed.signal(run, "paid", 1)
        run = await bed.get(run)
        assert "The value is encoded" in run.blocked
        await bed.deploy(new_app(codec))
        await bed.advance(minutes=2)
        assert (await bed.result(run)).output["packed"] == [SECRET, 1]
        await bed.deploy(new_app(None, on_changed_code="fail"))
        run = await bed.run("task:pack", input={"secret": SECRET, "paid": 1})
        assert (run.status, run.error.code) == ("failed", "VALUE_NOT_READABLE")


async def test_a_client_without_the_codec_gets_a_clear_error_and_inputs_may_be_plain():
    app = new_app(codec)
    async with Testbed(app) as bed:
        bed.client.codec = None
        run = await bed.client.runs.create("task:pack", input={"secret": SECRET, "paid": 1})
        await bed.settle()
        with pytest.raises(ValueNotReadable, match="pass the codec") as caught:
            await bed.client.run(run.run.run_id).result()
        assert isinstance(caught.value, RunsteadError)
        assert not caught.value.retryable
        bed.client.codec = codec
        assert await bed.client.run(run.run.run_id).result() == [SECRET, 1]


async def test_a_repeated_start_compares_the_decoded_input():
    async with Testbed(new_app(codec)) as bed:
        value = {"secret": SECRET, "paid": 1}
        await bed.run("task:pack", input=value, id="one")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await bed.client.start("task:pack", input=value, id="one")
        with pytest.warns(RunDiffersWarning, match="another input"):
            await bed.client.start("task:pack", input={"secret": "x", "paid": 1}, id="one")


async def test_batches_and_events_that_clients_resume_are_encoded():
    async with Testbed(new_app(codec)) as bed:
        request = {"target": "task:pack", "input": {"secret": SECRET, "paid": 1}}
        batch = await bed.client.batches.create([{"kind": "task", "request": request}])
        run = await bed.run("task:order", input={"secret": SECRET})
        await bed.client.run(run.run_id).resume({"card": SECRET})
        await bed.settle()
        (packed,) = [one async for one in bed.client.runs.iter(batch_id=batch.batch.id)]
        assert (await bed.get(packed)).output == [SECRET, 1]
        assert (await bed.result(run)).output["packed"] == [SECRET, {"card": SECRET}]
        assert SECRET not in stored_text(bed)


async def test_compensations_are_encoded_and_read_the_steps_that_they_undo():
    async with Testbed(new_app(codec)) as bed:
        run = await bed.run("workflow:undone", input={"secret": SECRET})
        assert run.error.code == "OUT_OF_STOCK"
        children = [await bed.get(child) async for child in bed.client.runs.iter_children(run.run_id)]
        outputs = {child.target: child.output for child in children}
        steps = [["charge", f"charge of {SECRET}"], ["first fails", None]]
        assert outputs == {
            "task:refund": f"refunded {SECRET}",
            "workflow:undone.on_cancel": [SECRET, steps],
        }
        assert SECRET not in stored_text(bed)


def test_a_blocking_client_encodes_and_decodes():
    with BlockingTestbed(new_app(codec)) as bed:
        handle = bed.client.start("task:order", input={"secret": SECRET})
        bed.settle()
        handle.signal("paid", 7)
        bed.settle()
        assert handle.result()["packed"] == [SECRET, 7]
        assert bed.client.decoded(handle.get()).input == {"secret": SECRET}
        assert isinstance(bed.client, Client)
        assert SECRET not in stored_text(bed.bed)


def test_aes_gcm_refuses_changed_bytes_other_keys_and_unknown_ids():
    data = b'{"a":1}'
    one = AesGcm({"a": OLD}, "a")
    encoded = one.encode(data)
    assert one.decode(encoded) == data
    assert one.encode(data) != encoded
    assert OLD.hex() not in repr(one)
    changed = encoded[:-1] + bytes([encoded[-1] ^ 1])
    with pytest.raises(ValueError, match="the bytes were changed, or another key has the id 'a'"):
        one.decode(changed)
    with pytest.raises(ValueError, match="the bytes were changed"):
        AesGcm({"a": NEW}, "a").decode(encoded)
    renamed = encoded.replace(b"\x01\x01a", b"\x01\x01b", 1)
    with pytest.raises(ValueError, match="the bytes were changed"):
        AesGcm({"b": OLD}, "b").decode(renamed)
    with pytest.raises(LookupError, match="there is no key 'b'"):
        one.decode(renamed)
    for damaged in (b"", b"\x01", b"\x02abc", data):
        with pytest.raises((ValueError, LookupError)):
            one.decode(damaged)
    for keys, current in (({"a": OLD}, "b"), ({"a": b"short"}, "a"), ({"": OLD}, "")):
        with pytest.raises(ValueError, match="key"):
            AesGcm(keys, current)


def test_inputs_that_a_codec_encodes_cannot_be_validated_by_the_server():
    with pytest.raises(ValueError, match="validate_input is for plain inputs"):
        App(codec=Compression()).task("order", validate_input=True)


def test_compression_reads_what_it_wrote_and_refuses_other_bytes():
    one = Compression(bytes_min=10)
    for data in (b"", b"short", b"x" * 10_000, os.urandom(1000)):
        assert one.decode(one.encode(data)) == data
    assert len(one.encode(b"x" * 10_000)) < 100
    for damaged in (b"", b"\x05abc", one.encode(b"x" * 10_000)[:-8], b"\x01abc"):
        with pytest.raises((ValueError, zlib.error)):
            one.decode(damaged)
    with pytest.raises(ValueError, match="1 to 9"):
        Compression(level=0)
