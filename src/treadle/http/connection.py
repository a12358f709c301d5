"""One connection to a server, and the one exchange that goes over it at a time.

llhttp (`httptools`) reads the answers; here is only what surrounds it: how large they may be, where they end, and
whether another exchange may follow on the same connection.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import httptools

from treadle.http.faults import Closed, NotHttp, TooLarge
from treadle.seams import Headers

__all__ = ["Connection", "Reply"]

Reply = tuple[int, Headers, bytes]
"""Status, headers and the body as it came."""

# Real APIs send large heads: signed links, security policies. This is for all headers together.
_LARGEST_HEAD: Final = 256 * 1024
_NO_BODY: Final = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """A connection. `usable` tells whether another exchange may follow; `idle_since` is the pool's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_body: int) -> None:
        self.usable = False
        self.idle_since = 0.0
        self._loop = loop
        self._max_body = max_body
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiting: asyncio.Future[Reply] | None = None
        self._reset(head_only=False)

    def _reset(self, *, head_only: bool) -> None:
        self._head_only = head_only
        self._head_size = 0
        self._begun = self._in_body = self._until_closed = False
        self._headers: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self._size = 0

    def exchange(self, head: bytes, body: bytes, *, head_only: bool) -> asyncio.Future[Reply]:
        """Send a request, and give what will be its answer. `head_only`: the answer to HEAD has no body.

        Raises, in the future, what `faults.exchanging` translates.
        """
        self.usable = False
        self._reset(head_only=head_only)
        self._waiting = waiting = self._loop.create_future()
        transport = self._transport
        if transport is None:
            waiting.set_exception(Closed(begun=False))
        elif len(body) < _ONE_WRITE:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        return waiting

    def fail(self, error: BaseException) -> None:
        """End the exchange, and the connection with it."""
        waiting, self._waiting = self._waiting, None
        self.abort()
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def abort(self) -> None:
        """Let go of the connection at once."""
        self.usable = False
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read what came; without an exchange nothing has any business to come."""
        if self._waiting is None:
            self.abort()
            return
        if not self._in_body:
            self._head_size += len(data)
        self._begun = True
        try:
            self._reader().feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort()  # an answer to nothing that was asked; it has been given as it is
        except httptools.HttpParserError as error:
            self.fail(NotHttp(str(error)))
        if not self._in_body and self._head_size > _LARGEST_HEAD:
            self.fail(NotHttp(f"its headers are longer than {_LARGEST_HEAD // 1024} KiB"))

    def eof_received(self) -> None:
        """Take the end of the connection for the end of a body that has no length; what else it is comes next."""
        if self._waiting is not None and self._until_closed:
            self._complete()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits."""
        self._transport = None
        if self._waiting is not None and self._until_closed and error is None:
            self._complete()  # TLS has no half-closed connections
        self.fail(error or Closed(begun=self._begun))
        self._parser = None  # it refers to us

    # -- llhttp -------------------------------------------------------------------------------------------------------

    def _reader(self) -> httptools.HttpResponseParser:
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
            # What servers get wrong and every browser and client reads all the same; nothing that tells lengths.
            self._parser.set_dangerous_leniencies(
                lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
            )
        return self._parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; bytes that are no UTF-8 become replacement characters, so that every value can be stored."""
        if not self._in_body:  # else it is a trailer
            self._headers.append((name.decode("latin-1"), value.strip().decode("utf-8", "replace")))

    def on_headers_complete(self) -> None:
        """Find out where the body ends, and whether it may be read to there."""
        status = self._reader().get_status_code()
        if status < 200 and status != 101:
            return
        self._in_body = True
        framing = {lower: value for name, value in self._headers if (lower := name.lower()) in _FRAMING}
        length = framing.get("content-length")
        if self._head_only:
            self._complete()
            self._parser = None  # it would wait for the body that the headers announce
        elif length is not None and int(length) > self._max_body:
            self.fail(TooLarge())
        elif status not in _NO_BODY:
            coding = framing.get("transfer-encoding", "")
            self._until_closed = length is None and not coding.lower().endswith("chunked")

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        self._size += len(piece)
        if self._waiting is None:
            self.abort()  # the body of an answer to HEAD
        elif self._size > self._max_body:
            self.fail(TooLarge())
        else:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """Give the answer, unless it was an informational one that another follows (RFC 9110, section 15.2)."""
        if not self._in_body:
            self._headers = []
        elif self._waiting is not None:
            self._complete()
        elif not self._head_only:
            self.abort()  # more than was asked for

    def _complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting.done():
            self.abort()  # whoever asked is gone
            return
        transport, parser = self._transport, self._reader()
        self.usable = (
            transport is not None
            and not self._until_closed
            and parser.should_keep_alive()
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0  # else it answered before it had the whole request
        )
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        waiting.set_result((parser.get_status_code(), tuple(self._headers), body))


_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
# Below it the copy that joins head and body costs less than a second system call.
_ONE_WRITE: Final = 64 * 1024
