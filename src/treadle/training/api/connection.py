"""What a connection may cost before an application sees a request: a head has a size and a time.

The HTTP server collects the headers of a request in memory, however many there are, and waits for them for ever.
Neither is of use to a client that means well.

And what an answer costs: it also writes the head of an answer by itself, a system call and a packet of its own. Here it
leaves with the beginning of the body, which is a tenth of the time of a small answer.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedProtocol"]

HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 30.0

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


# A head has some hundred bytes.
_HELD_BYTES: Final = 4096


class _Joining:
    """A transport that holds a small write until the next one, or until the event loop has time for it."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not data:
            return  # asyncio's writelines, since Python 3.12, tries for ever to send an empty piece
        if self._held:
            held, self._held = self._held, b""
            self._transport.writelines((held, data))
        elif len(data) <= _HELD_BYTES:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)


class BoundedProtocol(HttpToolsProtocol):
    """An HTTP connection whose heads are at most `head_bytes` long, more or less, and take `head_seconds` at most."""

    head_bytes: int = HEAD_BYTES
    head_seconds: float = HEAD_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._seen = 0
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(cast("asyncio.Transport", _Joining(transport, self.loop)))
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; if the head is still not whole, all of that was head, and the rest is waited for."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._seen += len(data)
            if self._seen > self.head_bytes:
                self._refuse(_TOO_LARGE)
            elif self._waiting is None:  # the first head has been waited for since the connection was made
                self._wait()

    def on_message_begin(self) -> None:
        """Begin a head. Most are whole before anybody need wait for them."""
        super().on_message_begin()
        self._in_head = True
        self._seen = 0

    def on_headers_complete(self) -> None:
        """End a head."""
        self._in_head = False
        if self._waiting is not None:
            self._stop_waiting()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.head_seconds, self._refuse, _TOO_LATE)

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()

    def _refuse(self, answer: bytes) -> None:
        self._stop_waiting()
        # In the middle of a head nothing is owed to anybody but for the requests before it on this connection.
        under_way: Any = self.cycle  # there is none before the first request
        if self._seen and (under_way is None or under_way.response_complete):
            self.transport.write(answer)
        self.transport.close()
