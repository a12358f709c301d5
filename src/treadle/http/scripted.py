"""A transport that answers from a script: for tests, for trying a document without a network."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import replace

from treadle.errors import TransportError, UsageError
from treadle.seams import Request, Response

__all__ = ["ScriptedTransport"]

Reply = Response | TransportError
Answerer = Callable[[Request], Reply | Awaitable[Reply]]


class ScriptedTransport:
    """Answers each request with the next reply, or with what a function makes of it, and records the `requests`.

    A reply that is a `TransportError` is raised, as a real transport would raise it. A response without a `url` gets
    that of its request. Raises `UsageError` when there are more requests than replies: a script that is too short is a
    mistake of its author, no fault of the network.

    >>> import asyncio
    >>> transport = ScriptedTransport([Response(200, body=b"{}")])
    >>> asyncio.run(transport.send(Request("GET", "http://example.test/"))).status
    200
    """

    def __init__(self, script: Iterable[Reply | Answerer] | Answerer) -> None:
        self.requests: list[Request] = []
        self.closed = False
        self._function = script if callable(script) else None
        self._replies = iter(()) if callable(script) else iter(script)

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Give the next reply. Raises `TransportError`, `UsageError`."""
        self.requests.append(request)
        entry = self._function or next(self._replies, None)
        if entry is None:
            raise UsageError(f"the script has no reply to request {len(self.requests)}, {request.method} {request.url}")
        reply = await self._made(entry, request, timeout) if callable(entry) else entry
        if isinstance(reply, TransportError):
            raise reply
        return reply if reply.url else replace(reply, url=request.url)

    async def close(self) -> None:
        """Note that nobody will send any more."""
        self.closed = True

    async def _made(self, answerer: Answerer, request: Request, seconds: float | None) -> Reply:
        made = answerer(request)
        if not inspect.isawaitable(made):
            return made
        import asyncio  # 18 ms, which those who only want `redact_url` need not pay

        try:
            return await asyncio.wait_for(made, seconds)
        except TimeoutError:
            message = f"no answer within {seconds:g} s" if seconds is not None else "no answer in time"
            return TransportError("timeout", message, sent=True, url=request.url)
