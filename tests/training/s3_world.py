"""An S3 endpoint for tests: served on loopback, with clients for it and raw requests."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.training.serving import serving

from treadle.aws.sigv4 import Credentials, sign
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.multipart import StagedUploads
from treadle.seams import Request
from treadle.training.api.app import build_app
from treadle.training.api.s3 import Limits, s3_app

KEY, SECRET, REGION, ACCOUNT = "AKIAEXAMPLE", "secret", "us-east-1", "000000000000"


@dataclass(frozen=True)
class World:
    """An endpoint and the objects behind it."""

    url: str
    objects: FilesystemObjects
    uploads: StagedUploads

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def client(self, *, style: str = "path", url: str = "", secret: str = SECRET, **config: Any) -> Any:
        settings = Config(retries={"max_attempts": 0}, s3={"addressing_style": style}, **config)
        return boto3.client(
            "s3",
            endpoint_url=url or self.url,
            config=settings,
            aws_access_key_id=KEY,
            aws_secret_access_key=secret,
            region_name=REGION,
        )

    def signed(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        secret: str = SECRET,
        region: str = REGION,
        now: datetime | None = None,
    ) -> Request:
        request = Request(method, f"{self.url}{path}", tuple((headers or {}).items()), body)
        return sign(request, Credentials(KEY, secret), service="s3", region=region, now=now or datetime.now(UTC))

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        """Send a signed request, and give the answer to it."""
        return self.exchange(as_bytes(self.signed(method, path, body, headers, **options)), method)

    def exchange(self, data: bytes, method: str = "GET") -> Reply:
        """Send bytes, and read one answer."""
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(data)
            with connection.makefile("rb") as stream:
                return read_reply(stream, method)

    def temporary(self) -> list[Path]:
        """Give the temporary files that are there."""
        return [
            path
            for root in (self.objects.root, self.objects.root / ".treadle" / "uploads")
            for path in (root / ".treadle" / "tmp").glob("*")
        ]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.told("Code")

    def told(self, name: str) -> str:
        """Give the text of an element."""
        return self.body.partition(f"<{name}>".encode())[2].partition(b"<")[0].decode()


def read_reply(stream: Any, method: str = "GET") -> Reply:
    first = stream.readline()
    if not first:
        raise ConnectionResetError
    status = int(first.split()[1])
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if method == "HEAD" or status in {204, 304}:
        return Reply(status, headers, b"")
    if headers.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(stream.readline(), 16):
            parts.append(stream.read(size))
            stream.readline()
        stream.readline()
        return Reply(status, headers, b"".join(parts))
    return Reply(status, headers, stream.read(int(headers.get("content-length", "0"))))


def as_bytes(request: Request, *, length: int | None = None) -> bytes:
    """Give a request as it goes over the wire."""
    _, _, rest = request.url.partition("://")
    host, slash, path = rest.partition("/")
    named = {name.lower() for name, _ in request.headers}
    lines = [f"{request.method} {slash}{path} HTTP/1.1"]
    if "host" not in named:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in request.headers]
    if "content-length" not in named and "transfer-encoding" not in named:
        lines.append(f"Content-Length: {len(request.body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body


@contextmanager
def world(root: Path, **options: Any) -> Iterator[World]:
    """Serve S3 from a directory."""
    objects = options.pop("objects", None) or FilesystemObjects(root)
    uploads = StagedUploads(objects, FilesystemObjects(root / ".treadle" / "uploads"))
    settings: dict[str, Any] = {"region": REGION, "account": ACCOUNT, "limits": Limits(silence=5)} | options
    s3 = s3_app(objects, uploads, secret_for={KEY: SECRET}.get, **settings)
    app = build_app([], secret_for={KEY: SECRET}.get, region=settings["region"], account=ACCOUNT, s3=s3)
    with serving(app) as url:
        yield World(url, objects, uploads)


@contextmanager
def process(root: Path) -> Iterator[tuple[World, subprocess.Popen[bytes]]]:
    """Serve S3 from a directory in a process of its own, which a test may kill."""
    command = [sys.executable, "-m", "tests.training.s3_world", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as served:
        try:
            assert served.stdout
            url = served.stdout.readline().decode().strip()
            objects = FilesystemObjects(root)
            yield World(url, objects, StagedUploads(objects, FilesystemObjects(root / ".treadle" / "uploads"))), served
        finally:
            served.kill()


def raise_limit(wanted: int) -> bool:
    """Let this process open so many files; False where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return False
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def main() -> None:
    raise_limit(4096)
    with world(Path(sys.argv[1]), limits=Limits(silence=30, part=1)) as made:
        print(made.url, flush=True)  # noqa: T201  (whoever started us waits for it)
        threading.Event().wait()


if __name__ == "__main__":
    main()
