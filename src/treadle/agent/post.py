"""HTTP/1.1 as an agent needs it: POST a body, read the answer whole, keep the connection for the next one.

It is asyncio's streams with the parser of the service's own HTTP server. To import aiohttp instead would take longer
than everything else between the submission of a job and the first line of its program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import httptools

from treadle.agent.connections import closed
from treadle.agent.trust import trusting

__all__ = ["BadAnswerError", "Poster"]

_CONNECT_TIMEOUT = 5.0
_PIECE = 64 * 1024
# The largest answer is a claim's: the request of a job, some hundred KB.
_ANSWER_LIMIT = 64 * 1024 * 1024


class BadAnswerError(Exception):
    """What came back is no HTTP answer, or not a whole one."""


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def usable(self) -> bool:
        return not (self.reader.at_eof() or self.writer.is_closing())

    @property
    def gone(self) -> bool:
        descriptor: int = self.writer.transport.get_extra_info("socket").fileno()
        return descriptor < 0


class Poster:
    """Posts to any URL, several at a time; close it when done.

    `headers` go with every request; an answer of more than `limit` bytes is none. `certificate` is PEM: whom to trust
    besides those whom the machine trusts.
    """

    def __init__(self, headers: Mapping[str, str], *, limit: int = _ANSWER_LIMIT, certificate: str = "") -> None:
        self._limit = limit
        self._certificate = certificate
        self._head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._kept: dict[str, list[_Connection]] = {}
        self._aborted: list[_Connection] = []

    async def close(self) -> None:
        """Let go of the connections that were kept, and of those that were given up but for their last moment."""
        connections = [*(each for kept in self._kept.values() for each in kept), *self._aborted]
        self._kept.clear()
        self._aborted.clear()
        await closed([each.writer for each in connections])

    async def post(self, url: str, body: bytes, *, seconds: float) -> tuple[int, bytes]:
        """Send a body and give the status and body of the answer, within so many seconds.

        Raises `OSError`, `TimeoutError`, `BadAnswerError`.
        """
        address = urlsplit(url)
        kept = self._kept.setdefault(f"{address.scheme}://{address.netloc}", [])
        async with asyncio.timeout(seconds):
            connection = await _usable(kept) or await _connected(address, self._certificate)
            try:
                connection.writer.write(self._request(address, body))
                await connection.writer.drain()
                answer = await _answer(connection.reader, self._limit)
            except BaseException:
                connection.writer.transport.abort()
                self._aborted = [each for each in (*self._aborted, connection) if not each.gone]
                raise
        if answer.keep:
            kept.append(connection)
        else:
            await closed([connection.writer])
        return answer.status, b"".join(answer.pieces)

    def _request(self, address: SplitResult, body: bytes) -> bytes:
        target = address.path + (f"?{address.query}" if address.query else "")
        head = f"POST {target or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n{self._head}Content-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


class _Answer:
    """One answer, as the parser finds it in the bytes that come."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parser = httptools.HttpResponseParser(self)
        self.pieces: list[bytes] = []
        self._size = 0
        self.whole = False
        self.keep = False
        self.status = 0

    def take(self, data: bytes) -> None:
        """Parse. Raises `BadAnswerError`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise BadAnswerError(f"the answer is no HTTP: {error}") from error
        if self._size > self._limit:
            raise BadAnswerError(f"the answer is longer than {self._limit} bytes")

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        self.whole = True
        self.keep = self._parser.should_keep_alive()
        self.status = self._parser.get_status_code()


async def _usable(kept: list[_Connection]) -> _Connection | None:
    """Take a connection that the other side has not closed meanwhile."""
    while kept:
        connection = kept.pop()
        if connection.usable:
            return connection
        await closed([connection.writer])
    return None


async def _connected(address: SplitResult, certificate: str) -> _Connection:
    context = trusting(certificate) if address.scheme == "https" else None
    port = address.port or (443 if context else 80)
    async with asyncio.timeout(_CONNECT_TIMEOUT):
        return _Connection(*await asyncio.open_connection(address.hostname, port, ssl=context))


async def _answer(reader: asyncio.StreamReader, limit: int) -> _Answer:
    answer = _Answer(limit)
    while not answer.whole:
        data = await reader.read(_PIECE)
        if not data:
            raise BadAnswerError("the connection was closed before the answer was whole")
        answer.take(data)
    return answer
