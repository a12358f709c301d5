"""Every exception of aiohttp and the operating system, translated once.

The order of the table matters: the first row whose type fits is taken, and aiohttp's types are subclasses of each
other and of OSError. `sent` is False only where the server cannot have got the request.

This module needs aiohttp at import, so only `client` imports it, when aiohttp is there already.
"""

from __future__ import annotations

import errno
import string
from typing import Final
from urllib.parse import quote, urldefrag, urljoin, urlsplit

import aiohttp
from aiohttp import http_exceptions

from treadle.errors import TransportError, TransportFault

__all__ = ["redirect_target", "translated"]

Row = tuple[type[BaseException], TransportFault, bool, str, str]

_FAULTS: Final[tuple[Row, ...]] = (
    (aiohttp.ClientConnectorDNSError, "dns", False, "the name {host} cannot be resolved", "check the server's name"),
    (
        aiohttp.ClientConnectorCertificateError,
        "tls",
        False,
        "the certificate of {where} is not trusted: {reason}",
        "to trust another authority, set SSL_CERT_FILE to its certificate",
    ),
    (
        aiohttp.ClientConnectorSSLError,
        "tls",
        False,
        "no TLS connection with {where}: {reason}",
        "does the server speak https there, and not http?",
    ),
    (aiohttp.ConnectionTimeoutError, "timeout", False, "no connection to {where} in time", "is the host reachable?"),
    (
        aiohttp.ClientConnectorError,
        "refused",
        False,
        "no connection to {where}: {reason}",
        "is the host reachable from here?",
    ),
    (
        TimeoutError,
        "timeout",
        True,
        "{where} did not answer within {seconds:g} s",
        "the time for an answer can be raised",
    ),
    (aiohttp.ServerDisconnectedError, "reset", True, "{where} closed the connection without an answer", ""),
    (aiohttp.ClientPayloadError, "reset", True, "the connection to {where} ended before the whole answer had come", ""),
    (aiohttp.InvalidURL, "protocol", False, "{url!r} is not a URL that can be called", ""),
    (aiohttp.NonHttpUrlClientError, "protocol", False, "{url!r} is neither http nor https", ""),
    (
        aiohttp.ClientResponseError,
        "protocol",
        True,
        "what {where} answered is not HTTP: {reason}",
        "is it the right port, and http or https as the server wants it?",
    ),
    (ConnectionError, "reset", True, "the connection to {where} broke: {reason}", ""),
    (OSError, "reset", True, "the connection to {where} broke: {reason}", ""),
    (aiohttp.ClientError, "protocol", True, "the exchange with {where} failed: {reason}", ""),
    (ValueError, "protocol", False, "the request cannot be sent: {reason}", ""),
)


def translated(error: BaseException, url: str, seconds: float) -> TransportError:
    """Give the `TransportError` that says the same."""
    where = _where(url)
    if isinstance(error, aiohttp.ClientConnectorError) and error.errno == errno.ECONNREFUSED:
        message = f"nothing listens on {where} (connection refused)"
        return TransportError("refused", message, sent=False, url=url, hint="is the server running?")
    if isinstance(error, aiohttp.ClientPayloadError) and _cause(error, http_exceptions.ContentEncodingError):
        message = f"the answer of {where} cannot be decompressed: {_reason(error)}"
        return TransportError("protocol", message, sent=True, url=url)
    _, fault, sent, template, hint = next(row for row in _FAULTS if isinstance(error, row[0]))
    host = where.rpartition(":")[0] or where
    message = template.format(host=host, where=where, url=url, seconds=seconds, reason=_reason(error))
    return TransportError(fault, message, sent=sent, url=url, hint=hint)


def _where(url: str) -> str:
    """Give host and port of a URL, which may be one that cannot be read."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return url


def _cause(error: BaseException, kind: type[BaseException]) -> bool:
    return isinstance(error.__cause__, kind) or isinstance(error.__context__, kind)


def _reason(error: BaseException) -> str:
    """Give what the exception says in one line, the system's words where there are some."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, aiohttp.ClientResponseError):
        lines = error.message.strip().splitlines()
        return lines[0].rstrip(":") if lines else "it cannot be read"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def redirect_target(url: str, location: str) -> str:
    """Give the absolute URL of a Location header. Raises `TransportError` where it is none that can be followed."""
    try:
        # Servers send spaces and other characters that no URL has; what is encoded already stays as it is.
        target = urldefrag(urljoin(url, quote(location, safe=string.punctuation))).url
        parts = urlsplit(target)
    except ValueError as error:
        message = f"redirected to {location!r}, which is no URL"
        raise TransportError("redirect", message, sent=True, url=url) from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise TransportError("redirect", f"redirected to {location!r}, which is not http", sent=True, url=url)
    return target
