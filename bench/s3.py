"""The S3 endpoint: small objects a second, and 200 MB in and out, beside moto's server and the plain file system.

Requests are as boto3 writes them (the body's SHA-256 signed, its CRC32 in a header), signed before the clock runs, and
sent by a client that does nothing else. The file system's figures are those of the least that a durable write is:
a temporary file, forced to the disk, renamed; and of a read of the same file. moto keeps objects in memory.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import os
import shutil
import socket
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

from bench.service import CONNECTIONS, moto, service
from treadle.aws.sigv4 import sign
from treadle.cli.client import Client
from treadle.home import Home
from treadle.seams import Request

SMALL = 4096
OBJECTS = 400
LARGE = 200 * 1000 * 1000
ROUNDS = 3
PIECE = 1 << 20


def wire(client: Client, method: str, path: str, body: bytes = b"") -> bytes:
    """Give a signed request as it goes over the wire, without its body."""
    headers: tuple[tuple[str, str], ...] = ()
    if method == "PUT" and body:
        headers = (("X-Amz-Checksum-CRC32", base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()),)
    request = Request(method, f"{client.url}{path}", headers, body)
    signed = sign(request, client.credentials, service="s3", region=client.region, now=dt.datetime.now(dt.UTC))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {urlsplit(client.url).netloc}"]
    lines += [f"{name}: {value}" for name, value in signed.headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n"


def rate(client: Client, requests: list[bytes]) -> float:
    """Give requests a second over a few connections; a server that closes them is asked over new ones."""
    begun = time.perf_counter()
    asyncio.run(_load(client.url, requests))
    return len(requests) / (time.perf_counter() - begun)


async def _load(url: str, requests: list[bytes]) -> None:
    address = urlsplit(url)
    waiting = iter(requests)

    async def one() -> None:
        reader = writer = None
        for request in waiting:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 200"), head
            await reader.readexactly(int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
            if b"connection: close" in head:
                writer.close()
                reader = writer = None
        if writer is not None:
            writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def seconds(work: Callable[[], object]) -> float:
    """Give how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def exchange(client: Client, head: bytes, body: bytes = b"") -> int:
    """Send a request and read its answer; give the number of bytes in it."""
    address = urlsplit(client.url)
    assert address.hostname
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall(head)
        connection.sendall(body)
        answer = connection.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        told, _, rest = answer.partition(b"\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200"), told
        length = int(told.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        buffer, got = bytearray(PIECE), len(rest)
        while got < length:
            got += connection.recv_into(buffer)
        return got


def served(client: Client) -> dict[str, float]:
    """Measure an endpoint."""
    exchange(client, wire(client, "PUT", "/bench"))
    small, large = os.urandom(SMALL), os.urandom(PIECE) * (LARGE // PIECE)
    paths = [f"/bench/small/{number % 10}/{number}" for number in range(OBJECTS)]
    puts, gets, heads, writes, reads = [], [], [], [], []
    for _ in range(ROUNDS):
        puts.append(rate(client, [wire(client, "PUT", path, small) + small for path in paths]))
        gets.append(rate(client, [wire(client, "GET", path) for path in paths]))
        heads.append(rate(client, [wire(client, "GET", "/bench?list-type=2&max-keys=1")] * OBJECTS))
        put, get = wire(client, "PUT", "/bench/large", large), wire(client, "GET", "/bench/large")
        writes.append(len(large) / seconds(lambda put=put: exchange(client, put, large)))  # type: ignore[misc]
        reads.append(len(large) / seconds(lambda get=get: exchange(client, get)))  # type: ignore[misc]
    return summary(puts, gets, writes, reads) | {"list_one_per_s": statistics.median(heads)}


def plain(directory: Path) -> dict[str, float]:
    """Measure the file system: what it does for the same objects at the least."""
    small, large = os.urandom(SMALL), os.urandom(PIECE) * (LARGE // PIECE)
    names = [directory / f"{number}" for number in range(OBJECTS)]
    puts, gets, writes, reads = [], [], [], []
    for _ in range(ROUNDS):
        puts.append(OBJECTS / seconds(lambda: write_all(names, small)))
        gets.append(OBJECTS / seconds(lambda: [name.read_bytes() for name in names]))
        pieces = [large[at : at + PIECE] for at in range(0, len(large), PIECE)]
        writes.append(len(large) / seconds(lambda pieces=pieces: write(directory / "large", pieces)))  # type: ignore[misc]
        reads.append(len(large) / seconds(lambda: read(directory / "large")))
    return summary(puts, gets, writes, reads)


def write(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file so that it is whole or absent, and there after a crash."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def write_all(paths: Iterable[Path], content: bytes) -> None:
    """Write many small files."""
    for path in paths:
        write(path, [content])


def read(path: Path) -> None:
    """Read a file through one buffer."""
    buffer = bytearray(PIECE)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def hashed() -> float:
    """Give how many bytes a second one core can hash for an upload: MD5 for the etag, SHA-256, CRC32."""
    data = os.urandom(PIECE)

    def work() -> None:
        for _ in range(64):
            hashlib.md5(data, usedforsecurity=False)
            hashlib.sha256(data)
            zlib.crc32(data)

    return 64 * len(data) / seconds(work)


def summary(puts: list[float], gets: list[float], writes: list[float], reads: list[float]) -> dict[str, float]:
    """Give the medians."""
    return {
        "small_put_per_s": statistics.median(puts),
        "small_get_per_s": statistics.median(gets),
        "large_put_mb_per_s": statistics.median(writes) / 1e6,
        "large_get_mb_per_s": statistics.median(reads) / 1e6,
    }


def measure() -> dict[str, dict[str, float] | None]:
    """Measure all three on the same disk."""
    directory = Path(tempfile.mkdtemp(prefix="treadle-bench-"))
    try:
        home = Home(directory / "home")
        home.prepare()
        with service(home) as client:
            figures: dict[str, dict[str, float] | None] = {"treadle": served(client)}
        (directory / "plain").mkdir()
        figures["files"] = plain(directory / "plain")
        with moto() as other:
            figures["moto"] = None if other is None else served(other)
        figures["core"] = {"hashed_mb_per_s": hashed() / 1e6}
        return figures
    finally:
        shutil.rmtree(directory)


def table(figures: dict[str, dict[str, float] | None]) -> list[str]:
    """Give the figures for people."""
    what = f"{SMALL} B objects over {CONNECTIONS} connections and {LARGE // 10**6} MB over one"
    lines = [
        f"S3, {what}, median of {ROUNDS} rounds",
        f"  {'':10}{'small put/s':>12}{'small get/s':>12}{'put MB/s':>10}{'get MB/s':>10}",
    ]
    for name in ("treadle", "moto", "files"):
        found = figures[name]
        if found is None:
            lines.append(f"  {name:10}not installed")
            continue
        lines.append(
            f"  {name:10}{found['small_put_per_s']:12.0f}{found['small_get_per_s']:12.0f}"
            f"{found['large_put_mb_per_s']:10.0f}{found['large_get_mb_per_s']:10.0f}"
        )
    core = figures["core"] or {}
    lines.append(f"  one core hashes {core['hashed_mb_per_s']:.0f} MB/s of a body (MD5, SHA-256 and CRC32)")
    return lines
