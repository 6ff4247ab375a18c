"""One `/metrics` for the processes of one server: whichever is asked asks the others over sockets of their own.

Every sample carries the label `process`, so that a process that starts again resets its own counters and no sum.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from runstead.core import limits


class Siblings:
    """The processes of a server, by the sockets in their directory. `number` is this process's own."""

    def __init__(self, directory: str, number: int) -> None:
        self._directory = Path(directory)
        self._number = number
        self._server: asyncio.Server | None = None

    async def open(self, own: Callable[[], bytes]) -> None:
        """Answer the others. The socket takes the place of the one that an earlier process of this number had."""

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(own())
            writer.close()

        path = self._directory / f"{self._number}.sock"
        fresh = path.with_suffix(f".{os.getpid()}")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(fresh))
        fresh.rename(path)
        self._server = await asyncio.start_unix_server(answer, sock=sock)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def exposition(self, own: bytes) -> bytes:
        """The metrics of all processes that answer within `limits.process_metrics_s`."""
        others = [path for path in self._directory.glob("*.sock") if path.stem != str(self._number)]
        texts = await asyncio.gather(*map(_ask, others))
        found = {int(path.stem): text for path, text in zip(others, texts, strict=True) if text}
        found[self._number] = own
        registry = CollectorRegistry()
        registry.register(_Merged({number: text.decode() for number, text in sorted(found.items())}))
        return generate_latest(registry)


class _Merged(Collector):
    """The samples of several processes: each metric once, its samples labelled."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def describe(self) -> Iterable[Metric]:
        return ()  # else it is collected at registration

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for number, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, {"process": str(number), **sample.labels}, sample.value)
        return families.values()


async def _ask(path: Path) -> bytes:
    """Empty where the process does not answer: it is about to be replaced, and its counters with it."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limits.process_metrics_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return await reader.read()
            finally:
                writer.close()
    return b""
