"""The aiohttp transport against servers that misbehave: whatever they do, one clear fault and no more than the limit."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from treadle.errors import CallError, TransportError, TransportFault
from treadle.http import AiohttpTransport
from treadle.seams import Request

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
Start = Callable[..., Awaitable[str]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Give a function that starts a raw server: per connection it reads one head, then does what it is told."""
    async with AsyncExitStack() as stack:
        tasks: set[asyncio.Task[None]] = set()

        async def started(serve: Serve, *, tls: ssl.SSLContext | None = None, until: bytes = b"\r\n\r\n") -> str:
            async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await serve(await reader.readuntil(until), writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass
                finally:
                    writer.close()
                    with contextlib.suppress(ConnectionError, ssl.SSLError):
                        await writer.wait_closed()

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.add(asyncio.create_task(talk(reader, writer)))

            server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
            stack.callback(server.close)
            return f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield started
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport(max_body=100_000)
    yield made
    await made.close()


def saying(*pieces: bytes) -> Serve:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return serve


async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


BOMB = gzip.compress(b"\0" * 50_000_000)


@dataclass
class Fault:
    description: str
    serve: Serve
    fault: TransportFault
    sent: bool
    message: str
    headers: tuple[tuple[str, str], ...] = field(default=())


FAULTS = [
    Fault("says nothing and closes", saying(), "reset", sent=True, message="closed the connection without an answer"),
    Fault(
        "speaks another protocol", saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "protocol", sent=True, message="is not HTTP"
    ),
    Fault(
        "sends binary garbage",
        saying(bytes(range(256)) * 4 + b"\r\n\r\n"),
        "protocol",
        sent=True,
        message="is not HTTP",
    ),
    Fault(
        "ends in the middle of the body",
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"),
        "reset",
        sent=True,
        message="ended before the whole answer had come",
    ),
    Fault(
        "ends in the middle of a chunk",
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"),
        "reset",
        sent=True,
        message="ended before the whole answer had come",
    ),
    Fault(
        "announces more than the limit",
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + b"x" * 1000),
        "too-large",
        sent=True,
        message="is larger than 100000 bytes",
    ),
    Fault("never stops", endless, "too-large", sent=True, message="is larger than 100000 bytes"),
    Fault(
        "sends a decompression bomb",
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB),
        "too-large",
        sent=True,
        message="is larger than 100000 bytes",
    ),
    Fault(
        "sends what is not gzip as gzip",
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
        "protocol",
        sent=True,
        message="cannot be decompressed",
    ),
    Fault(
        "redirects to nowhere",
        saying(b"HTTP/1.1 302 Found\r\nLocation: ftp://example.test/\r\nContent-Length: 0\r\n\r\n"),
        "redirect",
        sent=True,
        message="which is not http",
    ),
    Fault(
        "redirects for ever",
        saying(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        "redirect",
        sent=True,
        message="redirected more than 5 times",
    ),
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.description)
async def test_faults(case: Fault, start: Start, transport: AiohttpTransport) -> None:
    """Every misbehaviour becomes one `TransportError`, whose message a person understands."""
    url = await start(case.serve)

    with pytest.raises(TransportError) as caught:
        await transport.send(Request("GET", f"{url}/x"), timeout=10)

    assert (caught.value.fault, caught.value.sent) == (case.fault, case.sent)
    assert case.message in caught.value.message


async def test_html_is_an_answer(start: Start, transport: AiohttpTransport) -> None:
    """A server that answers HTML answered: what it means is judged where the description is known."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"))

    response = await transport.send(Request("GET", url))

    assert (response.status, response.body) == (200, b"<html>")


async def test_compressed_answers_are_read(start: Start, transport: AiohttpTransport) -> None:
    """A compressed answer arrives decompressed, its size counted as such."""
    body = gzip.compress(b'{"a": 1}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)

    response = await transport.send(Request("GET", await start(saying(head + body))))

    assert response.body == b'{"a": 1}'


async def test_header_bytes_that_are_no_text(start: Start, transport: AiohttpTransport) -> None:
    """Header values can always be stored as text, whatever bytes a server sends."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nX-Odd: a\xff\xc3\xa9\r\nContent-Length: 0\r\n\r\n"))

    response = await transport.send(Request("GET", url))

    assert response.header("x-odd") == "a\ufffdé"


@pytest.mark.parametrize("name", ["does-not-exist.invalid"])
async def test_a_name_that_does_not_resolve(name: str, transport: AiohttpTransport) -> None:
    """A name that nobody knows is certain not to have got the request."""
    with pytest.raises(TransportError) as caught:
        await transport.send(Request("POST", f"http://{name}/", (), b"x"))

    assert (caught.value.fault, caught.value.sent) == ("dns", False)
    assert name in caught.value.message


@pytest.mark.parametrize("url", ["http://[::1", "ftp://example.test/", "http:///x", "/relative"])
async def test_what_is_no_url(url: str, transport: AiohttpTransport) -> None:
    """What cannot be called is a fault, not an exception of a library."""
    with pytest.raises(TransportError) as caught:
        await transport.send(Request("GET", url))

    assert caught.value.sent is False


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    where = ["-keyout", str(path), "-out", str(path.with_suffix(".crt")), "-days", "1", "-subj", "/CN=127.0.0.1"]
    try:
        subprocess.run([*command, *where], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl, which makes the certificate, is not installed")
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


async def test_an_untrusted_certificate(certificate: Path, start: Start, transport: AiohttpTransport) -> None:
    """A certificate that nobody vouches for ends the exchange before anything is sent."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    url = await start(saying(), tls=tls)

    with pytest.raises(TransportError) as caught:
        await transport.send(Request("POST", url, (), b"x"))

    assert (caught.value.fault, caught.value.sent) == ("tls", False)
    assert "is not trusted" in caught.value.message


async def test_https_to_a_server_that_speaks_http(start: Start, transport: AiohttpTransport) -> None:
    """The usual mistake with ports is named as what it probably is."""
    url = await start(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), until=b"\x03")  # in the first record of TLS

    with pytest.raises(TransportError) as caught:
        await transport.send(Request("GET", url.replace("http:", "https:")), timeout=5)

    assert (caught.value.fault, caught.value.sent) == ("tls", False)
    assert caught.value.hint == "does the server speak https there, and not http?"


# ---------------------------------------------------------------------------------------------------------------------
# Redirects
# ---------------------------------------------------------------------------------------------------------------------


def recording(heads: list[bytes], location: str = "") -> Serve:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        if location and b"/there" not in head:
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    return serve


CREDENTIALS = (
    ("Authorization", "Bearer secret"),
    ("X-API-Key", "secret"),
    ("Cookie", "a=secret"),
    ("Accept", "text/plain"),
)


async def test_credentials_stay_behind_at_another_origin(start: Start, transport: AiohttpTransport) -> None:
    """Across origins only harmless headers follow a redirect."""
    heads: list[bytes] = []
    other = await start(recording(heads))
    url = await start(recording([], f"{other}/there"))

    response = await transport.send(Request("GET", url, CREDENTIALS))

    assert (response.status, response.url) == (200, f"{other}/there")
    assert b"secret" not in heads[0]
    assert b"Accept: text/plain" in heads[0]


async def test_credentials_follow_within_an_origin(start: Start, transport: AiohttpTransport) -> None:
    """A redirect to another path of the same server keeps the headers."""
    heads: list[bytes] = []
    url = await start(recording(heads, "/there?x=%2F"))

    response = await transport.send(Request("GET", url, CREDENTIALS))

    assert response.url == f"{url}/there?x=%2F"
    assert b"Bearer secret" in heads[1]


async def test_a_post_is_not_redirected(start: Start, transport: AiohttpTransport) -> None:
    """A redirect of a POST is the answer: repeating it elsewhere is nothing that a document asked for."""
    url = await start(recording([], "/there"))

    response = await transport.send(Request("POST", url, (), b"x"))

    assert (response.status, response.header("location")) == (302, "/there")


async def test_hosts_can_be_limited(start: Start) -> None:
    """With a list of hosts no other is called, not even by a redirect."""
    url = await start(recording([], "http://elsewhere.test/there"))
    transport = AiohttpTransport(allowed_hosts=["127.0.0.1", "*.example.test"])

    with pytest.raises(CallError, match=r"the host elsewhere\.test is not among"):
        await transport.send(Request("GET", "http://elsewhere.test/"))
    with pytest.raises(TransportError, match="not allowed"):
        await transport.send(Request("GET", url))
    await transport.close()


# ---------------------------------------------------------------------------------------------------------------------
# Connections
# ---------------------------------------------------------------------------------------------------------------------


async def test_connections_are_used_again(transport: AiohttpTransport) -> None:
    """Polls do not open a connection each."""
    connections: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()
        await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(answer(reader, writer)))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(20):
            await transport.send(Request("POST", url, (), b"x"))
        await transport.close()
        await asyncio.gather(*connections)

    assert len(connections) == 1


async def test_a_large_body_is_sent(transport: AiohttpTransport) -> None:
    """A body of several megabytes goes out whole, with its length."""
    body = bytes(range(256)) * 12_000
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        response = await transport.send(Request("POST", url, (), body))

    assert (response.status, got[1]) == (204, body)
    assert b"content-length: %d\r\n" % len(body) in got[0].lower()


async def test_works_again_after_close(start: Start, transport: AiohttpTransport) -> None:
    """A transport that was closed opens new connections when it is used again."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    await transport.close()

    assert (await transport.send(Request("GET", url))).body == b"ok"
