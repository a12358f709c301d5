"""What every `Transport` promises: against a real server on loopback, and against a script that does the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from treadle.errors import TransportError
from treadle.http import ScriptedTransport
from treadle.http.client import HttpTransport
from treadle.seams import Request, Response, Transport

Seen = list[Request]
Handler = Callable[[Request], Awaitable[Response | None]]


@dataclass
class Peer:
    """A transport and where its other side listens. `seen` are the requests as they came there."""

    transport: Transport
    url: str
    seen: Seen
    hangs: asyncio.Event


async def handle(request: Request, hangs: asyncio.Event) -> Response | None:
    """Behave as the path says; None breaks the connection."""
    path = request.url.split("/", 3)[3] if "://" in request.url else request.url[1:]
    if path.startswith("reset"):
        return None
    if path.startswith("hang"):
        hangs.set()
        await asyncio.Event().wait()
    if path.startswith("missing"):
        return Response(404, (("Content-Type", "text/plain"),), b"nothing here")
    return Response(200, (("X-One", "a"), ("X-One", "b"), ("Content-Type", "application/json")), request.body or b"{}")


async def read_request(reader: asyncio.StreamReader) -> Request:
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, url, _ = line.split(" ")
    headers = tuple((name, value.strip()) for name, _, value in (field.partition(":") for field in fields if field))
    length = int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
    return Request(method, url, headers, await reader.readexactly(length))


@pytest.fixture(params=["http", "scripted"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    async with AsyncExitStack() as stack:
        made = await (over_loopback(stack) if request.param == "http" else by_script())
        stack.push_async_callback(made.transport.close)
        yield made


async def over_loopback(stack: AsyncExitStack) -> Peer:
    seen: Seen = []
    hangs = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await read_request(reader)
                seen.append(request)
                response = await handle(request, hangs)
                if response is None:
                    return
                fields = [*response.headers, ("Content-Length", str(len(response.body)))]
                head = "".join(f"{name}: {value}\r\n" for name, value in fields)
                writer.write(f"HTTP/1.1 {response.status} .\r\n{head}\r\n".encode() + response.body)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.transport.abort()

    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)

    async def stop() -> None:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is let go of in the loop's next round

    stack.push_async_callback(stop)
    return Peer(HttpTransport(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen, hangs)


async def by_script() -> Peer:
    hangs = asyncio.Event()

    def reset(request: Request) -> TransportError:
        return TransportError("reset", "closed without an answer", sent=True, url=request.url)

    async def answer(request: Request) -> Response | TransportError:
        return await handle(request, hangs) or reset(request)

    transport = ScriptedTransport(answer)
    return Peer(transport, "http://127.0.0.1:1234", transport.requests, hangs)


async def test_gives_status_headers_in_order_body_and_url(peer: Peer) -> None:
    """A response is given as it came, repeated headers included, with the URL that answered."""
    response = await peer.transport.send(Request("GET", f"{peer.url}/thing?a=1"))

    assert response.status == 200
    assert response.body == b"{}"
    assert response.url == f"{peer.url}/thing?a=1"
    assert [value for name, value in response.headers if name.lower() == "x-one"] == ["a", "b"]
    assert response.header("content-TYPE") == "application/json"


async def test_headers_are_plain_texts(peer: Peer) -> None:
    """Names and values are texts and nothing more: a retry that runs another step first stores them with the run."""
    response = await peer.transport.send(Request("GET", f"{peer.url}/thing"))

    assert {type(text) for header in response.headers for text in header} == {str}


async def test_an_error_status_is_an_answer(peer: Peer) -> None:
    """Whatever the status, an answer that was read to its end is no fault."""
    response = await peer.transport.send(Request("GET", f"{peer.url}/missing"))

    assert (response.status, response.body) == (404, b"nothing here")


async def test_sends_the_request_as_it_is(peer: Peer) -> None:
    """Method, path, query, headers and body arrive as they were given: what was signed is what is sent."""
    url = f"{peer.url}/a%2Fb/%7Bx%7D;v=1?q=%20%2B&r=a,b&%5B%5D"
    body = bytes(range(256))

    await peer.transport.send(Request("POST", url, (("X-Amz-Target", "S.Op"), ("X-Two", "1")), body))

    (seen,) = peer.seen
    assert seen.method == "POST"
    assert seen.url.endswith("/a%2Fb/%7Bx%7D;v=1?q=%20%2B&r=a,b&%5B%5D")
    assert seen.body == body
    assert (seen.header("x-amz-target"), seen.header("x-two")) == ("S.Op", "1")
    assert seen.header("content-type") is None


async def test_serves_many_at_once(peer: Peer) -> None:
    """One transport carries many requests at the same time, and each gets its own answer."""
    bodies = [str(number).encode() for number in range(50)]

    responses = await asyncio.gather(
        *(peer.transport.send(Request("PUT", f"{peer.url}/x", (), body)) for body in bodies)
    )

    assert [response.body for response in responses] == bodies


async def test_a_broken_connection_may_have_delivered(peer: Peer) -> None:
    """When the connection breaks without an answer nobody knows whether the request arrived: `sent` holds."""
    with pytest.raises(TransportError) as caught:
        await peer.transport.send(Request("POST", f"{peer.url}/reset", (), b"x"))

    assert (caught.value.fault, caught.value.sent) == ("reset", True)
    assert caught.value.url == f"{peer.url}/reset"


async def test_no_answer_in_time(peer: Peer) -> None:
    """`timeout` bounds the whole exchange; the request may have arrived."""
    with pytest.raises(TransportError) as caught:
        await peer.transport.send(Request("POST", f"{peer.url}/hang", (), b"x"), timeout=0.1)

    assert (caught.value.fault, caught.value.sent) == ("timeout", True)
    assert "0.1 s" in caught.value.message


async def test_cancelling_stays_cancelling(peer: Peer) -> None:
    """A task that is cancelled while it waits for an answer ends as cancelled, not with a fault."""
    task = asyncio.create_task(peer.transport.send(Request("GET", f"{peer.url}/hang")))
    await peer.hangs.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_close_is_idempotent(peer: Peer) -> None:
    """Closing twice, or without ever having sent, does no harm."""
    await peer.transport.close()
    await peer.transport.close()


async def test_nothing_listens() -> None:
    """A refused connection is certain not to have delivered, and says which address it was."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening
        port = taken.getsockname()[1]
        transport = HttpTransport()
        with pytest.raises(TransportError) as caught:
            await transport.send(Request("POST", f"http://127.0.0.1:{port}/", (), b"x"))
        await transport.close()

    assert (caught.value.fault, caught.value.sent) == ("refused", False)
    assert caught.value.message == f"nothing listens on 127.0.0.1:{port} (connection refused)"
