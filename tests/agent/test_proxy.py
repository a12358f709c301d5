"""The way out of a private network: the proxy's own answers, and that it passes on what it should."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial

import pytest

from treadle.agent.sandbox.proxy import Allowed, forward, is_outside

WORLD: Allowed = lambda _: True  # noqa: E731  (loopback is the world of these tests)


@pytest.fixture
async def seen() -> list[bytes]:
    return []


@pytest.fixture
async def port(seen: list[bytes]) -> AsyncIterator[int]:
    """A server that answers each head with a body, and ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def ask(data: bytes, allowed: Allowed = WORLD) -> bytes:
    """Send this through a proxy, and give all that comes back."""
    served = await asyncio.start_server(partial(forward, allowed=allowed), "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*served.sockets[0].getsockname())
        writer.write(data)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer
    finally:
        served.close()


async def test_a_request_is_passed_on(port: int, seen: list[bytes]) -> None:
    """With the path alone, and without what is the proxy's; one on each connection."""
    head = f"GET http://localhost:{port}/a/b?c=d HTTP/1.1\r\nHost: localhost\r\nProxy-Connection: x\r\nA: b\r\n\r\n"
    assert (await ask(head.encode())).endswith(b"\r\n\r\nhello")
    assert seen == [b"GET /a/b?c=d HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\nA: b\r\n\r\n"]


async def test_a_tunnel(port: int, seen: list[bytes]) -> None:
    """What follows CONNECT is nobody's business, also when it comes at once."""
    head = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await ask(head.encode() + b"anything\r\n\r\n")
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert seen == [b"anything\r\n\r\n"]


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("GET / HTTP/1.1", "400 Bad Request", "This is a proxy: "),
        ("GET https://a/ HTTP/1.1", "400 Bad Request", "This is a proxy: "),
        ("CONNECT a:port HTTP/1.1", "400 Bad Request", "This is a proxy: "),
        ("CONNECT [::1 HTTP/1.1", "400 Bad Request", "This is a proxy: "),
        ("nonsense", "400 Bad Request", "This is a proxy: "),
        ("CONNECT no.such.host.invalid:443 HTTP/1.1", "502 Bad Gateway", "no.such.host.invalid is not known: "),
        ("CONNECT localhost:1 HTTP/1.1", "403 Forbidden", "localhost is this machine, which programs of a job do not"),
        ("GET http://169.254.169.254/latest/ HTTP/1.1", "403 Forbidden", "169.254.169.254 is this machine"),
    ],
)
async def test_what_is_refused(line: str, status: str, said: str) -> None:
    """With a status and a reason, as a proxy does."""
    answer = (await ask(f"{line}\r\n\r\n".encode(), allowed=is_outside)).decode()
    assert answer.startswith(f"HTTP/1.1 {status}\r\n")
    assert f"\r\n\r\n{said}" in answer


async def test_nobody_there() -> None:
    """A host that takes no connections is told of."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        gone = taken.getsockname()[1]
    answer = (await ask(f"CONNECT 127.0.0.1:{gone} HTTP/1.1\r\n\r\n".encode())).decode()
    assert answer.startswith("HTTP/1.1 502 Bad Gateway\r\n")
    assert f"127.0.0.1:{gone} cannot be reached: " in answer


@pytest.mark.parametrize("head", [b"", b"GET http://a/ HT", b"x" * 200_000])
async def test_half_a_request(head: bytes) -> None:
    """Whoever leaves in the middle, or never comes to the end, gets no answer and holds nothing open."""
    served = await asyncio.start_server(forward, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*served.sockets[0].getsockname())
    writer.write(head)
    writer.write_eof()
    try:
        assert await reader.read() == b""
    except ConnectionError:  # it was not read to its end
        assert len(head) > 100_000
    writer.close()
    served.close()


@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("127.0.0.1", False),
        ("127.8.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("93.184.216.34", True),
        ("192.168.1.10", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
    ],
)
def test_is_outside(address: str, outside: bool) -> None:
    """This machine's own addresses, and those that are the same for every machine, are not."""
    assert is_outside(address) is outside
