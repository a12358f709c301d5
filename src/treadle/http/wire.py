"""HTTP/1.1 as it is written: where a request goes, its bytes, and the bodies of answers decompressed (RFC 9110, 9112).

Whatever a request holds, nothing in it can end a header or begin another request: that is checked here, once, for the
whole head.
"""

from __future__ import annotations

import base64
import re
import zlib
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from treadle._version import __version__
from treadle.http.faults import TooLarge, Undecodable, unsendable
from treadle.seams import Headers, Request

__all__ = ["Address", "Origin", "address_of", "decompressed", "written"]


class Origin(NamedTuple):
    """What a connection leads to."""

    secure: bool
    host: str
    port: int


class Address(NamedTuple):
    """Where a URL leads: `target` is what stands in the request line, `authorization` what its user part means."""

    origin: Origin
    authority: str
    target: str
    authorization: str


# Asked for at every visit of a poll, of some hundred runs at once.
@lru_cache(maxsize=1024)
def address_of(url: str) -> Address:
    """Take a URL apart, without encoding it again: what was signed is what is sent. Raises `TransportError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not match, a port that is none
        raise unsendable(f"{url!r} is not a URL that can be called", url) from None
    if parts.scheme not in {"http", "https"}:
        raise unsendable(f"{url!r} is neither http nor https", url)
    if not host or _UNSAFE.search(url):
        raise unsendable(f"{url!r} is not a URL that can be called", url)
    secure = parts.scheme == "https"
    default = 443 if secure else 80
    name = host if host.isascii() else _ascii(host, url)
    shown = f"[{name}]" if ":" in name else name
    authority = shown if port in {None, default} else f"{shown}:{port}"
    target = url[len(parts.scheme) + len("://") + len(parts.netloc) :].partition("#")[0]
    userinfo, at, _ = parts.netloc.rpartition("@")
    basic = f"Basic {base64.b64encode(unquote_to_bytes(userinfo)).decode()}" if at else ""
    origin = Origin(secure, name, default if port is None else port)
    return Address(origin, authority, target if target.startswith("/") else f"/{target}", basic)


# White space ends the request line, and urlsplit silently drops some of it.
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f]")


def _ascii(host: str, url: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise unsendable(f"{url!r} has no host name that can be looked up", url) from None


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------

# The transport frames the body; whatever else says how long it is could only contradict that.
_FRAMING: Final = frozenset({"connection", "content-length", "transfer-encoding"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Methods whose requests say that they have no body (RFC 9110, section 8.6).
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_DEFAULTS: Final = (
    ("user-agent", f"User-Agent: treadle/{__version__}"),
    ("accept", "Accept: */*"),
    ("accept-encoding", "Accept-Encoding: gzip, deflate"),
)


def written(request: Request, address: Address) -> bytes:
    """Give the head of a request. Raises `TransportError` for what cannot be written as one."""
    try:
        return _head(request, address)
    except ValueError as error:  # UnicodeEncodeError too: a lone surrogate
        raise unsendable(f"the request cannot be sent: {error}", request.url) from error


def _head(request: Request, address: Address) -> bytes:
    lines = [f"{_token(request.method)} {address.target} HTTP/1.1"]
    names = set()
    for name, value in request.headers:
        lower = _lower(name)
        if lower not in _FRAMING:
            names.add(lower)
            lines.append(f"{name}: {value}")
    if "host" not in names:
        lines.insert(1, f"Host: {address.authority}")
    lines += [line for lower, line in _DEFAULTS if lower not in names]
    if address.authorization and "authorization" not in names:
        lines.append(f"Authorization: {address.authorization}")
    if request.body or request.method in _WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}")
    breaks = len(lines) - 1
    head = "\r\n".join(lines)
    if head.count("\r") != breaks or head.count("\n") != breaks or "\0" in head:
        raise ValueError("a header has a line break in it")
    return f"{head}\r\n\r\n".encode()


@lru_cache(maxsize=512)
def _lower(name: str) -> str:
    return _token(name).lower()


def _token(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no name that HTTP allows")
    return text


# ---------------------------------------------------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------------------------------------------------


def decompressed(body: bytes, headers: Headers, limit: int) -> bytes:
    """Give the body as it was before its Content-Encoding. Raises `Undecodable`; `TooLarge` beyond `limit` bytes."""
    coding = next((value.strip().lower() for name, value in headers if name.lower() == "content-encoding"), "")
    if not body or coding in {"", "identity"}:
        return body
    if coding in {"gzip", "x-gzip"}:
        return _inflated(body, zlib.MAX_WBITS | 16, limit)
    if coding == "deflate":
        # It means zlib's format; some servers send the bare one (RFC 9110, section 8.4.1.2).
        return _inflated(body, zlib.MAX_WBITS if body[0] & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS, limit)
    if coding in {"br", "zstd", "compress"}:
        raise Undecodable(f"it is encoded as {coding!r}, which was not asked for")
    return body  # people write a charset here, or names of their own; what it is shows when it is read


def _inflated(body: bytes, bits: int, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while body:  # gzip may have several members
        inflater = zlib.decompressobj(bits)
        try:
            piece = inflater.decompress(body, limit + 1 - size)
        except zlib.error as error:
            raise Undecodable(str(error)) from error
        size += len(piece)
        if size > limit:
            raise TooLarge
        if not inflater.eof:
            raise Undecodable("it ends too early")
        pieces.append(piece)
        body = inflater.unused_data
    return b"".join(pieces)
