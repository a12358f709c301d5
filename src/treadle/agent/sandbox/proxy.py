"""The way out of a private network: an HTTP proxy that its programs are told of as everywhere, by `HTTPS_PROXY`.

pip, requests, boto3, urllib, curl, git and the hubs of models use it by themselves, so that a job with several hosts
can install its requirements and fetch its models. There is no other way out, and no way in. This machine's own
addresses and the metadata service of a cloud are no part of the world outside.

Source: RFC 9110 (CONNECT, 9.3.6), RFC 9112 (absolute-form, 3.2.2).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from treadle.agent.connections import closed, copied

__all__ = ["Allowed", "forward", "is_outside", "variables"]

Allowed = Callable[[str], bool]
"""Whether an IP address may be reached."""

_PIECE: Final = 64 * 1024
_HEAD_SECONDS: Final = 30.0


def variables(port: int, addresses: Mapping[str, str], endpoints: set[str]) -> dict[str, str]:
    """Give what programs are told: where the proxy is, and what is reached without it.

    >>> variables(8080, {"algo-1": "10.0.0.1"}, {"127.0.0.1"})["NO_PROXY"]
    '10.0.0.1,127.0.0.1,algo-1,localhost'
    """
    url = f"http://127.0.0.1:{port}"
    near = ",".join(sorted({"localhost", "127.0.0.1", *addresses, *addresses.values(), *endpoints}))
    told = {"http_proxy": url, "https_proxy": url, "no_proxy": near}
    # Programs look at either spelling; curl takes http_proxy in lower case only.
    return told | {name.upper(): value for name, value in told.items()}


def is_outside(address: str) -> bool:
    """Tell whether an address is not this machine's own, as far as the address says it."""
    its = ipaddress.ip_address(address.partition("%")[0])
    its = getattr(its, "ipv4_mapped", None) or its
    return not (its.is_loopback or its.is_link_local or its.is_unspecified or its.is_multicast)


class _RefusedError(Exception):
    """The proxy's own answer: a status line, and the reason as a text."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.answer = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n{reason}\n".encode()


@dataclass(frozen=True, slots=True)
class _Asked:
    """Whom to connect to, and what to tell him first; `tunnel` for CONNECT."""

    host: str
    port: int
    tunnel: bool
    first: bytes = b""

    @classmethod
    def of(cls, head: bytes) -> _Asked:
        """Read the head of a request. Raises `_RefusedError`."""
        line, _, fields = head.partition(b"\r\n")
        method, _, rest = line.decode("latin-1").partition(" ")
        target, _, version = rest.rpartition(" ")
        tunnel = method == "CONNECT"
        try:
            parts = urlsplit(f"//{target}" if tunnel else target)
            host, port = parts.hostname, parts.port or (80 if parts.scheme == "http" else None)
        except ValueError:
            raise _bad_request() from None
        if not host or not port or not version.startswith("HTTP/1."):
            raise _bad_request()
        if tunnel:
            return cls(host, port, tunnel=True)
        kept = [each for each in fields.split(b"\r\n") if not each.lower().startswith((b"proxy-", b"connection:"))]
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # One request for each connection: the next one may be for somebody else.
        first = b"\r\n".join([f"{method} {path} {version}".encode("latin-1"), b"Connection: close", *kept])
        return cls(host, port, tunnel=False, first=first)


def _bad_request() -> _RefusedError:
    return _RefusedError("400 Bad Request", "This is a proxy: ask for http://…, or CONNECT to a host and port.")


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: Allowed = is_outside) -> None:
    """Serve one connection of a program, until both sides have said all; `writer` is closed then."""
    ends = [writer]
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            asked = _Asked.of(await reader.readuntil(b"\r\n\r\n"))
        there_reader, there = await _connected(asked, allowed)
        ends.append(there)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n" if asked.tunnel else b"")
        there.write(asked.first)
        await asyncio.gather(copied(reader, there), copied(there_reader, writer))
    except _RefusedError as refused:
        writer.write(refused.answer)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the connection breaks, as it would without us
    finally:
        await closed(ends)


async def _connected(asked: _Asked, allowed: Allowed) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that can be reached. Raises `_RefusedError`."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(asked.host, asked.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _RefusedError("502 Bad Gateway", f"{asked.host} is not known: {error.strerror}") from None
    addresses = [str(address[0]) for *_, address in found if allowed(str(address[0]))]
    if not addresses:
        raise _RefusedError("403 Forbidden", f"{asked.host} is this machine, which programs of a job do not reach.")
    problem = ""
    for address in addresses:
        try:
            return await asyncio.open_connection(address, asked.port, limit=_PIECE)
        except OSError as error:
            problem = error.strerror or str(error)
    raise _RefusedError("502 Bad Gateway", f"{asked.host}:{asked.port} cannot be reached: {problem}")
