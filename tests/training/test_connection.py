"""What a connection may cost before a request is there: heads that are too large, too slow, or never come."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.training.serving import serving

from treadle.training.api.connection import BoundedProtocol


class Impatient(BoundedProtocol):
    head_bytes = 10_000
    head_seconds = 0.3


async def app(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = b"" if scope["path"] == "/empty" else b"ok"
    length = str(len(answer)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(app, http=Impatient) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def answer(connection: socket.socket) -> bytes:
    """Read to the end of the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_head_without_end_is_refused(address: tuple[str, int]) -> None:
    """Neither one endless header nor endlessly many are collected."""
    for endless in (b"X-A: " + b"a" * 100_000, b"X-A: a\r\n" * 20_000):
        with socket.create_connection(address, timeout=10) as connection:
            try:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n" + endless)
                told = answer(connection)
            except ConnectionError:
                continue  # the answer may be lost to a client that goes on sending
            assert told.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("begun", "want"), [(b"", b""), (b"GET / HTTP/1.1\r\nHost: ", b"HTTP/1.1 408 ")])
def test_a_head_that_does_not_come_is_not_waited_for(address: tuple[str, int], begun: bytes, want: bytes) -> None:
    """A connection without a request is closed after a while, whether it had begun one or not."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(begun)
        start = time.monotonic()
        told = answer(connection)
        assert told[: len(want)] == want
        assert bool(told) == bool(want)
        assert time.monotonic() - start >= 0.2


def test_a_connection_is_closed_after_an_empty_answer(address: tuple[str, int]) -> None:
    """Its head leaves with no body, of which asyncio, since Python 3.12, would never get rid."""
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(b"GET /empty HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def test_bodies_may_be_large_and_slow(address: tuple[str, int]) -> None:
    """The limits are those of a head; requests one after the other on a connection are as good as on several."""
    with socket.create_connection(address, timeout=10) as connection:
        head = b"POST / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * 9000 + b"\r\nContent-Length: 100001\r\n\r\n"
        for _ in range(3):
            connection.sendall(head + b"x" * 100_000)
            time.sleep(0.4)  # longer than a head may take
            connection.sendall(b"x")
            told = b""
            while not told.endswith(b"ok"):
                told += connection.recv(4096)
            assert told.startswith(b"HTTP/1.1 200 ")
