"""What can go wrong with an exchange, translated once into a `TransportError` with words for people.

There are two tables, because the same exception means another thing before and after the request has gone out: while
connecting nothing has been sent, behind that nobody knows. In each the first row whose type fits is taken.
"""

from __future__ import annotations

import errno
import socket
import ssl
import string
from typing import Final
from urllib.parse import quote, urldefrag, urljoin, urlsplit

from treadle.errors import TransportError, TransportFault

__all__ = [
    "Closed",
    "NotHttp",
    "TooLarge",
    "Undecodable",
    "connecting",
    "exchanging",
    "redirect_target",
    "unsendable",
    "waiting",
]


class Closed(ConnectionError):  # noqa: N818  (it says what happened)
    """The server closed the connection before the whole answer had come; `begun`: some of it had."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__("closed")
        self.begun = begun


class NotHttp(Exception):  # noqa: N818
    """What came is no HTTP response."""


class TooLarge(Exception):  # noqa: N818
    """The body is larger than the limit."""


class Undecodable(Exception):  # noqa: N818
    """The body is not what its Content-Encoding says."""


_Row = tuple[type[BaseException], TransportFault, str, str]

_CONNECTING: Final[tuple[_Row, ...]] = (
    (socket.gaierror, "dns", "the name {host} cannot be resolved", "check the server's name"),
    # A label of it is too long.
    (UnicodeError, "dns", "the name {host} cannot be resolved", "check the server's name"),
    (
        ssl.SSLCertVerificationError,
        "tls",
        "the certificate of {where} is not trusted: {reason}",
        "to trust another authority, set SSL_CERT_FILE to its certificate",
    ),
    (
        ssl.SSLError,
        "tls",
        "no TLS connection with {where}: {reason}",
        "does the server speak https there, and not http?",
    ),
    (TimeoutError, "timeout", "no connection to {where} in time", "is the host reachable?"),
    (OSError, "refused", "no connection to {where}: {reason}", "is the host reachable from here?"),
)

_EXCHANGING: Final[tuple[_Row, ...]] = (
    (
        TimeoutError,
        "timeout",
        "{where} did not answer within {seconds:g} s",
        "the time for an answer can be raised",
    ),
    (
        NotHttp,
        "protocol",
        "what {where} answered is not HTTP: {reason}",
        "is it the right port, and http or https as the server wants it?",
    ),
    (Undecodable, "protocol", "the answer of {where} cannot be decompressed: {reason}", ""),
    (OSError, "reset", "the connection to {where} broke: {reason}", ""),
)

_ENDED: Final = "the connection to {where} ended before the whole answer had come"
_SILENT: Final = "{where} closed the connection without an answer"


def unsendable(reason: str, url: str) -> TransportError:
    """Say that a request cannot be written as HTTP; nothing was sent."""
    return TransportError("protocol", reason, sent=False, url=url)


def waiting(url: str, seconds: float) -> TransportError:
    """Say that a request did not get its turn among the others of this program; nothing was sent."""
    message = f"no connection was free for {_where(url)} within {seconds:g} s"
    return TransportError("timeout", message, sent=False, url=url, hint="there are too many requests at once")


def connecting(error: BaseException, url: str) -> TransportError:
    """Translate what happened while a connection was made: nothing has been sent."""
    where = _where(url)
    if _refused(error):
        message = f"nothing listens on {where} (connection refused)"
        return TransportError("refused", message, sent=False, url=url, hint="is the server running?")
    _, fault, template, hint = next(row for row in _CONNECTING if isinstance(error, row[0]))
    host = where.rpartition(":")[0] or where
    message = template.format(host=host, where=where, reason=_reason(error))
    return TransportError(fault, message, sent=False, url=url, hint=hint)


def exchanging(error: BaseException, url: str, seconds: float, max_body: int) -> TransportError:
    """Translate what happened after the request had begun to go out: the server may have got it."""
    where = _where(url)
    if isinstance(error, Closed):
        message = (_ENDED if error.begun else _SILENT).format(where=where)
        return TransportError("reset", message, sent=True, url=url)
    if isinstance(error, TooLarge):
        return _too_large(where, url, max_body)
    _, fault, template, hint = next(row for row in _EXCHANGING if isinstance(error, row[0]))
    message = template.format(where=where, seconds=seconds, reason=_reason(error))
    return TransportError(fault, message, sent=True, url=url, hint=hint)


_MIB: Final = 1 << 20


def _too_large(where: str, url: str, max_body: int) -> TransportError:
    limit = f"{max_body / _MIB:g} MiB" if max_body >= _MIB else f"{max_body} bytes"
    hint = "ask for less, for example with a page size, or raise the limit for answers"
    return TransportError("too-large", f"the answer of {where} is larger than {limit}", sent=True, url=url, hint=hint)


def _refused(error: BaseException) -> bool:
    """Tell whether every address of the host refused; of several asyncio only keeps the texts."""
    if not isinstance(error, OSError):
        return False
    if error.errno is not None:
        return error.errno == errno.ECONNREFUSED
    text = str(error)
    return 0 < text.count("[Errno ") == text.count(f"[Errno {errno.ECONNREFUSED}]")


def _where(url: str) -> str:
    """Give host and port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _reason(error: BaseException) -> str:
    """Give what the exception says in one line, the system's words where there are some."""
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
