"""`run` of uvloop, or of asyncio where the platform has no uvloop."""

try:
    from uvloop import run
except ImportError:  # Windows
    from asyncio import run  # type: ignore[assignment]

__all__ = ["run"]
