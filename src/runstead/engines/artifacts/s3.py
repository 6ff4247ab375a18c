"""Artifacts in S3-compatible storage, one object for each: `<prefix>/<run's uid>/<key>`.

The library streams, signs, repeats and renews credentials. It takes them, and the region, from the environment as AWS's
own tools do (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` …), or from the machine's role.
"""

import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports.artifact_store import KEY, Content, TooLargeError


class S3Artifacts:
    """`url` is `s3://<bucket>/<prefix>`, with `?endpoint=http://127.0.0.1:9000` (and `&region=…`) for storage that is
    not AWS's.
    """

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        asked = {name: values[-1] for name, values in parse_qs(where.query).items()}
        options: dict[str, Any] = {}
        if "endpoint" in asked:
            plain = asked["endpoint"].startswith("http://")
            options |= {"endpoint": asked["endpoint"], "client_options": {"allow_http": plain}}
        if "region" in asked:
            options["region"] = asked["region"]
        self._shown = f"s3://{where.netloc}{where.path}"
        self._store = S3Store(where.netloc, prefix=where.path.strip("/") or None, **options)

    async def open(self) -> None:
        try:
            await obstore.list(self._store, prefix="0", chunk_size=1).collect_async()
        except BaseError as trouble:
            raise RuntimeError(f"cannot keep artifacts in {self._shown}: {_plainly(trouble)}") from None

    async def close(self) -> None:
        pass

    async def put(self, run: str, chunks: AsyncIterator[bytes], bytes_max: int) -> Content:
        key, digest, size = uuid.uuid4().hex, hashlib.sha256(), 0
        stopped: BaseException | None = None

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size, stopped
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > bytes_max:
                        raise TooLargeError
                    digest.update(chunk)
                    if chunk:
                        yield chunk
            except BaseException as trouble:
                stopped = trouble
                raise

        try:
            await obstore.put_async(
                self._store, self._place(run, key), counted(), max_concurrency=limits.artifact_parts_at_once
            )
        except Exception as trouble:
            if stopped is not None:  # what the library makes of it hides what it was
                raise stopped from None
            raise _unavailable(trouble) from trouble
        return Content(key, size, digest.hexdigest())

    async def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            if start == end:
                await obstore.head_async(self._store, self._place(run, key))
                return
            found = await obstore.get_async(
                self._store, self._place(run, key), options={"range": (start, end)}
            )
            async for chunk in found.stream(min_chunk_size=limits.artifact_chunk_bytes):
                yield bytes(chunk)
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(key) from None
        except BaseError as trouble:
            raise _unavailable(trouble) from trouble

    async def remove(self, run: str, key: str) -> None:
        try:
            await obstore.delete_async(self._store, self._place(run, key))
        except (NotFoundError, FileNotFoundError):
            pass
        except BaseError as trouble:
            raise _unavailable(trouble) from trouble

    async def remove_all(self, run: str) -> None:
        try:
            async for page in obstore.list(self._store, prefix=self._place(run, "0")[:-2]):
                await obstore.delete_async(self._store, [one["path"] for one in page])
        except BaseError as trouble:
            raise _unavailable(trouble) from trouble

    def _place(self, run: str, key: str) -> str:
        if not (KEY.fullmatch(run) and KEY.fullmatch(key)):
            raise FileNotFoundError(f"{run}/{key}")
        return f"{run}/{key}"


def _plainly(trouble: Exception) -> str:
    """The first line: what follows are the request and the library's own structures."""
    return str(trouble).strip().partition("\n")[0][:300]


def _unavailable(trouble: Exception) -> Error:
    return Error(
        "STORE_UNAVAILABLE",
        f"The storage of artifacts did not do as it was asked: {type(trouble).__name__}",
        retry_after_s=5,
    )
