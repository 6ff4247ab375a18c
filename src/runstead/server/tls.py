"""The server's TLS certificate. It is loaded again when its files change; open connections go on."""

import asyncio
import signal
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

from runstead.core import limits
from runstead.server.settings import SettingError

log = structlog.get_logger(__name__)

#: For every answer over TLS: browsers use only https for a year (RFC 6797).
HSTS: Final = ("Strict-Transport-Security", "max-age=31536000")


class Certificate:
    """A certificate with its private key, as PEM files. `context` always has the newest valid pair."""

    def __init__(self, certificate: str, key: str) -> None:
        """SettingError if the files are missing, malformed, or do not belong together."""
        self._files = (Path(certificate), Path(key))
        try:
            self._seen = self._stamps()
            self.context = self._load()
        except (OSError, ValueError) as error:
            raise SettingError(
                f"RUNSTEAD_TLS_CERT and RUNSTEAD_TLS_KEY must be PEM files of a certificate and its key: {error}"
            ) from None

    def _stamps(self) -> Sequence[tuple[int, int, int]]:
        found = [file.stat() for file in self._files]
        return [(one.st_mtime_ns, one.st_ino, one.st_size) for one in found]

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files, password=_refuse_password)
        return context

    def reload(self) -> None:
        """Load the files again if they changed. If they are not valid, the current certificate stays."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._seen = stamps
            self._load()  # checks the pair, before the context in use changes
            self.context.load_cert_chain(*self._files, password=_refuse_password)
        except (OSError, ValueError) as error:
            log.warning("the new TLS certificate is not valid: the current one stays", error=str(error))
        else:
            log.info("loaded the new TLS certificate")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look for changes every `limits.tls_check_s` seconds, and at SIGHUP."""
        loop, watch = asyncio.get_running_loop(), asyncio.ensure_future(self._watch())
        # Python allows it in the main thread only, and Windows has no such signal.
        handled = hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread()
        previous = signal.getsignal(signal.SIGHUP) if handled else None
        if handled:
            loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            yield
        finally:
            watch.cancel()
            if handled:
                loop.remove_signal_handler(signal.SIGHUP)
                signal.signal(signal.SIGHUP, previous)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(limits.tls_check_s)
            self.reload()


def _refuse_password() -> str:
    """OpenSSL would ask for the password on the terminal."""
    raise ValueError("the key is encrypted: store it without a password, readable only by the server")
