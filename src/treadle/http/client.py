"""The transport over real connections: aiohttp, with every bound that a stranger's server makes necessary.

What it promises beyond the seam: an answer has a largest size, counted after decompression, and is dropped as soon as
it grows beyond; redirects are followed for GET and HEAD only, a few times, and what might be a credential stays behind
when the origin changes; nothing is taken from the environment, no cookie is kept, and every exception of aiohttp or the
operating system leaves as a `TransportError`.

aiohttp costs 300 ms to import, so that happens with the first request. The path of a request that is answered at once
is kept short: a poll of a thousand visits goes through here a thousand times.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from treadle._version import __version__
from treadle.errors import TransportError
from treadle.http.hosts import allows, host_of
from treadle.seams import Headers, Request, Response

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpTransport"]

_MIB: Final = 1 << 20

# Shorter than the shortest common keep-alive of servers (uvicorn: 5 s): a POST into a connection that the server is
# just closing would leave it open whether it arrived.
_KEEP_ALIVE: Final = 4.0
_CONNECTIONS: Final = 256
# Answers of real APIs carry headers that go beyond aiohttp's 8 KiB: signed links, security policies.
_LONGEST_HEADER: Final = 64 * 1024

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CONNECT: Final = 10.0  # seconds
_MOST_REDIRECTS: Final = 5
_REDIRECTED: Final = frozenset({"GET", "HEAD"})
_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
# What may follow a redirect to another origin. A list of what may, since any header can be somebody's API key.
_HARMLESS: Final = frozenset({"accept", "accept-language", "accept-encoding", "user-agent", "range"})


class HttpTransport:
    """Sends requests over HTTP/1.1 with pooled connections. Made anywhere; used in one event loop.

    `timeout` in seconds, `max_body` in bytes after decompression. `allowed_hosts`, where given, are the only hosts that
    are talked to, see `treadle.http.hosts`.
    """

    def __init__(
        self,
        *,
        timeout: float = 120.0,
        max_body: int = 64 * _MIB,
        allowed_hosts: Collection[str] | None = None,
    ) -> None:
        self._timeout = timeout
        self._max_body = max_body
        self._allowed_hosts = allowed_hosts
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109  (the seam's)
        """Send, and read the whole answer. Raises `TransportError`."""
        seconds = self._timeout if timeout is None else timeout
        if self._allowed_hosts is not None and not allows(self._allowed_hosts, request.url):
            message = f"the host {host_of(request.url)} is not among those that may be called"
            raise TransportError("protocol", message, sent=False, url=request.url)
        response = await self._once(request, seconds)
        if response.status in _REDIRECTS and request.method in _REDIRECTED:
            return await self._redirected(request, response, seconds)
        return response

    async def close(self) -> None:
        """Let go of all connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _once(self, request: Request, seconds: float) -> Response:
        session = self._session or self._open()
        # aiohttp warns of large bytes, which it would write in one piece; a file it writes in several.
        data: Any = request.body if len(request.body) <= _MIB else io.BytesIO(request.body)
        try:
            async with session.request(
                request.method,
                _url(request.url),
                data=data or None,
                headers=_unframed(request.headers),
                allow_redirects=False,
                timeout=_client_timeout(seconds),
            ) as answer:
                body = await self._read(answer, request)
                return Response(answer.status, _headers(answer), body, request.url)
        # ValueError: a URL or header that aiohttp refuses. TimeoutError is an OSError.
        except (OSError, ValueError, _client_error()) as error:
            from treadle.http.faults import translated  # it needs aiohttp, which is loaded by now

            raise translated(error, request.url, seconds) from error

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp  # heavy: only where a request is really sent

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"treadle/{__version__}"},
            skip_auto_headers=("Content-Type",),
            trust_env=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )
        return self._session

    async def _read(self, answer: aiohttp.ClientResponse, request: Request) -> bytes:
        if request.method == "HEAD":
            return b""
        length = answer.content_length
        if length is not None and length > self._max_body:
            raise self._too_large(request)
        if length is not None and "Content-Encoding" not in answer.headers:
            return await answer.read()
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.content.iter_any():
            size += len(piece)
            if size > self._max_body:
                raise self._too_large(request)
            pieces.append(piece)
        return b"".join(pieces)

    def _too_large(self, request: Request) -> TransportError:
        host = urlsplit(request.url).netloc.rpartition("@")[2]
        limit = f"{self._max_body / _MIB:g} MiB" if self._max_body >= _MIB else f"{self._max_body} bytes"
        return TransportError(
            "too-large",
            f"the answer of {host} is larger than {limit}",
            sent=True,
            url=request.url,
            hint="ask for less, for example with a page size",
        )

    async def _redirected(self, request: Request, response: Response, seconds: float) -> Response:
        from treadle.http.faults import redirect_target  # it needs aiohttp, which is loaded by now

        for _ in range(_MOST_REDIRECTS):
            location = response.header("location")
            if location is None:
                return response
            url = redirect_target(request.url, location)
            if self._allowed_hosts is not None and not allows(self._allowed_hosts, url):
                message = f"redirected to {host_of(url)}, which is not among the hosts that may be called"
                raise TransportError("redirect", message, sent=True, url=url)
            request = _followed(request, url, response.status)
            response = await self._once(request, seconds)
            if response.status not in _REDIRECTS:
                return response
        raise TransportError(
            "redirect",
            f"redirected more than {_MOST_REDIRECTS} times, the last time to {response.header('location')}",
            sent=True,
            url=request.url,
        )


def _unframed(headers: Headers) -> Headers:
    """Give the headers without those that say how long the body is: that is said once, and by nobody else."""
    if any(len(name) in {14, 17} and name.lower() in _FRAMING for name, _ in headers):
        return tuple(each for each in headers if each[0].lower() not in _FRAMING)
    return headers


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


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    """Give the headers as plain texts, so that they can be stored.

    Names are of a class of aiohttp's own that no encoder knows; bytes that are no UTF-8 become replacement characters.
    """
    items = tuple([(str(name), value) for name, value in answer.headers.items()])
    if all(value.isascii() for _, value in items):
        return items
    return tuple((name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")) for name, value in items)


@lru_cache(maxsize=64)
def _client_timeout(seconds: float) -> aiohttp.ClientTimeout:
    import aiohttp  # heavy: only where a request is really sent

    return aiohttp.ClientTimeout(total=seconds, sock_connect=_CONNECT, ceil_threshold=float("inf"))


@lru_cache(maxsize=1)
def _client_error() -> type[Exception]:
    import aiohttp  # heavy: only where a request is really sent

    return aiohttp.ClientError


@lru_cache(maxsize=256)
def _url(text: str) -> Any:
    """Give the URL as aiohttp takes it, without encoding it again: what was signed is what is sent."""
    from yarl import URL  # comes with aiohttp

    return URL(text, encoded=True)
