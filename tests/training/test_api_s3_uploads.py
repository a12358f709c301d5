"""Uploads in parts, checksums and encoded bodies, as boto3 and other SDKs send them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from tests.aws.test_chunked import encoded
from tests.training.s3_world import KEY, REGION, SECRET, World, as_bytes, world

from treadle.aws.checksums import ALGORITHMS, checksum, value
from treadle.aws.chunked import ChunkSigner
from treadle.aws.sigv4 import Scope, signing_key
from treadle.training.api.s3 import Limits

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("s3") / "s3", limits=Limits(silence=5, part=10)) as made:
        made.objects.create_bucket("data")
        yield made


@pytest.fixture(scope="module")
def client(s3: World) -> Any:
    return s3.client()


def refused(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


def summed(algorithm: str, data: bytes) -> str:
    found = checksum(algorithm)
    found.update(data)
    return value(found.digest())


# ---------------------------------------------------------------------------------------------------------------------
# Uploads
# ---------------------------------------------------------------------------------------------------------------------


def test_a_large_file_goes_in_parts_and_comes_in_ranges(s3: World, tmp_path: Path) -> None:
    """`upload_file` and `download_file` of 64 MiB: the etag is AWS's of eight parts, and the file is the same."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(MIB) * 64)
    client = s3.client()
    client.upload_file(str(source), "data", "large", ExtraArgs={"Metadata": {"a": "b"}, "ContentType": "text/csv"})
    client.download_file("data", "large", str(target))
    assert source.read_bytes() == target.read_bytes()
    found = client.head_object(Bucket="data", Key="large")
    digests = [hashlib.md5(source.read_bytes()[at : at + 8 * MIB]).digest() for at in range(0, 64 * MIB, 8 * MIB)]
    assert found["ETag"] == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-8"'
    assert (found["Metadata"], found["ContentType"], found["ContentLength"]) == ({"a": "b"}, "text/csv", 64 * MIB)
    part = client.get_object(Bucket="data", Key="large", PartNumber=8)
    assert (part["PartsCount"], part["ContentLength"], part["ContentRange"]) == (
        8,
        8 * MIB,
        f"bytes {56 * MIB}-{64 * MIB - 1}/{64 * MIB}",
    )
    assert part["Body"].read() == source.read_bytes()[56 * MIB :]
    with pytest.raises(ClientError) as caught:
        client.head_object(Bucket="data", Key="large", PartNumber=9)
    assert refused(caught)[1] == 416
    client.copy({"Bucket": "data", "Key": "large"}, "data", "copy", Config=TransferConfig(multipart_threshold=8 * MIB))
    assert client.head_object(Bucket="data", Key="copy")["ETag"].endswith('-8"')
    copied = client.copy_object(Bucket="data", Key="whole", CopySource="data/large")["CopyObjectResult"]
    assert copied["ETag"] == f'"{hashlib.md5(source.read_bytes()).hexdigest()}"'
    assert s3.uploads.all("data") == []
    for key in ("large", "copy", "whole"):
        client.delete_object(Bucket="data", Key=key)


def begin(client: Any, key: str = "a", **options: Any) -> str:
    upload_id: str = client.create_multipart_upload(Bucket="data", Key=key, **options)["UploadId"]
    return upload_id


def send(client: Any, upload_id: str, number: int, data: bytes, **options: Any) -> dict[str, Any]:
    sent = client.upload_part(Bucket="data", Key="a", UploadId=upload_id, PartNumber=number, Body=data, **options)
    return {"PartNumber": number, "ETag": sent["ETag"]}


def end(client: Any, upload_id: str, parts: list[dict[str, Any]], **options: Any) -> Any:
    return client.complete_multipart_upload(
        Bucket="data", Key="a", UploadId=upload_id, MultipartUpload={"Parts": parts}, **options
    )


def test_an_upload_step_by_step(s3: World, client: Any) -> None:
    """Parts are listed page by page, replaced, and put together once; asked again, the answer is the same."""
    upload_id = begin(client, ContentType="text/csv", Metadata={"a": "b"})
    for number, data in ((2, b"second part"), (1, b"old"), (1, b"first part"), (3, b"3")):
        send(client, upload_id, number, data)
    with pytest.raises(ClientError):
        client.get_object(Bucket="data", Key="a")
    pages = list(
        client.get_paginator("list_parts").paginate(
            Bucket="data", Key="a", UploadId=upload_id, PaginationConfig={"PageSize": 2}
        )
    )
    listed = [(each["PartNumber"], each["Size"]) for page in pages for each in page["Parts"]]
    assert listed == [(1, 10), (2, 11), (3, 1)]
    assert pages[0]["Initiator"]["ID"] == pages[0]["Owner"]["ID"]
    parts = [{"PartNumber": each["PartNumber"], "ETag": each["ETag"]} for page in pages for each in page["Parts"]]
    done = [end(client, upload_id, parts) for _ in range(2)]
    assert done[0]["ETag"] == done[1]["ETag"]
    assert done[0]["ETag"].endswith('-3"')
    assert done[0]["Location"] == f"{s3.url}/data/a"
    found = client.get_object(Bucket="data", Key="a")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
        b"first partsecond part3",
        "text/csv",
        {"a": "b"},
    )
    client.put_object(Bucket="data", Key="a", Body=b"another")
    with pytest.raises(client.exceptions.NoSuchUpload):
        end(client, upload_id, parts)
    client.delete_object(Bucket="data", Key="a")


def test_ends_that_are_refused(client: Any) -> None:
    """Parts must be there, be the ones that were sent, be in order and be large enough; the upload stays as it was."""
    upload_id = begin(client)
    parts = [send(client, upload_id, number, b"x" * size) for number, size in ((1, 10), (2, 9), (3, 10))]
    wrong = [
        ([parts[0], {"PartNumber": 9, "ETag": parts[0]["ETag"]}], "InvalidPart"),
        ([{"PartNumber": 1, "ETag": parts[1]["ETag"]}], "InvalidPart"),
        ([parts[2], parts[0]], "InvalidPartOrder"),
        ([parts[0], parts[0]], "InvalidPartOrder"),
        (parts, "EntityTooSmall"),
    ]
    for named, code in wrong:
        with pytest.raises(ClientError) as caught:
            end(client, upload_id, named)
        assert refused(caught) == (code, 400)
    with pytest.raises(ClientError) as caught:
        end(client, upload_id, [parts[0]], MpuObjectSize=11)
    assert refused(caught) == ("InvalidRequest", 400)
    client.put_object(Bucket="data", Key="a", Body=b"old")
    with pytest.raises(ClientError) as caught:
        end(client, upload_id, [parts[0]], IfNoneMatch="*")
    assert refused(caught) == ("PreconditionFailed", 412)
    assert client.get_object(Bucket="data", Key="a")["Body"].read() == b"old"
    end(client, upload_id, [parts[0], parts[2]], MpuObjectSize=20)
    client.delete_object(Bucket="data", Key="a")


def test_uploads_that_are_not_there(client: Any) -> None:
    """An upload that was aborted, or never was, takes nothing."""
    upload_id = begin(client)
    send(client, upload_id, 1, b"x")
    client.abort_multipart_upload(Bucket="data", Key="a", UploadId=upload_id)
    for missing in (upload_id, "0" * 48, "../../x"):
        for call in (
            lambda missing=missing: send(client, missing, 1, b"x"),
            lambda missing=missing: end(client, missing, [{"PartNumber": 1, "ETag": "x"}]),
            lambda missing=missing: client.list_parts(Bucket="data", Key="a", UploadId=missing),
            lambda missing=missing: client.abort_multipart_upload(Bucket="data", Key="a", UploadId=missing),
        ):
            with pytest.raises(ClientError) as caught:
                call()
            assert refused(caught) == ("NoSuchUpload", 404)
    other = begin(client)
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.list_parts(Bucket="data", Key="b", UploadId=other)
    for number in (0, 10_001):
        with pytest.raises(ClientError) as caught:
            send(client, other, number, b"x")
        assert refused(caught) == ("InvalidArgument", 400)
    client.abort_multipart_upload(Bucket="data", Key="a", UploadId=other)


def test_uploads_are_listed(client: Any) -> None:
    """By key and age, page by page, with prefixes rolled up."""
    begun = [(key, begin(client, key)) for key in ("b/1", "a", "b/2", "a", "c")]
    want = sorted(begun, key=lambda each: each[0])
    pages = client.get_paginator("list_multipart_uploads").paginate(Bucket="data", PaginationConfig={"PageSize": 2})
    listed = [(each["Key"], each["UploadId"]) for page in pages for each in page["Uploads"]]
    assert listed == want
    found = client.list_multipart_uploads(Bucket="data", Delimiter="/", Prefix="")
    assert ([each["Key"] for each in found["Uploads"]], found["CommonPrefixes"]) == (
        ["a", "a", "c"],
        [{"Prefix": "b/"}],
    )
    assert [each["Key"] for each in client.list_multipart_uploads(Bucket="data", Prefix="b/")["Uploads"]] == [
        "b/1",
        "b/2",
    ]
    for key, upload_id in begun:
        client.abort_multipart_upload(Bucket="data", Key=key, UploadId=upload_id)
    assert "Uploads" not in client.list_multipart_uploads(Bucket="data")


def test_parts_are_copied(client: Any) -> None:
    """A part may be bytes of an object, all of them or a range."""
    client.put_object(Bucket="data", Key="source", Body=b"0123456789abcdef")
    upload_id = begin(client, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    target = {"Bucket": "data", "Key": "a", "UploadId": upload_id, "CopySource": "data/source"}
    parts = []
    for number, options in ((1, {}), (2, {"CopySourceRange": "bytes=2-4"})):
        copied = client.upload_part_copy(PartNumber=number, **target, **options)["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": copied["ETag"], "ChecksumCRC32": copied["ChecksumCRC32"]})
    for wrong in ("bytes=2-", "bytes=-2", "bytes=4-2", "bytes=0-16"):
        with pytest.raises(ClientError) as caught:
            client.upload_part_copy(PartNumber=3, CopySourceRange=wrong, **target)
        assert refused(caught) == ("InvalidArgument", 400)
    done = end(client, upload_id, parts)
    want = b"0123456789abcdef234"
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (summed("CRC32", want), "FULL_OBJECT")
    assert client.get_object(Bucket="data", Key="a", ChecksumMode="ENABLED")["Body"].read() == want
    for key in ("a", "source"):
        client.delete_object(Bucket="data", Key=key)


def test_a_deleted_bucket_takes_its_uploads_along(s3: World, client: Any) -> None:
    """Uploads that nobody completed do not keep a bucket, and are not there in one of the same name."""
    client.create_bucket(Bucket="short-lived")
    client.create_multipart_upload(Bucket="short-lived", Key="a")
    client.delete_bucket(Bucket="short-lived")
    client.create_bucket(Bucket="short-lived")
    assert "Uploads" not in client.list_multipart_uploads(Bucket="short-lived")
    client.delete_bucket(Bucket="short-lived")
    assert s3.uploads.all("short-lived") == []


# ---------------------------------------------------------------------------------------------------------------------
# Checksums
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_checksums_of_objects(client: Any, algorithm: str) -> None:
    """A right one is kept and told to those who ask; with a wrong one nothing is written."""
    name, right = f"Checksum{algorithm}", summed(algorithm, b"data")
    written = client.put_object(Bucket="data", Key="a", Body=b"data", **{name: right})
    assert (written[name], written["ChecksumType"]) == (right, "FULL_OBJECT")
    found = client.head_object(Bucket="data", Key="a", ChecksumMode="ENABLED")
    assert (found[name], found["ChecksumType"]) == (right, "FULL_OBJECT")
    assert name not in client.head_object(Bucket="data", Key="a")
    assert name not in client.get_object(Bucket="data", Key="a", ChecksumMode="ENABLED", Range="bytes=0-1")
    assert client.list_objects_v2(Bucket="data")["Contents"][0]["ChecksumAlgorithm"] == [algorithm]
    client.delete_object(Bucket="data", Key="a")
    for wrong, code in ((summed(algorithm, b"other"), "BadDigest"), ("x", "InvalidRequest")):
        with pytest.raises(ClientError) as caught:
            client.put_object(Bucket="data", Key="a", Body=b"data", **{name: wrong})
        assert refused(caught) == (code, 400)
    assert client.list_objects_v2(Bucket="data")["KeyCount"] == 0


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", "SHA512"])
def test_checksums_that_boto3_computes(client: Any, algorithm: str) -> None:
    """What boto3 computes for a body is what we compute, and what it verifies when it reads."""
    written = client.put_object(Bucket="data", Key="a", Body=io.BytesIO(b"data"), ChecksumAlgorithm=algorithm)
    assert written[f"Checksum{algorithm}"] == summed(algorithm, b"data")
    found = client.get_object(Bucket="data", Key="a")
    assert (found["Body"].read(), found["ResponseMetadata"]["ChecksumAlgorithm"]) == (b"data", algorithm.lower())
    client.delete_object(Bucket="data", Key="a")


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", ""), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", ""),
     ("SHA1", ""), ("SHA256", "COMPOSITE")],
)  # fmt: skip
def test_checksums_of_uploads(client: Any, algorithm: str, kind: str) -> None:
    """The checksum of the whole is that of all bytes, or that of the parts' checksums with their number."""
    name, pieces = f"Checksum{algorithm}", [b"first part", b"second part"]
    upload_id = begin(client, ChecksumAlgorithm=algorithm, **({"ChecksumType": kind} if kind else {}))
    full = kind == "FULL_OBJECT" or algorithm == "CRC64NVME"
    parts = []
    for number, piece in enumerate(pieces, 1):
        own = {name: summed(algorithm, piece)}
        parts.append(send(client, upload_id, number, piece, **own) | own)
    with pytest.raises(ClientError) as caught:
        end(client, upload_id, [parts[0] | {name: summed(algorithm, b"other")}, parts[1]])
    assert refused(caught) == ("InvalidPart", 400)
    with pytest.raises(ClientError) as caught:
        end(client, upload_id, parts, **{name: summed(algorithm, b"other")})
    assert refused(caught) == ("BadDigest", 400)
    done = end(client, upload_id, parts)
    digests = [base64.b64decode(summed(algorithm, piece)) for piece in pieces]
    want = summed(algorithm, b"".join(pieces)) if full else summed(algorithm, b"".join(digests)) + "-2"
    assert (done[name], done["ChecksumType"]) == (want, "FULL_OBJECT" if full else "COMPOSITE")
    assert client.head_object(Bucket="data", Key="a", ChecksumMode="ENABLED")[name] == want
    client.delete_object(Bucket="data", Key="a")


def test_checksums_that_do_not_fit(s3: World, client: Any) -> None:
    """An upload wants the checksum that it was begun with; kinds and algorithms must exist and go together."""
    upload_id = begin(client, ChecksumAlgorithm="SHA256")
    with pytest.raises(ClientError, match="expected checksum Type: sha256, actual checksum Type: crc32") as caught:
        send(client, upload_id, 1, b"x", ChecksumAlgorithm="CRC32")
    assert refused(caught) == ("InvalidRequest", 400)
    client.abort_multipart_upload(Bucket="data", Key="a", UploadId=upload_id)
    for options in ({"ChecksumAlgorithm": "SHA1", "ChecksumType": "FULL_OBJECT"},
                    {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}):  # fmt: skip
        with pytest.raises(ClientError) as caught:
            begin(client, **options)
        assert refused(caught) == ("InvalidRequest", 400)
    crc = summed("CRC32", b"x")
    for headers, code in (
        ({"X-Amz-Checksum-CRC32": crc, "X-Amz-Checksum-SHA1": summed("SHA1", b"x")}, "InvalidRequest"),
        ({"X-Amz-Checksum-XXHASH64": "AAAAAAAAAAA="}, "NotImplemented"),
        ({"X-Amz-Checksum-CRC16": "AAA="}, "InvalidRequest"),
        ({"X-Amz-Sdk-Checksum-Algorithm": "SHA1", "X-Amz-Checksum-CRC32": crc}, "InvalidRequest"),
        ({"X-Amz-Sdk-Checksum-Algorithm": "SHA1"}, "InvalidRequest"),
        ({"X-Amz-Trailer": "x-amz-checksum-crc32"}, "InvalidRequest"),
        ({"Content-MD5": "x"}, "InvalidDigest"),
        ({"Content-MD5": base64.b64encode(hashlib.md5(b"y").digest()).decode()}, "BadDigest"),
    ):
        assert s3.ask("PUT", "/data/a", b"x", headers=headers).code == code
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    assert s3.ask("PUT", "/data/a", b"x", headers={"Content-MD5": right}).status == 200
    client.delete_object(Bucket="data", Key="a")


# ---------------------------------------------------------------------------------------------------------------------
# Encoded bodies
# ---------------------------------------------------------------------------------------------------------------------

DATA = os.urandom(300_000)


def streamed(s3: World, payload: str, pieces: list[bytes], trailers: dict[str, str], **headers: str) -> bytes:
    """Give a request with an encoded body, signed as an SDK signs it."""
    named = {
        "X-Amz-Content-SHA256": payload,
        "X-Amz-Decoded-Content-Length": str(sum(map(len, pieces))),
        "Content-Encoding": "aws-chunked,gzip",
        **({"X-Amz-Trailer": ",".join(trailers)} if trailers else {}),
        **headers,
    }
    request = s3.signed("PUT", "/data/streamed", headers=named)
    signer = None
    if payload.startswith("STREAMING-AWS4"):
        timestamp = request.header("x-amz-date") or ""
        scope = Scope(KEY, timestamp[:8], REGION, "s3")
        seed = (request.header("authorization") or "").rpartition("Signature=")[2]
        signer = ChunkSigner(signing_key(SECRET, scope), timestamp, str(scope), seed)
    body = encoded(pieces, signer, trailers)
    return as_bytes(request, length=len(body)) + body


STREAMED = [
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""),
    *[(payload, algorithm) for payload in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
      for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")],
]  # fmt: skip


@pytest.mark.parametrize(("payload", "algorithm"), STREAMED)
def test_encoded_bodies(s3: World, payload: str, algorithm: str) -> None:
    """Chunks, signed or not, with a checksum behind them or not, are decoded, verified and kept."""
    header = f"x-amz-checksum-{algorithm.lower()}"
    trailers = {header: summed(algorithm, DATA)} if algorithm else {}
    pieces = [DATA[:131_072], DATA[131_072:]]
    assert s3.exchange(streamed(s3, payload, pieces, trailers)).status == 200
    found = s3.ask("GET", "/data/streamed", headers={"X-Amz-Checksum-Mode": "ENABLED"})
    assert (found.body, found.headers["content-encoding"]) == (DATA, "gzip")
    assert found.headers.get(header, "") == trailers.get(header, "")
    s3.objects.delete("data", "streamed")
    wrong = s3.exchange(streamed(s3, payload, [DATA[:-1], b"?"], trailers))
    assert wrong.code == ("BadDigest" if algorithm else "")
    short = streamed(s3, payload, pieces, trailers, **{"X-Amz-Decoded-Content-Length": "300001"})
    assert s3.exchange(short).code == "IncompleteBody"
    long = streamed(s3, payload, pieces, trailers, **{"X-Amz-Decoded-Content-Length": "299999"})
    assert s3.exchange(long).code == "IncompleteBody"
    tampered = streamed(s3, payload, pieces, trailers).replace(DATA[:50], DATA[1:51])
    assert s3.exchange(tampered).code == ("SignatureDoesNotMatch" if "AWS4" in payload else "BadDigest")
    assert [each.key for each in s3.objects.list("data")] == ([] if algorithm else ["streamed"])
    s3.objects.delete("data", "streamed")
    assert s3.temporary() == []


def test_the_body_that_boto3_encodes(s3: World) -> None:
    """botocore's own wrapper, which it uses over TLS, sent in HTTP chunks as it sends them."""
    wrapper = AwsChunkedWrapper(io.BytesIO(DATA), Crc32Checksum, "x-amz-checksum-crc32", chunk_size=65_536)
    body = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in wrapper) + b"0\r\n\r\n"
    request = s3.signed(
        "PUT",
        "/data/boto",
        headers={
            "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            "X-Amz-Decoded-Content-Length": str(len(DATA)),
            "X-Amz-Trailer": "x-amz-checksum-crc32",
            "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
            "Content-Encoding": "aws-chunked",
            "Transfer-Encoding": "chunked",
        },
    )
    reply = s3.exchange(as_bytes(request) + body)
    assert reply.headers["x-amz-checksum-crc32"] == value(zlib.crc32(DATA).to_bytes(4, "big"))
    found = s3.ask("GET", "/data/boto")
    assert (found.body, found.headers.get("content-encoding")) == (DATA, None)
    s3.objects.delete("data", "boto")


def test_a_checksum_that_was_promised_must_come(s3: World) -> None:
    """A body without the header that it announced, or with another one, is malformed."""
    payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    headers = {"X-Amz-Trailer": "x-amz-checksum-crc32"}
    assert s3.exchange(streamed(s3, payload, [b"x"], {}, **headers)).code == "MalformedTrailerError"
    for trailer, code in (
        ("x-amz-meta-a", "InvalidRequest"),
        ("x-amz-checksum-crc32,x-amz-checksum-sha1", "InvalidRequest"),
    ):
        assert s3.exchange(streamed(s3, payload, [b"x"], {}, **{"X-Amz-Trailer": trailer})).code == code
    assert s3.ask("PUT", "/data/a", b"x", headers={"X-Amz-Content-SHA256": "no hash"}).code == "InvalidArgument"
    ecdsa = {"X-Amz-Content-SHA256": "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}
    assert s3.ask("PUT", "/data/a", b"x", headers=ecdsa).code == "NotImplemented"
    assert list(s3.objects.list("data")) == []
