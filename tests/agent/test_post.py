"""HTTP as the agent speaks it, against real servers: what is kept, what is refused, and how long it may take."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.certificates import self_signed
from treadle.agent.post import BadAnswerError, Poster

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request with the next of its answers, in pieces; then it closes, or says nothing more."""

    def __init__(self, answers: list[list[bytes]], *, silent: bool) -> None:
        self.answers = answers
        self.silent = silent
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.released = asyncio.Event()
        self.serving: set[asyncio.Task[None] | None] = set()

    async def end(self) -> None:
        self.released.set()
        await asyncio.gather(*(each for each in self.serving if each))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving.add(asyncio.current_task())
        try:
            while self.answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                for piece in self.answers.pop(0):
                    writer.write(piece)
                    await writer.drain()
            if self.silent:
                await self.released.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def begin(*answers: list[bytes], silent: bool = False, tls: ssl.SSLContext | None = None) -> Server:
            server = Server(list(answers), silent=silent)
            listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
            stack.push_async_callback(server.end)
            stack.callback(listening.close)
            port = listening.sockets[0].getsockname()[1]
            server.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
            return server

        yield begin


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    poster = Poster({"Authorization": "Bearer secret"})
    yield poster
    await poster.close()


class Case(NamedTuple):
    description: str
    answer: list[bytes]
    want: tuple[int, bytes]


WHOLE = [
    Case("in one piece", [ANSWER], (200, b"ok")),
    Case("byte by byte", [bytes([each]) for each in ANSWER], (200, b"ok")),
    Case("without a body", [b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"], (409, b"")),
    Case("204, which never has one", [b"HTTP/1.1 204 No Content\r\n\r\n"], (204, b"")),
    Case(
        "in chunks",
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"],
        (200, b"ok"),
    ),
    Case(
        "that says it will close",
        [b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"],
        (503, b"no"),
    ),
]


@pytest.mark.parametrize("case", WHOLE, ids=[each.description for each in WHOLE])
async def test_an_answer(case: Case, serve: Serve, poster: Poster) -> None:
    """Status and body are given, however they come."""
    server = await serve(case.answer)
    assert await poster.post(f"{server.url}/a/b?c=d", b"body", seconds=10) == case.want
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.split(b"\r\n") == [
        b"POST /a/b?c=d HTTP/1.1",
        b"Host: " + server.url.removeprefix("http://").encode(),
        b"Authorization: Bearer secret",
        b"Content-Length: 4",
    ]


BAD = [
    Case("no HTTP", [b"SSH-2.0-OpenSSH_9.2\r\n"], (0, b"no HTTP")),
    Case("nothing", [], (0, b"closed before")),
    Case("cut off in its head", [b"HTTP/1.1 200 OK\r\nContent-Le"], (0, b"closed before")),
    Case("cut off in its body", [ANSWER[:-1]], (0, b"closed before")),
    Case(
        "cut off between chunks",
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n"],
        (0, b"closed before"),
    ),
]


@pytest.mark.parametrize("case", BAD, ids=[each.description for each in BAD])
async def test_no_answer(case: Case, serve: Serve, poster: Poster) -> None:
    """What is no whole answer is an error, and its connection is not used again."""
    server = await serve(case.answer)
    with pytest.raises(BadAnswerError, match=case.want[1].decode()):
        await poster.post(server.url, b"", seconds=10)
    server.answers.append([ANSWER])
    assert await poster.post(server.url, b"", seconds=10) == (200, b"ok")
    assert server.connections == 2


async def test_an_endless_answer(serve: Serve) -> None:
    """An answer is not collected beyond a limit."""
    server = await serve([b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"a" * 1001], silent=True)
    limited = Poster({}, limit=1000)
    with pytest.raises(BadAnswerError, match="longer than 1000 bytes"):
        await limited.post(server.url, b"", seconds=10)
    await limited.close()


async def test_connections_are_kept(serve: Serve, poster: Poster) -> None:
    """One after the other they share a connection; at the same time each has its own."""
    server = await serve([ANSWER], [ANSWER], [ANSWER], [ANSWER])
    for _ in range(2):
        await poster.post(server.url, b"", seconds=10)
    assert server.connections == 1
    await asyncio.gather(*(poster.post(server.url, b"", seconds=10) for _ in range(2)))
    assert server.connections == 2


async def test_closing_that_is_broken_off(serve: Serve, poster: Poster) -> None:
    """Who is cancelled while it closes its connections leaves none of them open."""
    server = await serve([ANSWER], [ANSWER])
    await asyncio.gather(*(poster.post(server.url, b"", seconds=10) for _ in range(2)))
    writers = [each.writer for each in next(iter(poster._kept.values()))]
    closing = asyncio.create_task(poster.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    assert [each.is_closing() for each in writers] == [True, True]


async def test_a_connection_that_was_closed_meanwhile(serve: Serve, poster: Poster) -> None:
    """A server may close what is idle; the next request does not find out the hard way."""
    server = await serve([ANSWER])
    await poster.post(server.url, b"", seconds=10)
    (kept,) = next(iter(poster._kept.values()))
    assert await kept.reader.read() == b""  # the server has closed it
    server.answers.append([ANSWER])
    assert await poster.post(server.url, b"", seconds=10) == (200, b"ok")
    assert server.connections == 2


async def test_a_server_that_says_nothing(serve: Serve, poster: Poster) -> None:
    """The time is over for the whole of it, and the connection is given up."""
    server = await serve([], silent=True)
    with pytest.raises(TimeoutError):
        await poster.post(server.url, b"", seconds=0.1)
    server.answers.append([ANSWER])
    assert await poster.post(server.url, b"", seconds=10) == (200, b"ok")
    assert server.connections == 2


async def test_nobody_listens(poster: Poster) -> None:
    """A refused connection is an OSError."""
    with pytest.raises(OSError, match="Connect call failed"):
        await poster.post("http://127.0.0.1:1/", b"", seconds=10)


async def test_tls(serve: Serve, poster: Poster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the machine trusts is needed; there is no way around it."""
    made = self_signed(tmp_path, "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server = await serve([ANSWER], tls=context)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        await poster.post(server.url, b"", seconds=10)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.certificate))
    assert await poster.post(server.url, b"", seconds=10) == (200, b"ok")
