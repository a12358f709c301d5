"""ASGI's shapes, and the body of a request, read within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["Asgi", "BodyRefusedError", "GoneError", "Receive", "Scope", "Send", "read_body"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class GoneError(Exception):
    """The client has closed the connection; there is nobody to answer."""


class BodyRefusedError(Exception):
    """The body is too large (413) or too slow (408). The rest of it is not read: the connection is of no more use."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(receive: Receive, *, limit: int, seconds: float, announced: int = 0) -> bytes:
    """Read a body of at most `limit` bytes within so many seconds. `announced` is its Content-Length, 0 if unknown.

    Raises `BodyRefusedError`, `GoneError`.
    """
    if announced > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            return await _collected(receive, limit)
    except TimeoutError:
        message = f"The body of the request did not arrive within {seconds:g} seconds."
        raise BodyRefusedError(408, message) from None


async def _collected(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> BodyRefusedError:
    return BodyRefusedError(413, f"The body of the request is larger than {limit} bytes.")
