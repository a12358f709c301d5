"""The transport over real connections: HTTP/1.1, with every bound that a stranger's server makes necessary.

What it promises beyond the seam: an answer has a largest size, counted after decompression, and is dropped as soon as
it grows beyond; redirects are followed for GET and HEAD only, a few times, and what might be a credential stays behind
when the origin changes; nothing is taken from the environment but the certificates that are trusted, no cookie is
kept, and every exception of a library or the operating system leaves as a `TransportError`.

Sockets and TLS are asyncio's, llhttp reads the answers. What stands between them is our own, because it is the most of
what a poll costs: the same request takes 0.03 ms of CPU here and 0.10 in aiohttp, signing it 0.02, and everything that
a run does with the answer less than that; and aiohttp takes 0.1 s to import. The path of a request that is answered at
once is kept short: a poll of a thousand visits goes through here a thousand times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from treadle.errors import CallError, TransportError
from treadle.http.connection import Connection
from treadle.http.faults import NotHttp, TooLarge, Undecodable, connecting, exchanging, redirect_target, waiting
from treadle.http.pool import Pool
from treadle.http.wire import address_of, decompressed, written
from treadle.seams import Request, Response

__all__ = ["HttpTransport"]

_MIB: Final = 1 << 20

# Shorter than the shortest common keep-alive of servers (uvicorn: 5 s): a POST into a connection that the server is
# just closing would leave it open whether it arrived.
_KEEP_ALIVE: Final = 4.0

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REDIRECTED: Final = frozenset({"GET", "HEAD"})
# What may follow a redirect to another origin. A list of what may, since any header can be somebody's API key.
_HARMLESS: Final = frozenset({"accept", "accept-language", "accept-encoding", "user-agent", "range"})
# May be sent once more when a connection that was kept turns out to be closed (RFC 9110, section 9.2.2).
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class HttpTransport:
    """Sends requests over HTTP/1.1 with pooled connections. Made anywhere; used in one event loop.

    `timeout` and `connect_timeout` in seconds, `max_body` in bytes after decompression; of more than `connections`
    requests at once the others wait. `allowed_hosts`, where given, are the only hosts that are talked to: `host`,
    `host:port` or `*.example.com`.
    """

    def __init__(
        self,
        *,
        timeout: float = 120.0,
        connect_timeout: float = 10.0,
        max_body: int = 64 * _MIB,
        max_redirects: int = 5,
        connections: int = 256,
        allowed_hosts: Collection[str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._max_body = max_body
        self._max_redirects = max_redirects
        self._connections = connections
        self._allowed_hosts = allowed_hosts
        self._pool: Pool | None = None

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Send, and read the whole answer. Raises `TransportError`; `CallError` for a host that is not allowed."""
        seconds = self._timeout if timeout is None else timeout
        if self._allowed_hosts is not None and not self._allows(request.url):
            host = urlsplit(request.url).netloc.rpartition("@")[2]
            raise CallError(f"the host {host} is not among those that may be called", hint="see the option for hosts")
        response = await self._once(request, seconds)
        if response.status in _REDIRECTS and request.method in _REDIRECTED and self._max_redirects:
            return await self._redirected(request, response, seconds)
        return response

    async def close(self) -> None:
        """Let go of all connections; a later request opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
            await asyncio.sleep(0)  # asyncio lets go of what was closed in the next round of its loop

    async def _once(self, request: Request, seconds: float) -> Response:
        if self._pool is None:
            self._pool = Pool(limit=self._connections, keep_alive=_KEEP_ALIVE, max_body=self._max_body)
        return await _Exchange(self._pool, request, seconds, self._connect_timeout, self._max_body).answer()

    async def _redirected(self, request: Request, response: Response, seconds: float) -> Response:
        for _ in range(self._max_redirects):
            location = response.header("location")
            if location is None:
                return response
            url = redirect_target(request.url, location)
            if self._allowed_hosts is not None and not self._allows(url):
                host = urlsplit(url).netloc
                raise TransportError("redirect", f"redirected to {host}, which is not allowed", sent=True, url=url)
            request = _followed(request, url, response.status)
            response = await self._once(request, seconds)
            if response.status not in _REDIRECTS:
                return response
        raise TransportError(
            "redirect",
            f"redirected more than {self._max_redirects} times, the last time to {response.header('location')}",
            sent=True,
            url=request.url,
        )

    def _allows(self, url: str) -> bool:
        parts = urlsplit(url)
        names = {(parts.hostname or "").lower(), parts.netloc.rpartition("@")[2].lower()}
        return any(fnmatchcase(name, pattern.lower()) for name in names for pattern in self._allowed_hosts or ())


class _Exchange:
    """One request on its way, and how long it may take: its turn, a connection, the answer."""

    __slots__ = ("_address", "_connect_timeout", "_ends", "_head", "_max_body", "_pool", "_request", "_seconds")

    def __init__(self, pool: Pool, request: Request, seconds: float, connect_timeout: float, max_body: int) -> None:
        self._pool = pool
        self._request = request
        self._seconds = seconds
        self._ends = pool.loop.time() + seconds
        self._connect_timeout = connect_timeout
        self._max_body = max_body
        self._address = address_of(request.url)
        self._head = written(request, self._address)

    async def answer(self) -> Response:
        """Give the answer. Raises `TransportError`."""
        pool = self._pool
        if pool.turns.locked():
            await self._turn()
        else:
            await pool.turns.acquire()
        try:
            kept = pool.kept(self._address.origin)
            response = await self._again(kept) if kept is not None else None
            return await self._over(await self._opened()) if response is None else response
        finally:
            pool.turns.release()

    async def _turn(self) -> None:
        try:
            async with asyncio.timeout_at(self._ends):
                await self._pool.turns.acquire()
        except TimeoutError as error:
            raise waiting(self._request.url, self._seconds) from error

    async def _opened(self) -> Connection:
        ends = min(self._ends, self._pool.loop.time() + self._connect_timeout)
        try:
            async with asyncio.timeout_at(ends):
                return await self._pool.opened(self._address.origin)
        except (OSError, UnicodeError) as error:  # a time-out is an OSError, too
            raise connecting(error, self._request.url) from error

    async def _again(self, kept: Connection) -> Response | None:
        """Use a connection that was kept; None where it turns out to be closed and the request may go out again."""
        try:
            return await self._over(kept)
        except TransportError as error:
            if self._request.method in _IDEMPOTENT and isinstance(error.__cause__, ConnectionError):
                return None
            raise

    async def _over(self, connection: Connection) -> Response:
        pool, request = self._pool, self._request
        timer = pool.loop.call_at(self._ends, connection.fail, TimeoutError())
        try:
            status, headers, body = await connection.exchange(
                self._head, request.body, head_only=request.method == "HEAD"
            )
            return Response(status, headers, decompressed(body, headers, self._max_body), request.url)
        except (OSError, NotHttp, TooLarge, Undecodable) as error:
            raise exchanging(error, request.url, self._seconds, self._max_body) from error
        finally:
            timer.cancel()
            pool.give_back(connection, self._address.origin)


def _followed(request: Request, url: str, status: int) -> Request:
    """Give the request that follows a redirect. 303 means "see other"; a body has no business at another origin."""
    same = _same_origin(request.url, url)
    headers = request.headers if same else tuple(each for each in request.headers if each[0].lower() in _HARMLESS)
    return Request(request.method, url, headers, request.body if same and status in {307, 308} else b"")


def _same_origin(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    default = {"http": 80, "https": 443}
    return (first.scheme, first.hostname, first.port or default.get(first.scheme)) == (
        second.scheme,
        second.hostname,
        second.port or default.get(second.scheme),
    )
