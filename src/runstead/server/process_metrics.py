"""One `/metrics` for all processes of a server: the process that gets the request reads the others over Unix
sockets.

Every sample has the label `process`, so that a process that restarts resets its own counters and no sum.
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
    """The processes of a server, found by the sockets in their directory.

    `number` is that of this process.
    """

    def __init__(self, directory: str, number: int) -> None:
        self._directory = Path(directory)
        self._number = number
        self._server: asyncio.Server | None = None

    async def open(self, own: Callable[[], bytes]) -> None:
        """Serve the own metrics to the other processes.

        The socket replaces that of an earlier process with this number.
        """

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
        """Return the merged metrics of all processes that answer within `limits.process_metrics_s`."""
        others = [path for path in self._directory.glob("*.sock") if path.stem != str(self._number)]
        texts = await asyncio.gather(*map(_ask, others))
        found = {int(path.stem): text for path, text in zip(others, texts, strict=True) if text}
        found[self._number] = own
        registry = CollectorRegistry()
        registry.register(_Merged({number: text.decode() for number, text in sorted(found.items())}))
        return generate_latest(registry)


class _Merged(Collector):
    """The merged metrics of several processes: each metric once, with the label `process` on its samples."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts

    def describe(self) -> Iterable[Metric]:
        return ()  # otherwise it would be collected at registration

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
    """Read the metrics of a process.

    Empty if it does not answer: it will be replaced, and its counters with it.
    """
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(limits.process_metrics_s):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return await reader.read()
            finally:
                writer.close()
    return b""
