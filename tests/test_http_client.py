"""The transport against servers that misbehave: whatever they do, one clear fault and no more than the limit."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, strategies

from tests.certificates import self_signed
from treadle.errors import TransportError, TransportFault
from treadle.http.client import HttpTransport
from treadle.seams import Request

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Listen = Callable[..., Awaitable[str]]
Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
Start = Callable[..., Awaitable[str]]


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Listen]:
    """Give a function that starts a server, which does on each connection what it is told; all end in the end."""
    async with AsyncExitStack() as stack:
        tasks: set[asyncio.Task[None]] = set()

        async def listen(talk: Talk, tls: ssl.SSLContext | None = None) -> str:
            async def talking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await talk(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass
                finally:
                    writer.close()
                    with contextlib.suppress(ConnectionError, ssl.SSLError):
                        await writer.wait_closed()

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.add(asyncio.create_task(talking(reader, writer)))

            server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
            stack.callback(server.close)
            return f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

        yield listen
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    async with listening() as made:
        yield made


@pytest.fixture
def start(listen: Listen) -> Start:
    """Give a function that starts a raw server: per connection it reads one head, then does what it is told."""

    async def started(serve: Serve, *, tls: ssl.SSLContext | None = None, until: bytes = b"\r\n\r\n") -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await serve(await reader.readuntil(until), writer)

        return await listen(talk, tls)

    return started


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport(max_body=100_000)
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
        "encodes as nobody asked for",
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nxx"),
        "protocol",
        sent=True,
        message="content-encoding",
    ),
    Fault(
        "contradicts itself about the length",
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        "protocol",
        sent=True,
        message="is not HTTP",
    ),
    Fault(
        "never ends its headers",
        saying(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 20_000),
        "protocol",
        sent=True,
        message="Too many headers",
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
async def test_faults(case: Fault, start: Start, transport: HttpTransport) -> None:
    """Every misbehaviour becomes one `TransportError`, whose message a person understands."""
    url = await start(case.serve)

    with pytest.raises(TransportError) as caught:
        await transport.send(Request("GET", f"{url}/x"), timeout=10)

    assert (caught.value.fault, caught.value.sent) == (case.fault, case.sent)
    assert case.message in caught.value.message


async def test_html_is_an_answer(start: Start, transport: HttpTransport) -> None:
    """A server that answers HTML answered: what it means is judged where the description is known."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"))

    response = await transport.send(Request("GET", url))

    assert (response.status, response.body) == (200, b"<html>")


async def test_compressed_answers_are_read(start: Start, transport: HttpTransport) -> None:
    """A compressed answer arrives decompressed, its size counted as such."""
    body = gzip.compress(b'{"a": 1}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)

    response = await transport.send(Request("GET", await start(saying(head + body))))

    assert response.body == b'{"a": 1}'


@dataclass
class Reply:
    description: str
    wire: bytes
    status: int
    body: bytes


def _raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def _coded(coding: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body


REPLIES = [
    Reply("a body with a length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    Reply("no reason phrase", b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", 404, b""),
    Reply("a status without a body", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    Reply(
        "chunks and a trailer",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\n, k\r\n0\r\nX-Sum: 1\r\n\r\n",
        200,
        b"ok, k",
    ),
    Reply("a body that ends with the connection", b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nall of it", 200, b"all of it"),
    Reply("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nall of it", 200, b"all of it"),
    Reply(
        "informational answers before",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\n"
        b"Content-Length: 2\r\n\r\nok",
        201,
        b"ok",
    ),
    Reply(
        "another protocol from here on",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nnoise",
        101,
        b"",
    ),
    Reply("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok"),
    Reply(
        "more than was asked for", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n", 200, b"ok"
    ),
    Reply("gzip", _coded(b"gzip", gzip.compress(b"ok")), 200, b"ok"),
    Reply("gzip of several members", _coded(b"gzip", gzip.compress(b"ok") + gzip.compress(b", k")), 200, b"ok, k"),
    Reply("deflate", _coded(b"deflate", zlib.compress(b"ok")), 200, b"ok"),
    Reply("deflate without its frame", _coded(b"deflate", _raw_deflate(b"ok")), 200, b"ok"),
    Reply("a coding that is none", _coded(b"utf-8", b"ok"), 200, b"ok"),
    Reply("a coding of nothing", _coded(b"gzip", b""), 200, b""),
]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.description)
async def test_answers(case: Reply, start: Start, transport: HttpTransport) -> None:
    """However an answer is framed and encoded, its body arrives as it was meant."""
    response = await transport.send(Request("POST", await start(saying(case.wire)), (), b""), timeout=10)

    assert (response.status, response.body) == (case.status, case.body)
    assert not [name for name, _ in response.headers if name in {"X-Sum", "Link"}]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case.description)
async def test_answers_in_pieces(case: Reply, start: Start, transport: HttpTransport) -> None:
    """It makes no difference in which pieces an answer comes."""

    async def dripping(_: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in case.wire:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)

    response = await transport.send(Request("GET", await start(dripping)), timeout=10)

    assert (response.status, response.body) == (case.status, case.body)


@given(strategies.binary(max_size=300), strategies.sampled_from(REPLIES), strategies.integers(0, 300))
def test_whatever_comes(noise: bytes, case: Reply, at: int) -> None:
    """Bytes that nobody expects end the exchange with an answer or a fault, never with another exception."""
    asyncio.run(_exchanged(case.wire[:at] + noise + case.wire[at:]))


async def _exchanged(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with listening() as listen:
        transport = HttpTransport(max_body=1000)
        with contextlib.suppress(TransportError):
            response = await transport.send(Request("GET", await listen(talk)), timeout=10)
            assert len(response.body) <= 1000
        await transport.close()


async def test_header_bytes_that_are_no_text(start: Start, transport: HttpTransport) -> None:
    """Header values can always be stored as text, whatever bytes a server sends."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nX-Odd: a\xff\xc3\xa9\r\nContent-Length: 0\r\n\r\n"))

    response = await transport.send(Request("GET", url))

    assert response.header("x-odd") == "a\ufffdé"


@pytest.mark.parametrize("name", ["does-not-exist.invalid"])
async def test_a_name_that_does_not_resolve(name: str, transport: HttpTransport) -> None:
    """A name that nobody knows is certain not to have got the request."""
    with pytest.raises(TransportError) as caught:
        await transport.send(Request("POST", f"http://{name}/", (), b"x"))

    assert (caught.value.fault, caught.value.sent) == ("dns", False)
    assert name in caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "ftp://example.test/",
        "http:///x",
        "/relative",
        "http://example.test:99999/",
        "http://example.test/a b",
        "http://example.test/\r\nX: y",
        "http://ex\u2100mple..test/",
        f"http://{'x' * 70}.test/",
    ],
)
async def test_what_is_no_url(url: str, transport: HttpTransport) -> None:
    """What cannot be called is a fault, not an exception of a library."""
    with pytest.raises(TransportError) as caught:
        await transport.send(Request("GET", url))

    assert caught.value.sent is False


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "/", (("X-One", "a\r\nX-Two: b"),)),
        Request("GET", "/", (("X-One", "a\nb"),)),
        Request("GET", "/", (("X-One", "a\0b"),)),
        Request("GET", "/", (("X-One: a\r\nX-Two", "b"),)),
        Request("GET / HTTP/1.1\r\n", "/"),
    ],
    ids=repr,
)
async def test_what_is_no_request(request_: Request, start: Start, transport: HttpTransport) -> None:
    """Nothing in a request can end a header or begin another request."""
    heads: list[bytes] = []
    url = await start(recording(heads))
    with pytest.raises(TransportError, match="cannot be sent") as caught:
        await transport.send(Request(request_.method, url + request_.url, request_.headers))

    assert (caught.value.fault, caught.value.sent) == ("protocol", False)
    assert heads == []


async def test_a_document_does_not_frame_requests(start: Start, transport: HttpTransport) -> None:
    """How long a body is, the transport says: two answers to that are how requests are smuggled."""
    heads: list[bytes] = []
    url = await start(recording(heads))
    own = (("accept", "text/plain"), ("Content-Length", "9"), ("transfer-encoding", "chunked"), ("User-Agent", "me"))

    await transport.send(Request("POST", url, own, b""))

    sent = [each for each in heads[0].decode().split("\r\n")[1:] if each and not each.startswith("Host")]
    assert sorted(sent) == [
        "Accept-Encoding: gzip, deflate",
        "Content-Length: 0",
        "User-Agent: me",
        "accept: text/plain",
    ]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = self_signed(tmp_path_factory.mktemp("tls"), "IP:127.0.0.1")
    both = made.key.with_name("both.pem")
    both.write_text(made.key.read_text() + made.certificate.read_text())
    return both


async def test_an_untrusted_certificate(certificate: Path, start: Start, transport: HttpTransport) -> None:
    """A certificate that nobody vouches for ends the exchange before anything is sent."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    url = await start(saying(), tls=tls)

    with pytest.raises(TransportError) as caught:
        await transport.send(Request("POST", url, (), b"x"))

    assert (caught.value.fault, caught.value.sent) == ("tls", False)
    assert "is not trusted" in caught.value.message


async def test_https_to_a_server_that_speaks_http(start: Start, transport: HttpTransport) -> None:
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


async def test_credentials_stay_behind_at_another_origin(start: Start, transport: HttpTransport) -> None:
    """Across origins only harmless headers follow a redirect."""
    heads: list[bytes] = []
    other = await start(recording(heads))
    url = await start(recording([], f"{other}/there"))

    response = await transport.send(Request("GET", url, CREDENTIALS))

    assert (response.status, response.url) == (200, f"{other}/there")
    assert b"secret" not in heads[0]
    assert b"Accept: text/plain" in heads[0]


async def test_credentials_follow_within_an_origin(start: Start, transport: HttpTransport) -> None:
    """A redirect to another path of the same server keeps the headers."""
    heads: list[bytes] = []
    url = await start(recording(heads, "/there?x=%2F"))

    response = await transport.send(Request("GET", url, CREDENTIALS))

    assert response.url == f"{url}/there?x=%2F"
    assert b"Bearer secret" in heads[1]


async def test_a_post_is_not_redirected(start: Start, transport: HttpTransport) -> None:
    """A redirect of a POST is the answer: repeating it elsewhere is nothing that a document asked for."""
    url = await start(recording([], "/there"))

    response = await transport.send(Request("POST", url, (), b"x"))

    assert (response.status, response.header("location")) == (302, "/there")


async def test_hosts_can_be_limited(start: Start) -> None:
    """With a list of hosts no other is called, not even by a redirect."""
    url = await start(recording([], "http://elsewhere.test/there"))
    transport = HttpTransport(allowed_hosts=["127.0.0.1", "*.example.test"])

    with pytest.raises(TransportError, match=r"the host elsewhere\.test is not among") as refused:
        await transport.send(Request("GET", "http://elsewhere.test/"))
    assert not refused.value.sent
    with pytest.raises(TransportError, match=r"redirected to elsewhere\.test, which is not among"):
        await transport.send(Request("GET", url))
    await transport.close()


# ---------------------------------------------------------------------------------------------------------------------
# Connections
# ---------------------------------------------------------------------------------------------------------------------


class Counting:
    """A server that answers so many requests on its first connections, then reads one more and closes."""

    def __init__(self, *answered: int) -> None:
        self.answered = list(answered)
        self.heads: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.answered.pop(0) if self.answered else 1000):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            body = b"" if self.heads[-1].startswith(b"HEAD") else b"ok"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))


async def test_connections_are_used_again(listen: Listen, transport: HttpTransport) -> None:
    """Polls do not open a connection each."""
    serve = Counting()
    url = await listen(serve)

    for _ in range(20):
        await transport.send(Request("POST", url))

    assert (serve.connections, len(serve.heads)) == (1, 20)


async def test_a_kept_connection_that_was_closed(listen: Listen, transport: HttpTransport) -> None:
    """What may be repeated goes out again on a new connection; of a POST nobody knows whether it arrived."""
    serve = Counting(1, 1)
    url = await listen(serve)

    for _ in range(2):
        assert (await transport.send(Request("GET", url))).body == b"ok"
    with pytest.raises(TransportError) as caught:
        await transport.send(Request("POST", url))

    assert (caught.value.fault, caught.value.sent) == ("reset", True)
    assert (serve.connections, len(serve.heads)) == (2, 4)


async def test_an_answer_to_head_has_no_body(listen: Listen, transport: HttpTransport) -> None:
    """The length in an answer to HEAD is that of a body that does not come; the connection serves on."""
    serve = Counting()
    url = await listen(serve)

    found = [await transport.send(Request(method, url)) for method in ("HEAD", "GET", "HEAD", "GET")]

    assert [each.body for each in found] == [b"", b"ok", b"", b"ok"]
    assert serve.connections == 1


async def test_what_comes_unasked_ends_the_connection(listen: Listen, transport: HttpTransport) -> None:
    """Bytes that belong to no request are never taken for the answer to the next one."""
    go, closed = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await reader.read()
        closed.set()

    url = await listen(talk)
    for _ in range(2):
        assert (await transport.send(Request("POST", url))).body == b"ok"
        go.set()
        await asyncio.wait_for(closed.wait(), 5)
        go.clear()
        closed.clear()


async def test_closing_ends_what_goes_on(start: Start, transport: HttpTransport) -> None:
    """A request that is out when the transport is closed ends as one whose outcome is not known."""
    arrived = asyncio.Event()

    async def hang(_: bytes, __: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    out = asyncio.create_task(transport.send(Request("POST", await start(hang), (), b"x")))
    await arrived.wait()
    await transport.close()

    with pytest.raises(TransportError) as caught:
        await out
    assert (caught.value.fault, caught.value.sent) == ("reset", True)


async def test_an_early_answer_to_a_large_body(start: Start, transport: HttpTransport) -> None:
    """A server may refuse before it has read everything: its answer counts, and the connection is not used again."""
    heads: list[bytes] = []

    async def refuse(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    url = await start(refuse)
    for _ in range(2):
        response = await transport.send(Request("POST", url, (), bytes(20_000_000)), timeout=10)
        assert (response.status, response.body) == (413, b"no")

    assert len(heads) == 2


async def test_a_large_body_is_sent(listen: Listen, transport: HttpTransport) -> None:
    """A body of several megabytes goes out whole, with its length."""
    body = bytes(range(256)) * 12_000
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        got.append(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    response = await transport.send(Request("POST", await listen(take), (), body))

    assert (response.status, got[1]) == (204, body)
    assert b"content-length: %d\r\n" % len(body) in got[0].lower()


async def test_works_again_after_close(start: Start, transport: HttpTransport) -> None:
    """A transport that was closed opens new connections when it is used again."""
    url = await start(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    await transport.close()

    assert (await transport.send(Request("GET", url))).body == b"ok"
