"""Artifacts in S3-compatible storage, one object for each: `<prefix>/<run's uid>/<key>`.

The library streams, signs, retries and renews credentials. It reads credentials and region from the environment, as
AWS's tools do (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` …), or from the machine's role.
"""

import hashlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from runstead.core import limits
from runstead.core.errors import Error
from runstead.ports.artifact_store import KEY, Content, TooLargeError


class UploadError(Exception):
    """The storage refused or broke off an upload. `cause`: the exception of the library."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(first_line(cause))
        self.cause = cause


class S3Artifacts:
    """`url` is `s3://<bucket>/<prefix>`, with `?endpoint=http://127.0.0.1:9000` (and `&region=…`) for other
    storage than AWS.
    """

    def __init__(self, url: str) -> None:
        self._shown, self._store = bucket(url)

    async def open(self) -> None:
        try:
            await obstore.list(self._store, prefix="0", chunk_size=1).collect_async()
        except BaseError as error:
            raise RuntimeError(f"cannot keep artifacts in {self._shown}: {first_line(error)}") from None

    async def close(self) -> None:
        pass

    async def put(
        self, run: str, chunks: AsyncIterator[bytes], bytes_max: int, key: str | None = None
    ) -> Content:
        key, digest, size = key or uuid.uuid4().hex, hashlib.sha256(), 0

        async def checked() -> AsyncIterator[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                if size > bytes_max:
                    raise TooLargeError
                digest.update(chunk)
                yield chunk

        try:
            await upload(self._store, self._key(run, key), checked())
        except UploadError as error:
            raise _unavailable(error.cause) from error
        return Content(key, size, digest.hexdigest())

    async def read(self, run: str, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        with raising(_unavailable, key):
            if start == end:
                await obstore.head_async(self._store, self._key(run, key))
                return
            response = await obstore.get_async(
                self._store, self._key(run, key), options={"range": (start, end)}
            )
            async for chunk in response.stream(min_chunk_size=limits.artifact_chunk_bytes):
                yield bytes(chunk)

    async def remove(self, run: str, key: str) -> None:
        with raising(_unavailable), suppress(NotFoundError, FileNotFoundError):
            await obstore.delete_async(self._store, self._key(run, key))

    async def remove_all(self, run: str) -> None:
        with raising(_unavailable):
            async for page in obstore.list(self._store, prefix=self._key(run, "0")[:-2]):
                await obstore.delete_async(self._store, [entry["path"] for entry in page])

    def _key(self, run: str, key: str) -> str:
        if not (KEY.fullmatch(run) and KEY.fullmatch(key)):
            raise FileNotFoundError(f"{run}/{key}")
        return f"{run}/{key}"


@contextmanager
def raising(error_of: Callable[[Exception], Exception], wanted: str | None = None) -> Iterator[None]:
    """Raise `error_of` an error of the library. FileNotFoundError if the `wanted` object does not exist."""
    try:
        yield
    except BaseError as error:
        if wanted is not None and isinstance(error, NotFoundError):
            raise FileNotFoundError(wanted) from None
        raise error_of(error) from None


def bucket(url: str) -> tuple[str, S3Store]:
    """Return the URL without its parameters, and the store."""
    parts = urlsplit(url)
    parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    options: dict[str, Any] = {}
    if "endpoint" in parameters:
        allow_http = parameters["endpoint"].startswith("http://")
        options |= {"endpoint": parameters["endpoint"], "client_options": {"allow_http": allow_http}}
    if "region" in parameters:
        options["region"] = parameters["region"]
    store = S3Store(parts.netloc, prefix=parts.path.strip("/") or None, **options)
    return f"s3://{parts.netloc}{parts.path}", store


async def upload(store: S3Store, name: str, chunks: AsyncIterator[bytes]) -> None:
    """Store all chunks, or nothing. Raises the exception of `chunks`, otherwise UploadError."""
    failure: BaseException | None = None

    async def watched() -> AsyncIterator[bytes]:
        nonlocal failure
        try:
            async for chunk in chunks:
                if chunk:
                    yield chunk
        except BaseException as error:
            failure = error
            raise

    try:
        await obstore.put_async(store, name, watched(), max_concurrency=limits.artifact_parts_at_once)
    except Exception as error:
        if failure is not None:  # the library's own error would hide it
            raise failure from None
        raise UploadError(error) from error


def first_line(error: Exception) -> str:
    """The first line of the message. Later lines show the request and internals of the library."""
    return str(error).strip().partition("\n")[0][:300]


def _unavailable(error: Exception) -> Error:
    return Error("STORE_UNAVAILABLE", f"The artifact storage failed: {type(error).__name__}", retry_after_s=5)
