"""The mock behind a socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from treadle.mock.mock import Exchange, Mock
from treadle.seams import Request

__all__ = ["serving"]

_LARGEST_BODY: Final = 64 << 20
# The server writes these itself.
_OWN: Final = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})


@contextlib.asynccontextmanager
async def serving(
    mock: Mock, listening: socket.socket, told: Callable[[Exchange], None] | None = None
) -> AsyncIterator[None]:
    """Serve on a socket that listens already, as long as the context lasts; `told` is called for each exchange."""

    async def handle(incoming: web.BaseRequest) -> web.Response:
        incoming._client_max_size = _LARGEST_BODY  # noqa: SLF001  (aiohttp's low-level server has no other way)
        request = Request(
            incoming.method,
            f"{incoming.scheme}://{incoming.host}{incoming.raw_path}",
            tuple(incoming.headers.items()),
            await incoming.read(),
        )
        response = mock.respond(request)
        if told is not None:
            told(mock.exchanges[-1])
        answer = web.Response(status=response.status, body=response.body)
        # Without a body there is no type of it, and aiohttp would give one.
        answer.headers.popall("Content-Type", None)
        for name, value in response.headers:
            if name.lower() not in _OWN:
                answer.headers.add(name, value)
        return answer

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
