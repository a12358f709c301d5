"""Signed requests as bytes, and a client that does nothing but send them and read the answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bench.servers import Server, cpu_seconds
from treadle.aws.sigv4 import sign
from treadle.cli.client import Client
from treadle.seams import Request

CONNECTIONS = 8


def wire(
    client: Client, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", *, service: str
) -> bytes:
    """Give a signed request as it goes over the wire, without its body."""
    request = Request(method, f"{client.url}{path}", tuple(headers), body)
    signed = sign(request, client.credentials, service=service, region=client.region, now=dt.datetime.now(dt.UTC))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(client.url).netloc}"]
    lines += [f"{name}: {value}" for name, value in signed.headers if name.lower() != "host"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n"


def called(client: Client, operation: str, payload: object) -> bytes:
    """Give a signed request of the SageMaker API."""
    headers = (("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", f"SageMaker.{operation}"))
    body = json.dumps(payload).encode()
    return wire(client, "POST", "/", headers, body, service="sagemaker") + body


@dataclass(frozen=True, slots=True)
class Load:
    """What it took to send requests: requests a second, each one's seconds, sorted, and the server's CPU for one."""

    per_s: float
    seconds: list[float]
    cpu_ms: float


def load(server: Server, requests: Sequence[bytes], connections: int = CONNECTIONS) -> Load:
    """Send all requests over so many connections; a server that closes them is asked over new ones."""
    times: list[float] = []
    used, begun = cpu_seconds(server.pid), time.perf_counter()
    # The client shares the machine with the server: the less it takes, the more of what is measured is the server's.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_load(server.client.url, requests, times, connections))
    lasted, used = time.perf_counter() - begun, cpu_seconds(server.pid) - used
    return Load(len(requests) / lasted, sorted(times), used / len(requests) * 1000)


async def _load(url: str, requests: Sequence[bytes], times: list[float], connections: int) -> None:
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    waiting = iter(requests)

    async def one() -> None:
        while True:
            talk = _Talk(waiting, times)
            await asyncio.get_running_loop().create_connection(lambda: talk, host, port)  # noqa: B023  (awaited here)
            if await talk.over:
                return

    await asyncio.gather(*(one() for _ in range(connections)))


class _Talk(asyncio.Protocol):
    """A connection that sends one request after the other; `over` is whether that was because there are no more."""

    def __init__(self, requests: Iterator[bytes], times: list[float]) -> None:
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._times = times
        self._answer = bytearray()
        self._length = -1

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._end(no_more=True)
            return
        self._begun = time.perf_counter()
        self._transport.write(request)

    def _end(self, *, no_more: bool) -> None:
        self._transport.close()
        if not self.over.done():
            self.over.set_result(no_more)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._length < 0 and (end := self._answer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._answer[:end]).lower()
            assert head.startswith((b"http/1.1 200", b"http/1.0 200")), head
            self._length = end + 4 + int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            self._closing = b"connection: close" in head
        if len(self._answer) >= self._length >= 0:
            self._times.append(time.perf_counter() - self._begun)
            self._answer.clear()
            self._length = -1
            if self._closing:
                self._end(no_more=False)
            else:
                self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self.over.set_exception(exc or ConnectionError("the server closed the connection before it answered"))


def medians(loads: Sequence[Load]) -> dict[str, float]:
    """Give the figures of the round whose rate is the middle one."""
    middle = sorted(loads, key=lambda each: each.per_s)[len(loads) // 2]
    return {
        "per_s": middle.per_s,
        "p50_ms": statistics.median(middle.seconds) * 1000,
        "p99_ms": middle.seconds[len(middle.seconds) * 99 // 100] * 1000,
        "cpu_ms": statistics.median(each.cpu_ms for each in loads),
    }
