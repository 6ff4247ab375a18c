"""The handlers that tests run in child processes. They leave files in `folder`."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from runstead.sdk import App, RunFailed
from runstead.sdk.codecs import Compression

app = App()
app.reference = f"{__file__}:app"
strict = App(on_changed_code="fail")
strict.reference = f"{__file__}:strict"
encoded = App(codec=Compression(level=1))
encoded.reference = f"{__file__}:encoded"
SLEEPER = [sys.executable, "-S", "-c", "import time; time.sleep(3_600)"]


def mark(folder, name, text="x"):
    with (Path(folder) / name).open("a") as file:
        file.write(text)


def pids(folder, *numbers):
    partial = Path(folder) / "pids.new"
    partial.write_text(json.dumps(numbers))
    partial.rename(Path(folder) / "pids")


@app.task("steps", isolation="process", retries=1)
async def steps(ctx, folder):
    async def count(name):
        mark(folder, name)
        return os.getpid()

    first = await ctx.step("first", count, "first")
    both = await ctx.gather(ctx.step("left", count, "left"), ctx.step("right", count, "right"))
    ctx.log("a line")
    ctx.metadata = {"model": "m"}
    await ctx.emit({"type": "CUSTOM", "name": "big", "value": 1 << 70})
    await ctx.sleep(3600)
    return {"pid": os.getpid(), "steps": [first, *both], "at": ctx.now().isoformat(), "again": ctx.random()}


@app.task("plain", isolation="process")
def plain(ctx, folder):
    child = ctx.spawn("task:other", config={"a": 1})
    return {"got": ctx.step("one", lambda: "kept"), "child": child.id}


@app.task("covers", isolation="process", retries=1)
async def covers(ctx, folder):
    try:
        await ctx.sleep(3600)
    except BaseException as error:
        raise ValueError("made of a wait") from error
    return "woken"


@app.task("final", isolation="process", retries=1)
async def final(ctx, folder):
    async def refuse():
        mark(folder, "tries")
        raise RunFailed("No", "NO", {"a": 1})

    await ctx.step("refuse", refuse)


@strict.task("shrinks", isolation="process")
@app.task("shrinks", isolation="process", retries=1)
def shrinks(ctx, folder):
    """A handler whose code the test changes."""
    code = Path(folder) / "code"
    if code.exists():
        if code.read_text() == "other":
            ctx.step("two", lambda: 1)
        return
    ctx.step("one", lambda: mark(folder, "one"))
    ctx.sleep(3600)


@app.task("crash", isolation="process", retries=1)
def crash(ctx, folder):
    ctx.log("about to die")
    mark(folder, "tries")
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGSEGV)


@app.task("fragile", isolation="process", retries=1)
def fragile(ctx, folder):
    ctx.step("once", mark, folder, "once")
    if not (Path(folder) / "twice").exists():
        mark(folder, "twice")
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.step("then", lambda: "done")


@app.task("bomb", isolation="process", memory_mb=256)
def bomb(ctx):
    return len(bytearray(1 << 30))


@app.task("loop", isolation="process", cpu_seconds=1)
def loop(ctx):
    while True:
        pass


@app.task("slow", isolation="process", timeout_seconds=0.6, stop_seconds=0.2)
def slow(ctx):
    time.sleep(3_600)


@app.task("quits", isolation="process")
def quits(ctx, how):
    if how == "escape" and os.fork() == 0:
        os.setsid()
        time.sleep(30)
        os._exit(0)
    if how in ("exit", "escape"):
        os._exit(7)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    if how == "sys.exit":
        sys.exit(3)
    if how == "declared":
        raise RunFailed("No", "NO", {"a": 1})
    if how == "raised":
        raise KeyError("k")
    return object()


@app.task("stubborn", isolation="process", stop_seconds=0.3)
def stubborn(ctx, folder):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids(folder, os.getpid(), subprocess.Popen(SLEEPER).pid)
    time.sleep(3_600)


@app.task("cleans", isolation="process", stop_seconds=3_600)
def cleans(ctx, folder):
    try:
        pids(folder, os.getpid())
        time.sleep(3_600)
    finally:
        mark(folder, "cleaned")


@app.task("awaits", isolation="process", stop_seconds=3_600)
async def awaits(ctx, folder):
    pids(folder, os.getpid())
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        mark(folder, "cleaned")
        raise


@app.task("unlocks", isolation="process")
async def unlocks(ctx, folder):
    try:
        pids(folder, os.getpid())
        await asyncio.sleep(60)
    finally:
        await ctx.step("unlock", mark, folder, "cleaned")


@app.task("unlocks plainly", isolation="process")
def unlocks_plainly(ctx, folder):
    try:
        pids(folder, os.getpid())
        time.sleep(60)
    finally:
        ctx.step("unlock", mark, folder, "cleaned")


@app.task("unlocks again", isolation="process", retries=1)
async def unlocks_again(ctx, folder):
    await ctx.step("lock", mark, folder, "calls", "lock ")
    try:
        if not (Path(folder) / "failed").exists():
            mark(folder, "failed")
            raise ValueError("not in a step")
        await ctx.step("work", mark, folder, "calls", "work ")
    finally:
        await ctx.step("unlock", mark, folder, "calls", "unlock ")
    return "done"


@app.task("forgets", isolation="process")
async def forgets(ctx):
    ctx.step("charge", lambda: 1)


class CardDeclined(Exception):  # noqa: N818 - a user's name
    pass


@app.task("declines", isolation="process")
async def declines(ctx):
    def charge():
        raise CardDeclined("4242")

    await ctx.step("charge", charge)


@app.task("messages", isolation="process")
def messages(ctx):
    logging.getLogger("mine").info("from logging")
    ctx.usage("p", "m", input_tokens=3, output_tokens=2)
    ctx.text("Hello")
    ctx.artifact(b"a,b", name="table.csv", media_type="text/csv")
    return "emitted"


@app.task("leaves", isolation="process")
def leaves(ctx, folder):
    pids(folder, subprocess.Popen(SLEEPER).pid)
    return "done"


@app.task("floods", isolation="process")
async def floods(ctx):
    for _ in range(400):
        await ctx.emit({"type": "T", "text": "x" * 100_000})
    return "emitted"


@encoded.task("values", isolation="process")
async def values(ctx, size):
    noise = await ctx.step("noise", lambda: os.urandom(size // 2).hex())
    await ctx.sleep(1.1)  # the rest replays the result, in another process
    return noise * 3
