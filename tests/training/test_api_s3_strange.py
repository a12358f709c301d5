"""The S3 endpoint under attack and in distress: broken requests, slow clients, many at once, kill -9."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from tests.training.s3_world import KEY, Reply, World, as_bytes, process, raise_limit, read_reply, world
from tests.waiting import until

from treadle.errors import NoRoom, ServiceError
from treadle.objects.filesystem import FilesystemObjects
from treadle.objects.multipart import StagedUploads
from treadle.training.access import READ, WRITE, Grant, Identity
from treadle.training.api.s3 import Limits

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("s3") / "s3", limits=Limits(silence=0.4, object=MIB, xml=10_000)) as made:
        made.objects.create_bucket("data")
        yield made


def tree(root: Path) -> list[str]:
    return sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())


# ---------------------------------------------------------------------------------------------------------------------
# Requests that no client sends
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strange:
    description: str
    method: str
    path: str
    body: bytes
    status: int
    code: str


def parts(inner: str) -> bytes:
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


DELETE = "/data?delete"
BOMB = (
    b'<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>'
)
FILE = b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>'
STRANGE = [
    Strange("entities", "POST", DELETE, BOMB, 400, "MalformedXML"),
    Strange("a file as an entity", "POST", DELETE, FILE, 400, "MalformedXML"),
    Strange("an unknown entity", "POST", DELETE, b"<Delete><Object><Key>&x;</Key></Object></Delete>", 400, "MalformedXML"),
    Strange("no XML", "POST", DELETE, b"{}", 400, "MalformedXML"),
    Strange("half of XML", "POST", DELETE, b"<Delete><Object>", 400, "MalformedXML"),
    Strange("nothing", "POST", DELETE, b"", 400, "MalformedXML"),
    Strange("another document", "POST", DELETE, b"<Other/>", 400, "MalformedXML"),
    Strange("nobody to delete", "POST", DELETE, b"<Delete/>", 400, "MalformedXML"),
    Strange("an object without key", "POST", DELETE, b"<Delete><Object/></Delete>", 400, "MalformedXML"),
    Strange("many that are not there", "POST", DELETE, b"<Delete>" + b"<Object><Key>a</Key></Object>" * 300 + b"</Delete>", 200, ""),
    Strange("deep", "POST", DELETE, b"<Delete>" + b"<a>" * 1000 + b"</a>" * 1000 + b"</Delete>", 400, "MalformedXML"),
    Strange("another encoding", "POST", DELETE, b'<?xml version="1.0" encoding="utf-16"?><Delete/>', 400, "MalformedXML"),
    Strange("an encoding that is none", "POST", DELETE, b'<?xml version="1.0" encoding="x"?><Delete/>', 400, "MalformedXML"),
    Strange("a document that is too large", "POST", DELETE, b"<Delete>" + b" " * 10_000, 400, "MaxMessageLengthExceeded"),
    Strange("parts of no upload", "POST", "/data/a?uploadId=x", parts("<Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>"), 404, "NoSuchUpload"),
    Strange("no parts", "POST", "/data/a?uploadId=x", parts(""), 400, "MalformedXML"),
    Strange("a part without a number", "POST", "/data/a?uploadId=x", parts("<Part><ETag>a</ETag></Part>"), 400, "MalformedXML"),
    Strange("a part with a large number", "POST", "/data/a?uploadId=x", parts(f"<Part><PartNumber>{'9' * 5000}</PartNumber><ETag>a</ETag></Part>"), 400, "MalformedXML"),
    Strange("a location that is none", "PUT", "/other", b"<x", 400, "MalformedXML"),
    Strange("a body that is too large", "PUT", "/data/a", b"x" * (MIB + 1), 400, "EntityTooLarge"),
    Strange("a path that is no UTF-8", "GET", "/data/%ff", b"", 400, "InvalidURI"),
    Strange("a query that is no UTF-8", "GET", "/data?prefix=%ff", b"", 400, "InvalidURI"),
    Strange("many parameters", "GET", "/data?" + "&".join(f"a{number}=" for number in range(101)), b"", 400, "InvalidURI"),
    Strange("a part that is none", "GET", "/data/a?partNumber=x", b"", 404, "NoSuchKey"),
    Strange("up, as a key", "GET", "/data/../../../etc/passwd", b"", 404, "NoSuchKey"),
    Strange("up, encoded", "GET", "/data/%2e%2e/%2e%2e/%2e%2e/etc/passwd", b"", 404, "NoSuchKey"),
    Strange("up, as one segment", "GET", "/data/..%2f..%2f..%2fetc%2fpasswd", b"", 404, "NoSuchKey"),
    Strange("up, as a bucket", "GET", "/../etc/passwd", b"", 400, "InvalidBucketName"),
    Strange("up, as an encoded bucket", "GET", "/%2e%2e/etc", b"", 400, "InvalidBucketName"),
    Strange("our own directory as a bucket", "GET", "/.treadle/tmp", b"", 400, "InvalidBucketName"),
    Strange("NUL in a bucket", "PUT", "/da%00ta", b"", 400, "InvalidBucketName"),
]  # fmt: skip


@pytest.mark.parametrize("case", STRANGE, ids=[case.description for case in STRANGE])
def test_a_strange_request_gets_a_clean_error(s3: World, case: Strange, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever comes, the answer is an error in XML with a request id; nothing is written or logged as a fault."""
    before = tree(s3.objects.root)
    with caplog.at_level(logging.WARNING):
        reply = s3.ask(case.method, case.path, case.body)
    assert (reply.status, reply.code) == (case.status, case.code)
    if case.code:
        assert reply.headers["content-type"] == "application/xml"
        assert reply.told("RequestId") == reply.headers["x-amz-request-id"]
    assert b"root:" not in reply.body
    assert (tree(s3.objects.root), caplog.text) == (before, "")


def test_keys_stay_in_their_bucket(s3: World) -> None:
    """Keys that look like ways out are keys like any other; links that somebody put into a bucket lead nowhere."""
    outside = s3.objects.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (s3.objects.root / "data" / "way").symlink_to(outside)
    before = tree(s3.objects.root.parent)
    for key in ("../outside/new", "..%2foutside%2fnew", "/etc/cron.d/new", "a/../../../new", "%00/../new", "C:%5cnew"):
        assert s3.ask("PUT", f"/data/{key}", b"x").status == 200
        assert s3.ask("GET", f"/data/{key}").body == b"x"
        assert s3.ask("DELETE", f"/data/{key}").status == 204
    assert s3.ask("GET", "/data/way/secret").code == "NoSuchKey"
    assert s3.ask("PUT", "/data/way/new", b"x").status == 500
    assert tree(s3.objects.root.parent) == before
    (s3.objects.root / "data" / "way").unlink()


def test_a_huge_head_is_refused(s3: World) -> None:
    """Before anything else is done."""
    reply = s3.ask("GET", "/data", headers={"X-Long": "x" * 40_000})
    assert (reply.status, reply.code) == (400, "RequestHeaderSectionTooLarge")


def test_a_body_without_a_length_is_refused(s3: World) -> None:
    """S3 wants to know before how much will come."""
    request = s3.signed(
        "PUT", "/data/a", headers={"Transfer-Encoding": "chunked", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    )
    reply = s3.exchange(as_bytes(request) + b"1\r\nx\r\n0\r\n\r\n")
    assert (reply.status, reply.code) == (411, "MissingContentLength")


# ---------------------------------------------------------------------------------------------------------------------
# Connections
# ---------------------------------------------------------------------------------------------------------------------


def test_a_client_that_waits_to_be_told_is_not_left_waiting(s3: World) -> None:
    """A refusal comes instead of "100 Continue", and the connection is of no more use; else the body is asked for."""
    headers = {"Expect": "100-continue", "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    for path, secret, want in (("/data/a", "wrong", 403), ("/Data/a", "secret", 400)):
        reply = s3.exchange(as_bytes(s3.signed("PUT", path, headers=headers, secret=secret), length=1000))
        assert (reply.status, reply.headers["connection"]) == (want, "close")
    with socket.create_connection(s3.address, timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall(as_bytes(s3.signed("PUT", "/data/a", headers=headers), length=4))
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        stream.readline()
        connection.sendall(b"body")
        assert read_reply(stream).status == 200
    assert s3.ask("GET", "/data/a").body == b"body"
    s3.objects.delete("data", "a")


def test_a_connection_goes_on_after_a_refusal(s3: World) -> None:
    """What is left of a body that nobody wants is dropped, and the next request is answered."""
    with socket.create_connection(s3.address, timeout=10) as connection, connection.makefile("rb") as stream:
        for _ in range(3):
            connection.sendall(as_bytes(s3.signed("PUT", "/data/a", b"x" * 200_000, secret="wrong")))
            assert read_reply(stream).status == 403
            connection.sendall(as_bytes(s3.signed("PUT", "/data/a", b"x" * 300_000, {"Content-MD5": "x"})))
            assert read_reply(stream).status == 400
            connection.sendall(as_bytes(s3.signed("PUT", "/data/a", b"mine", {"X-Amz-Content-SHA256": "0" * 64})))
            assert read_reply(stream).code == "XAmzContentSHA256Mismatch"
            connection.sendall(as_bytes(s3.signed("GET", "/data/a")))
            assert read_reply(stream).status == 404


def test_a_client_that_breaks_off_leaves_nothing(s3: World, caplog: pytest.LogCaptureFixture) -> None:
    """Half a body is no object, of whatever size, and no reason to complain."""
    with caplog.at_level(logging.WARNING):
        for size in (10, MIB):
            request = s3.signed("PUT", "/data/broken", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
            with socket.create_connection(s3.address) as connection:
                connection.sendall(as_bytes(request, length=size) + b"x" * (size - 1))
            until(lambda: not s3.temporary())
        assert s3.ask("GET", "/data/broken").status == 404
    assert caplog.text == ""


def test_a_client_that_falls_silent_is_let_go(s3: World) -> None:
    """Who sends nothing for too long is told so, and what he sent is forgotten."""
    headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
    reply = s3.exchange(as_bytes(s3.signed("PUT", "/data/slow", headers=headers), length=MIB) + b"x" * 1000)
    assert (reply.status, reply.code, reply.headers["connection"]) == (400, "RequestTimeout", "close")
    assert s3.temporary() == []
    assert s3.ask("GET", "/data/slow").status == 404


def test_a_slow_client_is_served(s3: World) -> None:
    """Who sends a little all the time is waited for, and is in nobody's way."""
    body = b"0123456789"
    with socket.create_connection(s3.address, timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall(as_bytes(s3.signed("PUT", "/data/slow", body)).removesuffix(body))
        for byte in body:
            assert s3.ask("GET", "/data/slow").status == 404
            connection.sendall(bytes([byte]))
        assert read_reply(stream).status == 200
    assert s3.ask("GET", "/data/slow").body == body
    s3.objects.delete("data", "slow")


def test_a_client_that_takes_nothing_is_let_go(s3: World) -> None:
    """Who asks for much and does not read it does not keep it open for ever."""
    s3.objects.write("data", "large", (bytes(MIB) for _ in range(64)))
    with socket.create_connection(s3.address, timeout=20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(as_bytes(s3.signed("GET", "/data/large")))
        path = str(s3.objects.path("data", "large"))
        until(lambda: path in opened())
        until(lambda: path not in opened())
    s3.objects.delete("data", "large")


def opened() -> list[str]:
    """Give the files that this process has open; the server is one of its threads."""
    found = []
    for each in os.listdir("/proc/self/fd"):  # noqa: PTH208  (names come and go)
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return found


def test_nothing_stays_open(s3: World) -> None:
    """After answers of every kind no file of the objects is open."""
    s3.objects.write("data", "open", (bytes(MIB) for _ in range(3)))
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=9999999-"}, {"If-None-Match": "*"}, {"If-Match": "x"}):
        s3.ask("GET", "/data/open", headers=headers)
        s3.ask("HEAD", "/data/open", headers=headers)
    with socket.create_connection(s3.address) as connection:
        connection.sendall(as_bytes(s3.signed("GET", "/data/open")))
    until(lambda: not [each for each in opened() if each.startswith(str(s3.objects.root))])
    s3.objects.delete("data", "open")


# ---------------------------------------------------------------------------------------------------------------------
# Trouble behind the endpoint
# ---------------------------------------------------------------------------------------------------------------------


class FullObjects(FilesystemObjects):
    """Objects on a disk that is full."""

    def stage(self, bucket: str) -> NoReturn:
        raise NoRoom(f"There is no room left for {bucket}.")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """The client hears why, reading goes on, and no SDK tries again."""
    with world(tmp_path / "s3", objects=FullObjects(tmp_path / "s3")) as s3:
        FilesystemObjects(tmp_path / "s3").create_bucket("data")
        reply = s3.ask("PUT", "/data/a", b"x")
        assert (reply.status, reply.code) == (507, "InsufficientStorage")
        assert s3.ask("GET", "/data").status == 200


def test_what_is_allowed_is_allowed_and_nothing_else(tmp_path: Path) -> None:
    """The credentials of a job reach its data and its outputs, and tell nothing of the rest."""
    grants = (Grant(READ, "data", "in/"), Grant(WRITE, "data", "out/"))
    identity = Identity(KEY, "arn:aws:sts::000000000000:assumed-role/train/SageMaker", "user", grants)
    with world(tmp_path / "s3", identify=lambda _signed: identity) as s3:
        s3.objects.create_bucket("data")
        for key in ("in/a", "secret/a"):
            s3.objects.write("data", key, iter([b"x"]))
        delete = "<Delete><Object><Key>{}</Key></Object></Delete>"
        cases = [
            ("GET", "/data/in/a", b"", {}, True),
            ("HEAD", "/data/in/a", b"", {}, True),
            ("GET", "/data?list-type=2&prefix=in/", b"", {}, True),
            ("PUT", "/data/out/a", b"x", {}, True),
            ("PUT", "/data/out/b", b"", {"X-Amz-Copy-Source": "data/in/a"}, True),
            ("DELETE", "/data/out/b", b"", {}, True),
            ("POST", "/data?delete", delete.format("out/c").encode(), {}, True),
            ("GET", "/data/secret/a", b"", {}, False),
            ("GET", "/data/absent", b"", {}, False),
            ("PUT", "/data/in/a", b"y", {}, False),
            ("DELETE", "/data/in/a", b"", {}, False),
            ("PUT", "/data/out/b", b"", {"X-Amz-Copy-Source": "data/secret/a"}, False),
            ("GET", "/data?list-type=2", b"", {}, False),
            ("GET", "/data?prefix=secret/", b"", {}, False),
            ("GET", "/data?uploads", b"", {}, False),
            ("POST", "/data/secret/a?uploads", b"", {}, False),
            ("GET", "/", b"", {}, False),
            ("PUT", "/other", b"", {}, False),
            ("DELETE", "/data", b"", {}, False),
        ]
        for method, path, body, headers, allowed in cases:
            reply = s3.ask(method, path, body, headers)
            assert (reply.status < 300) == allowed, (method, path, reply)
            assert allowed or reply.status == 403
        assert b"<Code>AccessDenied<" in s3.ask("POST", "/data?delete", delete.format("in/a").encode()).body
        assert [each.key for each in s3.objects.list("data")] == ["in/a", "out/a", "secret/a"]


@pytest.mark.parametrize(
    ("code", "want"), [("ExpiredTokenException", "ExpiredToken"), ("UnrecognizedClientException", "InvalidToken")]
)
def test_session_tokens_are_refused_in_the_words_of_s3(tmp_path: Path, code: str, want: str) -> None:
    """A signature may hold, and the token that came with it not."""

    def identify(_signed: object) -> NoReturn:
        raise ServiceError(code, "", status=403)

    with world(tmp_path / "s3", identify=identify) as s3:
        reply = s3.ask("GET", "/")
        assert (reply.status, reply.code) == (400, want)


def test_metadata_gets_no_line_of_its_own(tmp_path: Path) -> None:
    """Control characters, which only a query can bring, are kept with no object."""
    with world(tmp_path / "s3", authenticate=False) as s3:
        s3.objects.create_bucket("data")
        reply = s3.ask("PUT", "/data/a?x-amz-meta-a=b%0d%0aX-Evil:%20yes", b"x")
        assert (reply.status, reply.code) == (400, "InvalidArgument")
        assert s3.ask("PUT", "/data/a?x-amz-meta-a=b", b"x").status == 200
        assert s3.ask("GET", "/data/a").headers["x-amz-meta-a"] == "b"


def test_many_write_and_read_one_object(s3: World) -> None:
    """Whoever reads while others write gets one object, whole, with its own etag and headers."""
    contents = [bytes([65 + number]) * (50_000 + number) for number in range(6)]
    replies: list[Reply] = []
    s3.ask("PUT", "/data/shared", contents[0], {"X-Amz-Meta-Size": str(len(contents[0]))})

    def write(content: bytes) -> None:
        for _ in range(5):
            assert s3.ask("PUT", "/data/shared", content, {"X-Amz-Meta-Size": str(len(content))}).status == 200

    def read() -> None:
        replies.extend(s3.ask("GET", "/data/shared") for _ in range(15))

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 30
    for reply in replies:
        assert reply.body in contents
        assert reply.headers["etag"] == f'"{hashlib.md5(reply.body).hexdigest()}"'
        assert reply.headers["x-amz-meta-size"] == str(len(reply.body))
    s3.objects.delete("data", "shared")


# ---------------------------------------------------------------------------------------------------------------------
# A process of its own
# ---------------------------------------------------------------------------------------------------------------------


def test_a_thousand_at_once(tmp_path: Path) -> None:
    """A thousand connections put a thousand objects at the same moment, and none is lost."""
    if not raise_limit(4096):
        pytest.skip("this process may not open that many files")
    with process(tmp_path / "s3") as (s3, _):
        s3.objects.create_bucket("data")
        requests = [
            as_bytes(s3.signed("PUT", f"/data/{number % 10}/{number}", str(number).encode())) for number in range(1000)
        ]

        async def put(request: bytes, everybody: asyncio.Barrier) -> bytes:
            reader, writer = await asyncio.open_connection(*s3.address)
            await everybody.wait()
            writer.write(request)
            status = await reader.readline()
            writer.close()
            return status

        async def put_all() -> list[bytes]:
            everybody = asyncio.Barrier(len(requests))
            return await asyncio.gather(*[put(request, everybody) for request in requests])

        assert asyncio.run(put_all()) == [b"HTTP/1.1 200 OK\r\n"] * 1000
        assert {b"".join(s3.objects.read("data", each.key)) for each in s3.objects.list("data")} == {
            str(number).encode() for number in range(1000)
        }


def test_large_objects_pass_through_little_memory(tmp_path: Path) -> None:
    """The server's memory does not grow with what goes in and out."""
    with process(tmp_path / "s3") as (s3, served):
        s3.objects.create_bucket("data")
        assert s3.ask("PUT", "/data/small", bytes(4 * MIB)).status == 200
        before = peak(served.pid)
        body = bytes(96 * MIB)
        assert s3.ask("PUT", "/data/large", body).status == 200
        assert s3.ask("GET", "/data/large").body == body
        assert peak(served.pid) - before < 24 * MIB


def peak(pid: int) -> int:
    """Give the most memory that a process has ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def test_killed_in_the_middle_of_a_put(tmp_path: Path) -> None:
    """What was there stays, what was coming is not there, and the next writer clears up."""
    with process(tmp_path / "s3") as (s3, served):
        s3.objects.create_bucket("data")
        assert s3.ask("PUT", "/data/a", b"old").status == 200
        request = as_bytes(s3.signed("PUT", "/data/a", bytes(8 * MIB)))
        with socket.create_connection(s3.address) as connection:
            connection.sendall(request[: 5 * MIB])
            until(lambda: [each for each in s3.temporary() if each.stat().st_size >= 2 * MIB])
            served.kill()
            served.wait()
    assert b"".join(s3.objects.read("data", "a")) == b"old"
    assert len(s3.temporary()) == 1
    with process(tmp_path / "s3") as (again, _):
        assert again.ask("GET", "/data/a").body == b"old"
        assert again.ask("PUT", "/data/b", b"new").status == 200
        assert again.temporary() == []


@pytest.mark.parametrize("reached", [1, 20 * MIB])
def test_killed_while_an_object_is_put_together(tmp_path: Path, reached: int) -> None:
    """The object is whole or absent; where it is absent the parts are still there, and the same request completes it."""
    part = os.urandom(MIB) * 8
    with process(tmp_path / "s3") as (s3, served):
        s3.objects.create_bucket("data")
        upload_id = s3.ask("POST", "/data/a?uploads", b"").told("UploadId")
        etags = [
            s3.ask("PUT", f"/data/a?partNumber={number}&uploadId={upload_id}", part).headers["etag"]
            for number in (1, 2, 3, 4)
        ]
        named = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in enumerate(etags, 1))  # fmt: skip
        with socket.create_connection(s3.address) as connection:
            connection.sendall(as_bytes(s3.signed("POST", f"/data/a?uploadId={upload_id}", parts(named))))
            until(lambda: grown(s3, reached) or [*s3.objects.list("data")])
            served.kill()
            served.wait()
    before = [each.size for each in s3.objects.list("data")]
    assert before in ([], [32 * MIB])
    with process(tmp_path / "s3") as (again, _):
        reply = again.ask("POST", f"/data/a?uploadId={upload_id}", parts(named))
        assert (reply.status, reply.told("Key")) == (200, "a")
        assert hashlib.md5(again.ask("GET", "/data/a").body).digest() == hashlib.md5(part * 4).digest()
        again.ask("PUT", "/data/b", b"")
        assert (again.temporary(), again.uploads.all("data")) == ([], [])


def grown(s3: World, size: int) -> bool:
    """Tell whether a temporary file of that size is there; one that goes meanwhile has been."""
    try:
        return any(each.stat().st_size >= size for each in s3.temporary())
    except FileNotFoundError:
        return True


def test_uploads_of_a_killed_server_go_on(tmp_path: Path) -> None:
    """`StagedUploads` of another process knows what was begun."""
    with process(tmp_path / "s3") as (s3, _):
        s3.objects.create_bucket("data")
        upload_id = s3.ask("POST", "/data/a?uploads", b"").told("UploadId")
    objects = FilesystemObjects(tmp_path / "s3")
    uploads = StagedUploads(objects, FilesystemObjects(tmp_path / "s3" / ".treadle" / "uploads"))
    assert [each.upload_id for each in uploads.all("data")] == [upload_id]
