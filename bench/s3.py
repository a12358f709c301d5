"""The S3 endpoint: small objects a second, and 200 MB in and out, beside moto's server and the plain file system.

Requests are as boto3 writes them (the body's SHA-256 signed, its CRC32 in a header), signed before the clock runs, and
sent by a client that does nothing else. The file system's figures are those of the least that a durable write is:
a temporary file, forced to the disk, renamed; and of a read of the same file; as many at a time as there are
connections. moto keeps objects in memory.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.servers import NOT_INSTALLED, Server, moto, treadle
from bench.wire import CONNECTIONS, load, wire
from treadle.cli.client import Client
from treadle.home import Home

SMALL = 4096
OBJECTS = 400
LARGE = 200 * 1000 * 1000
ROUNDS = 3
PIECE = 1 << 20


class Figures(NamedTuple):
    """What one round gave: objects a second, and MB a second."""

    small_put_per_s: float
    small_get_per_s: float
    large_put_mb_per_s: float
    large_get_mb_per_s: float


WHAT = Figures._fields


def signed(client: Client, method: str, path: str, body: bytes = b"") -> bytes:
    """Give a signed request as boto3 writes it, without its body."""
    headers: tuple[tuple[str, str], ...] = ()
    if method == "PUT" and body:
        headers = (("X-Amz-Checksum-CRC32", base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()),)
    return wire(client, method, path, headers, body, service="s3")


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


class Endpoint:
    """An S3 endpoint, or moto's."""

    def __init__(self, server: Server) -> None:
        self.server = server
        exchange(server.client, signed(server.client, "PUT", "/bench"))

    def round(self, paths: list[str], small: bytes, large: bytes) -> Figures:
        """Put and get all of it once."""
        client = self.server.client
        put = load(self.server, [signed(client, "PUT", f"/bench{path}", small) + small for path in paths])
        get = load(self.server, [signed(client, "GET", f"/bench{path}") for path in paths])
        head = signed(client, "PUT", "/bench/large", large)
        write_s = seconds(lambda: exchange(client, head, large))
        read_s = seconds(lambda: exchange(client, signed(client, "GET", "/bench/large")))
        return Figures(put.per_s, get.per_s, len(large) / write_s / 1e6, len(large) / read_s / 1e6)


class Files:
    """The file system: what it does for the same objects at the least."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def round(self, paths: list[str], small: bytes, large: bytes) -> Figures:
        """Write and read all of it once."""
        names = [self.directory / path.replace("/", "-") for path in paths]
        pieces = [large[at : at + PIECE] for at in range(0, len(large), PIECE)]
        put_s = seconds(lambda: at_once(lambda name: write(name, [small]), names))
        get_s = seconds(lambda: at_once(Path.read_bytes, names))
        write_s = seconds(lambda: write(self.directory / "large", pieces))
        read_s = seconds(lambda: read(self.directory / "large"))
        return Figures(len(names) / put_s, len(names) / get_s, len(large) / write_s / 1e6, len(large) / read_s / 1e6)


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


def at_once(work: Callable[[Path], object], paths: Iterable[Path]) -> None:
    """Do something with many small files."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(work, paths):
            pass


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


def measure() -> dict[str, dict[str, float]]:
    """Measure all three on the same disk, in turns; give medians."""
    small, large = os.urandom(SMALL), os.urandom(PIECE) * (LARGE // PIECE)
    paths = [f"/small/{number % 10}/{number}" for number in range(OBJECTS)]
    directory = Path(tempfile.mkdtemp(prefix="treadle-bench-"))
    try:
        home = Home(directory / "home")
        home.prepare()
        (directory / "plain").mkdir()
        with treadle(home) as ours, moto() as other:
            measured: dict[str, Endpoint | Files] = {
                "treadle": Endpoint(ours),
                "files": Files(directory / "plain"),
            }
            if other is not None:
                measured["moto"] = Endpoint(other)
            rounds = [{name: each.round(paths, small, large) for name, each in measured.items()} for _ in range(ROUNDS)]
        figures = {
            name: {what: statistics.median(getattr(each[name], what) for each in rounds) for what in WHAT}
            for name in measured
        }
        return figures | {"core": {"hashed_mb_per_s": hashed() / 1e6}}
    finally:
        shutil.rmtree(directory)


def table(figures: dict[str, dict[str, float]]) -> list[str]:
    """Give the figures for people."""
    what = f"{SMALL} B objects over {CONNECTIONS} connections and {LARGE // 10**6} MB over one"
    lines = [
        f"S3, {what}, median of {ROUNDS} rounds",
        f"  {'':10}{'small put/s':>12}{'small get/s':>12}{'put MB/s':>10}{'get MB/s':>10}",
    ]
    for name in ("treadle", "moto", "files"):
        if name not in figures:
            lines.append(f"  {name:10}{NOT_INSTALLED}")
            continue
        put, get, into, out = (figures[name][each] for each in WHAT)
        lines.append(f"  {name:10}{put:12.0f}{get:12.0f}{into:10.0f}{out:10.0f}")
    if "moto" in figures:
        ratios = [figures["treadle"][each] / figures["moto"][each] for each in WHAT]
        lines.append("  {:10}{:12.1f}{:12.1f}{:10.1f}{:10.1f}".format("× moto", *ratios))
    lines.append(f"  one core hashes {figures['core']['hashed_mb_per_s']:.0f} MB/s of a body (MD5, SHA-256 and CRC32)")
    return lines
