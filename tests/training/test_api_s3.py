"""The S3 endpoint as boto3 sees it: buckets, objects, listings, conditions, copies, presigned URLs."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.training.s3_world import ACCOUNT, KEY, Reply, World, as_bytes, world

from treadle.training.api.s3 import Limits, speaks_s3
from treadle.training.api.s3.app import OPERATIONS
from treadle.training.api.s3.routes import ROUTES, SUBRESOURCES


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("s3") / "s3") as made:
        made.objects.create_bucket("data")
        yield made


@pytest.fixture(scope="module")
def client(s3: World) -> Any:
    return s3.client()


@pytest.fixture
def bucket(s3: World, request: pytest.FixtureRequest) -> str:
    """Give a bucket of the test's own."""
    name = f"b-{hashlib.md5(request.node.nodeid.encode()).hexdigest()[:20]}"
    s3.objects.create_bucket(name)
    return name


def refused(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


# ---------------------------------------------------------------------------------------------------------------------
# Buckets
# ---------------------------------------------------------------------------------------------------------------------


def test_buckets(client: Any) -> None:
    """Make, find, list, and remove a bucket; making one's own again is no error in us-east-1."""
    before = datetime.now(UTC) - timedelta(seconds=2)
    for _ in range(2):
        assert client.create_bucket(Bucket="made")["Location"] == "/made"
    assert client.head_bucket(Bucket="made")["BucketRegion"] == "us-east-1"
    assert client.get_bucket_location(Bucket="made")["LocationConstraint"] is None
    listed = client.list_buckets(Prefix="mad")
    assert [each["Name"] for each in listed["Buckets"]] == ["made"]
    assert before < listed["Buckets"][0]["CreationDate"] < datetime.now(UTC) + timedelta(seconds=2)
    assert len(listed["Owner"]["ID"]) == 64
    client.put_object(Bucket="made", Key="a", Body=b"")
    with pytest.raises(ClientError) as caught:
        client.delete_bucket(Bucket="made")
    assert refused(caught) == ("BucketNotEmpty", 409)
    client.delete_object(Bucket="made", Key="a")
    assert client.delete_bucket(Bucket="made")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as caught:
        client.delete_bucket(Bucket="made")
    assert refused(caught) == ("NoSuchBucket", 404)


def test_a_missing_bucket_is_not_found(client: Any) -> None:
    """The SDKs look for status 404 and the words "Not Found"."""
    with pytest.raises(ClientError, match=r": Not Found$") as caught:
        client.head_bucket(Bucket="nowhere")
    assert refused(caught) == ("404", 404)
    for call in (
        client.list_objects_v2,
        client.list_objects,
        client.get_bucket_location,
        client.get_bucket_versioning,
        client.list_object_versions,
        client.list_multipart_uploads,
    ):
        with pytest.raises(ClientError) as caught:
            call(Bucket="nowhere")
        assert refused(caught) == ("NoSuchBucket", 404)


def test_buckets_page_by_page(s3: World, client: Any) -> None:
    """With a limit, buckets come in pages."""
    for name in ("page-a", "page-b", "page-c"):
        s3.objects.create_bucket(name)
    pages = list(client.get_paginator("list_buckets").paginate(Prefix="page-", PaginationConfig={"PageSize": 2}))
    assert [[each["Name"] for each in page["Buckets"]] for page in pages] == [["page-a", "page-b"], ["page-c"]]
    assert {each["BucketRegion"] for page in pages for each in page["Buckets"]} == {"us-east-1"}
    assert client.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []


def test_another_region(tmp_path: Path) -> None:
    """Outside us-east-1 the location is said, must be right, and one's own bucket cannot be made twice."""
    with world(tmp_path / "s3", region="eu-west-1") as s3:

        def ask(constraint: bytes) -> Reply:
            return s3.ask("PUT", "/made", constraint, region="eu-west-1")

        location = b"<CreateBucketConfiguration><LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>"
        for wrong in (b"", location % b"us-west-2"):
            assert ask(wrong).code == "IllegalLocationConstraintException"
        assert ask(location % b"eu-west-1").status == 200
        assert (ask(location % b"eu-west-1").status, ask(location % b"eu-west-1").code) == (
            409,
            "BucketAlreadyOwnedByYou",
        )
        assert b">eu-west-1<" in s3.ask("GET", "/made?location", region="eu-west-1").body
        wrong_region = s3.ask("GET", "/made")
        assert (wrong_region.status, wrong_region.code) == (400, "AuthorizationHeaderMalformed")
        assert (wrong_region.told("Region"), wrong_region.headers["x-amz-bucket-region"]) == ("eu-west-1", "eu-west-1")


@pytest.mark.parametrize("name", ["ab", "UPPER", "a_b", "a..b", "1.2.3.4", "x" * 64, ".treadle"])
def test_names_that_no_bucket_has(s3: World, name: str) -> None:
    """A wrong name is told as such, whatever is asked."""
    for method, path in (("PUT", f"/{name}"), ("GET", f"/{name}"), ("PUT", f"/{name}/key"), ("GET", f"/{name}/key")):
        reply = s3.ask(method, path)
        assert (reply.status, reply.code) == (400, "InvalidBucketName")


# ---------------------------------------------------------------------------------------------------------------------
# Objects
# ---------------------------------------------------------------------------------------------------------------------

HEADERS = {
    "ContentType": "text/csv; charset=utf-8",
    "CacheControl": "no-store",
    "ContentDisposition": 'attachment; filename="a.csv"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de-AT",
    "WebsiteRedirectLocation": "/elsewhere",
    "StorageClass": "STANDARD_IA",
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "key",
}


def test_an_object_comes_back_as_it_went(client: Any, bucket: str) -> None:
    """Content, headers and the user's metadata are given back by GetObject and HeadObject."""
    written = client.put_object(Bucket=bucket, Key="a", Body=b"1,2\n", Metadata={"Author": "a b", "x-y": ""}, **HEADERS)
    etag = f'"{hashlib.md5(b"1,2" + bytes([10])).hexdigest()}"'
    assert (written["ETag"], written["ServerSideEncryption"]) == (etag, "aws:kms")
    for found in (client.get_object(Bucket=bucket, Key="a"), client.head_object(Bucket=bucket, Key="a")):
        assert {name: found[name] for name in HEADERS} == HEADERS
        assert found["Metadata"] == {"author": "a b", "x-y": ""}
        assert (found["ContentLength"], found["ETag"], found["AcceptRanges"]) == (4, etag, "bytes")
        assert abs(found["LastModified"] - datetime.now(UTC)) < timedelta(seconds=60)
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1,2\n"
    client.put_object(Bucket=bucket, Key="a", Body=b"")
    plain = client.get_object(Bucket=bucket, Key="a")
    assert (plain["ContentType"], plain["Metadata"], plain["Body"].read()) == ("binary/octet-stream", {}, b"")
    assert "StorageClass" not in plain


def test_missing_objects(client: Any, bucket: str) -> None:
    """What is not there has S3's codes; deleting it is no error."""
    with pytest.raises(client.exceptions.NoSuchKey, match=r"The specified key does not exist\."):
        client.get_object(Bucket=bucket, Key="a")
    with pytest.raises(ClientError, match="Not Found") as caught:
        client.head_object(Bucket=bucket, Key="a")
    assert refused(caught) == ("404", 404)
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.get_object(Bucket="nowhere", Key="a")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.put_object(Bucket="nowhere", Key="a", Body=b"x")
    assert client.delete_object(Bucket=bucket, Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket=bucket, Key="k" * 1025)
    assert refused(caught) == ("KeyTooLongError", 400)


def test_a_file_put_there_by_hand_is_an_object(s3: World, client: Any, bucket: str) -> None:
    """It is listed with an etag, and has the headers of an object of which nothing was said."""
    (s3.objects.root / bucket / "sub").mkdir()
    (s3.objects.root / bucket / "sub" / "by hand.csv").write_bytes(b"1")
    listed = client.list_objects_v2(Bucket=bucket)["Contents"]
    found = client.get_object(Bucket=bucket, Key="sub/by hand.csv")
    assert (found["Body"].read(), found["ContentType"]) == (b"1", "binary/octet-stream")
    assert [(each["Key"], each["ETag"]) for each in listed] == [("sub/by hand.csv", found["ETag"])]


SEGMENTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["", ".", "..", "a", "%", "%2F", "+", "a b", "?", "#", "&", "=", "ü", "😀", "a" * 255, "\\", "~", "_treadle"]
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join).filter(lambda key: 0 < len(key.encode()) <= 1024)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(key=KEYS)
@example(key="/")
@example(key="//a//")
@example(key="../../etc/passwd")
@example(key="a\x00b\r\n\x7f")
@example(key="a+b c%20d")
def test_any_key_goes_and_comes_back(client: Any, key: str) -> None:
    """Put, get, head, list, copy and delete work for any key."""
    client.put_object(Bucket="data", Key=key, Body=key.encode())
    try:
        assert client.get_object(Bucket="data", Key=key)["Body"].read() == key.encode()
        for call in (client.list_objects_v2, client.list_objects):
            assert [each["Key"] for each in call(Bucket="data", Prefix=key)["Contents"]] == [key]
        client.copy_object(Bucket="data", Key="copy", CopySource={"Bucket": "data", "Key": key})
        assert client.get_object(Bucket="data", Key="copy")["Body"].read() == key.encode()
    finally:
        client.delete_object(Bucket="data", Key=key)
        client.delete_object(Bucket="data", Key="copy")
    assert client.list_objects_v2(Bucket="data")["KeyCount"] == 0


def test_many_objects_are_deleted_at_once(client: Any, bucket: str) -> None:
    """Each key is told; quietly only those are told that could not be deleted."""
    keys = ["a", "b/c", "ü &<>\"'", "line\r\nfeed"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    objects = [{"Key": key} for key in [*keys, "absent"]]
    done = client.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [each["Key"] for each in done["Deleted"]] == [*keys, "absent"]
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    client.put_object(Bucket=bucket, Key="kept", Body=b"")
    wrong = [{"Key": "kept", "ETag": '"other"'}, {"Key": "k" * 1025}, {"Key": "a", "VersionId": "v"}, {"Key": "gone"}]
    done = client.delete_objects(Bucket=bucket, Delete={"Objects": wrong, "Quiet": True})
    assert "Deleted" not in done
    assert [(each["Key"][:4], each["Code"]) for each in done["Errors"]] == [
        ("kept", "PreconditionFailed"),
        ("kkkk", "KeyTooLongError"),
        ("a", "NoSuchVersion"),
    ]
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


# ---------------------------------------------------------------------------------------------------------------------
# Listings
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(s3: World) -> list[str]:
    """Fill a bucket with more keys than a page holds, some of them below prefixes."""
    s3.objects.create_bucket("many")
    keys = [f"{number:04d}" for number in range(1000)] + [f"d{number % 7}/{number:03d}" for number in range(210)]
    keys += ["d1/sub/x", "d3", "d3.5", "zü/😀"]
    for key in keys:  # as a person would put them there: it is the listing that is tried, not the disk
        path = s3.objects.root / "many" / key
        path.parent.mkdir(exist_ok=True, parents=True)
        if path.is_dir():
            path = path.with_name("d3%")
        path.write_bytes(b"x")
    return sorted(keys, key=str.encode)


def rolled(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    names: list[str] = []
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + len(delimiter)]
            names += [name] if not names or names[-1] != name else []
    return names


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
@pytest.mark.parametrize(
    ("prefix", "delimiter", "size"),
    [("", "", 1000), ("", "/", 1000), ("d", "/", 3), ("d1/", "/", 10), ("d", "", 7), ("", "5", 100), ("none", "/", 5)],
)
def test_pages(client: Any, many: list[str], operation: str, prefix: str, delimiter: str, size: int) -> None:
    """Over all pages every key and every common prefix comes once, in order, and no page is too long."""
    pages = client.get_paginator(operation).paginate(
        Bucket="many", Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    found = []
    for page in pages:
        names = [each["Key"] for each in page.get("Contents", [])]
        prefixes = [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        assert len(names) + len(prefixes) <= size
        assert page.get("KeyCount", len(names) + len(prefixes)) == len(names) + len(prefixes)
        found += sorted(names + prefixes, key=str.encode)
    assert found == rolled(many, prefix, delimiter)


@pytest.mark.usefixtures("many")
def test_where_a_listing_starts(client: Any) -> None:
    """`StartAfter` and `Marker` leave out what is not after them; limits and owners are as asked."""
    found = client.list_objects_v2(Bucket="many", StartAfter="d5/208", MaxKeys=2, FetchOwner=True)
    assert ([each["Key"] for each in found["Contents"]], found["StartAfter"]) == (["d6/006", "d6/013"], "d5/208")
    assert found["IsTruncated"]
    assert len(found["Contents"][0]["Owner"]["ID"]) == 64
    assert "Owner" not in client.list_objects_v2(Bucket="many", MaxKeys=1)["Contents"][0]
    old = client.list_objects(Bucket="many", Marker="d6/", Delimiter="/")
    assert (old.get("Contents", []), [each["Prefix"] for each in old["CommonPrefixes"]]) == ([], ["zü/"])
    assert old["Marker"] == "d6/"
    for call in (client.list_objects_v2, client.list_objects):
        empty = call(Bucket="many", MaxKeys=0)
        assert (empty.get("Contents", []), empty["IsTruncated"], empty["MaxKeys"]) == ([], False, 0)
        assert call(Bucket="many", MaxKeys=5000)["MaxKeys"] == 1000


@pytest.mark.parametrize(
    "query",
    ["max-keys=x", "max-keys=-1", "list-type=3", "list-type=2&continuation-token=x", "list-type=2&continuation-token=",
     "encoding-type=base64", "list-type=2&continuation-token=a2E"],
)  # fmt: skip
def test_listings_that_cannot_be(s3: World, query: str) -> None:
    """A parameter that makes no sense is an invalid argument."""
    reply = s3.ask("GET", f"/data?{query}")
    assert (reply.status, reply.code) == (400, "InvalidArgument")


def test_without_encoding_keys_are_xml(s3: World, client: Any, bucket: str) -> None:
    """Keys stand in the listing as text; what XML cannot say stands there as a reference."""
    client.put_object(Bucket=bucket, Key="a&<b>\x01\r", Body=b"")
    assert b"<Key>a&amp;&lt;b&gt;&#x1;&#xd;</Key>" in s3.ask("GET", f"/{bucket}?list-type=2").body


# ---------------------------------------------------------------------------------------------------------------------
# Ranges and conditions
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("range_", "status", "want"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10"),
        ("bytes=3-", 206, "bytes 3-9/10"),
        ("bytes=8-100", 206, "bytes 8-9/10"),
        ("bytes=-3", 206, "bytes 7-9/10"),
        ("bytes=-30", 206, "bytes 0-9/10"),
        ("bytes=2-3,5-6", 206, "bytes 2-3/10"),
        ("bytes=10-", 416, ""),
        ("bytes=99999999999999999999999-", 416, ""),
        ("bytes=-0", 416, ""),
        ("bytes=4-3", 200, ""),
        ("bytes=-", 200, ""),
        ("bytes=a-b", 200, ""),
        ("lines=1-2", 200, ""),
    ],
)
def test_ranges(s3: World, range_: str, status: int, want: str) -> None:
    """A range gives these bytes; one that is outside is refused, one that is none is not looked at."""
    s3.objects.write("data", "range", iter([b"0123456789"]))
    for method in ("GET", "HEAD"):
        reply = s3.ask(method, "/data/range", headers={"Range": range_})
        assert (reply.status, reply.headers.get("content-range", "")) == (status, want)
        if method == "GET" and status != 416:
            first, _, last = want.removeprefix("bytes ").removesuffix("/10").partition("-")
            assert reply.body == (b"0123456789"[int(first) : int(last) + 1] if want else b"0123456789")
        if method == "GET" and status == 416:
            assert (reply.code, reply.told("ActualObjectSize")) == ("InvalidRange", "10")
    s3.objects.delete("data", "range")


def test_an_empty_object_has_no_ranges(s3: World) -> None:
    """There is no first byte of nothing."""
    s3.objects.write("data", "empty", iter([]))
    assert s3.ask("GET", "/data/empty", headers={"Range": "bytes=0-"}).status == 416
    assert (s3.ask("GET", "/data/empty").status, s3.ask("GET", "/data/empty").body) == (200, b"")
    s3.objects.delete("data", "empty")


OLD, NEW = "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
ETAG = f'"{hashlib.md5(b"x").hexdigest()}"'


@dataclass(frozen=True)
class Case:
    description: str
    headers: dict[str, str]
    status: int
    condition: str = field(default="")


READS = [
    Case("matches", {"If-Match": ETAG}, 200),
    Case("matches any", {"If-Match": "*"}, 200),
    Case("matches one of several", {"If-Match": f'"a", {ETAG}'}, 200),
    Case("matches without quotes", {"If-Match": ETAG.strip('"')}, 200),
    Case("does not match", {"If-Match": '"a"'}, 412, "If-Match"),
    Case("is another", {"If-None-Match": '"a"'}, 200),
    Case("is the same", {"If-None-Match": ETAG}, 304),
    Case("is there", {"If-None-Match": "*"}, 304),
    Case("modified", {"If-Modified-Since": OLD}, 200),
    Case("not modified", {"If-Modified-Since": NEW}, 304),
    Case("unmodified", {"If-Unmodified-Since": NEW}, 200),
    Case("not unmodified", {"If-Unmodified-Since": OLD}, 412, "If-Unmodified-Since"),
    Case("etag before time, good", {"If-Match": ETAG, "If-Unmodified-Since": OLD}, 200),
    Case("etag before time, same", {"If-None-Match": ETAG, "If-Modified-Since": OLD}, 304),
    Case("etag before time, other", {"If-None-Match": '"a"', "If-Modified-Since": NEW}, 200),
    Case("a date that is none", {"If-Modified-Since": "yesterday"}, 200),
    Case("range of the same", {"If-Range": ETAG, "Range": "bytes=0-0"}, 206),
    Case("range of another", {"If-Range": '"a"', "Range": "bytes=0-0"}, 200),
    Case("range since then", {"If-Range": NEW, "Range": "bytes=0-0"}, 206),
]


@pytest.mark.parametrize("case", READS, ids=[case.description for case in READS])
def test_conditional_reads(s3: World, case: Case) -> None:
    """Conditions are evaluated as RFC 9110 says, for GET as for HEAD."""
    s3.objects.write("data", "read", iter([b"x"]))
    for method in ("GET", "HEAD"):
        reply = s3.ask(method, "/data/read", headers=case.headers)
        assert reply.status == case.status
        if case.status == 412 and method == "GET":
            assert (reply.code, reply.told("Condition")) == ("PreconditionFailed", case.condition)
        if case.status == 304:
            assert (reply.headers["etag"], reply.body) == (ETAG, b"")
    s3.objects.delete("data", "read")


WRITES = [
    Case("only if absent, and it is there", {"If-None-Match": "*"}, 412, "If-None-Match"),
    Case("only if it is this", {"If-Match": ETAG}, 200),
    Case("only if it is another", {"If-Match": '"a"'}, 412, "If-Match"),
    Case("unless it is this", {"If-None-Match": ETAG}, 501),
    Case("both", {"If-None-Match": "*", "If-Match": ETAG}, 501),
    Case("times", {"If-Unmodified-Since": NEW}, 501),
]


@pytest.mark.parametrize("case", WRITES, ids=[case.description for case in WRITES])
def test_conditional_writes(s3: World, case: Case) -> None:
    """What a condition forbids changes nothing."""
    s3.objects.write("data", "write", iter([b"x"]))
    reply = s3.ask("PUT", "/data/write", b"new", headers=case.headers)
    assert (reply.status, reply.told("Condition")) == (case.status, case.condition)
    assert b"".join(s3.objects.read("data", "write")) == (b"new" if case.status == 200 else b"x")
    s3.objects.delete("data", "write")


def test_conditions_on_what_is_not_there(s3: World) -> None:
    """Writing if absent succeeds, writing in the place of something finds no such key; deletion has nothing to do."""
    assert s3.ask("PUT", "/data/absent", b"1", headers={"If-None-Match": "*"}).status == 200
    assert s3.ask("DELETE", "/data/absent", headers={"If-Match": '"a"'}).status == 412
    assert s3.ask("DELETE", "/data/absent", headers={"If-Match": "*"}).status == 204
    assert s3.ask("DELETE", "/data/absent", headers={"If-Match": '"a"'}).status == 204
    reply = s3.ask("PUT", "/data/absent", b"1", headers={"If-Match": '"a"'})
    assert (reply.status, reply.code) == (404, "NoSuchKey")


def test_overridden_headers(client: Any, bucket: str) -> None:
    """A read may say how it is to be answered; control characters get into no header."""
    client.put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="text/csv")
    found = client.get_object(
        Bucket=bucket, Key="a", ResponseContentType="text/plain", ResponseContentDisposition='inline; filename="ü"'
    )
    assert (found["ContentType"], found["ResponseMetadata"]["HTTPHeaders"]["content-disposition"]) == (
        "text/plain",
        'inline; filename="ü"'.encode().decode("latin-1"),
    )
    assert found["Body"].read() == b"x"
    with pytest.raises(ClientError) as caught:
        client.get_object(Bucket=bucket, Key="a", ResponseContentType="text/plain\r\nX-Evil: 1")
    assert refused(caught) == ("InvalidArgument", 400)


# ---------------------------------------------------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------------------------------------------------


def test_copies(client: Any, bucket: str) -> None:
    """A copy has the bytes and the properties of its source, or the properties that it was given."""
    client.put_object(Bucket=bucket, Key="a", Body=b"x", ContentType="text/csv", Metadata={"a": "b"})
    source = {"Bucket": bucket, "Key": "a"}
    copied = client.copy_object(Bucket=bucket, Key="b", CopySource=source)["CopyObjectResult"]
    assert copied["ETag"] == ETAG
    found = client.get_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (b"x", "text/csv", {"a": "b"})
    assert found["ChecksumCRC32"]
    client.copy_object(
        Bucket=bucket, Key="b", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"}, ChecksumAlgorithm="SHA256"
    )  # fmt: skip
    found = client.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
    assert (found["ContentType"], found["Metadata"]) == ("binary/octet-stream", {"c": "d"})
    assert found["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"x").digest()).decode()
    client.copy_object(Bucket=bucket, Key="a", CopySource=source, MetadataDirective="REPLACE", Metadata={"e": "f"})
    assert client.head_object(Bucket=bucket, Key="a")["Metadata"] == {"e": "f"}
    with pytest.raises(ClientError, match="without changing the object's metadata") as caught:
        client.copy_object(Bucket=bucket, Key="a", CopySource=source)
    assert refused(caught) == ("InvalidRequest", 400)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"CopySourceIfMatch": ETAG}, ""),
        ({"CopySourceIfMatch": '"a"'}, "PreconditionFailed"),
        ({"CopySourceIfNoneMatch": ETAG}, "PreconditionFailed"),
        ({"CopySourceIfModifiedSince": datetime(2100, 1, 1, tzinfo=UTC)}, "PreconditionFailed"),
        ({"CopySourceIfUnmodifiedSince": datetime(2100, 1, 1, tzinfo=UTC)}, ""),
        ({"IfNoneMatch": "*"}, "PreconditionFailed"),
        ({"IfMatch": ETAG}, ""),
        ({"CopySource": "data/absent"}, "NoSuchKey"),
        ({"CopySource": "nowhere/a"}, "NoSuchBucket"),
        ({"CopySource": "nothing"}, "InvalidArgument"),
        ({"CopySource": "DATA/a"}, "InvalidBucketName"),
        ({"CopySource": "data/copy-a?versionId=v1"}, "NoSuchVersion"),
        ({"MetadataDirective": "MERGE"}, "InvalidArgument"),
        ({"ExpectedSourceBucketOwner": "111111111111"}, "AccessDenied"),
        ({"ExpectedBucketOwner": "111111111111"}, "AccessDenied"),
        ({"ExpectedBucketOwner": ACCOUNT, "ExpectedSourceBucketOwner": ACCOUNT}, ""),
    ],
)
def test_copies_that_depend(s3: World, client: Any, options: dict[str, Any], code: str) -> None:
    """Conditions on source and target, and what cannot be copied."""
    for key in ("copy-a", "copy-b"):
        s3.objects.write("data", key, iter([b"x"]))
    arguments = {"Bucket": "data", "Key": "copy-b", "CopySource": "data/copy-a"} | options
    if code:
        with pytest.raises(ClientError) as caught:
            client.copy_object(**arguments)
        assert refused(caught)[0] == code
    else:
        client.copy_object(**arguments)
    for key in ("copy-a", "copy-b"):
        s3.objects.delete("data", key)


# ---------------------------------------------------------------------------------------------------------------------
# Addresses, presigned URLs, refusals
# ---------------------------------------------------------------------------------------------------------------------


def test_buckets_in_the_host_name(s3: World, bucket: str) -> None:
    """`bucket.localhost` is the bucket, and a key there may look like a path of the service's own."""
    # Not every resolver knows that these names are this machine: the endpoint is asked as a proxy is.
    client = s3.client(style="virtual", url="http://localhost", proxies={"http": s3.url})
    for key in ("a/b", "_treadle/health", "/a"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [each["Key"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]] == [
        "/a",
        "_treadle/health",
        "a/b",
    ]
    for host in (f"{bucket}.s3.us-east-1.amazonaws.com", f"{bucket}.s3.example.org:9000"):
        assert s3.ask("GET", "/a/b", headers={"Host": host}).body == b"a/b"
    for host in ("s3.example.org", "example.org", "localhost", "[::1]:80", "s3.localhost", "s3-eu-west-1.example.org"):
        assert s3.ask("GET", f"/{bucket}/a/b", headers={"Host": host}).body == b"a/b"


def fetch(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Get a URL, or put data there, with no headers but these."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET" if data is None else "PUT", f"{parts.path}?{parts.query}", data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("version", ["", "s3v4", "s3"])
def test_presigned_urls(s3: World, bucket: str, version: str) -> None:
    """A URL with a signature in it, of either version, is good for what it was made for, and nothing else."""
    client = s3.client(signature_version=version) if version else s3.client()
    put = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b+ü"})
    assert fetch(put, b"hello")[0] == 200
    get = client.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "a b+ü", "ResponseContentType": "text/plain"}
    )
    assert fetch(get) == (200, b"hello")
    for wrong in (put, get.replace("text%2Fplain", "text%2Fhtml"), get.replace("a%20b", "a%20c")):
        status, body = fetch(wrong)
        assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)
    for header in ("x-amz-meta-a", "x-amz-copy-source"):
        assert fetch(put, b"hello", **{header: "data/secret"})[0] == 403
    expired = client.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "a b+ü"}, ExpiresIn=-1 if version != "s3v4" else 1
    )
    if version == "s3v4":
        stale = expired.replace("X-Amz-Expires=1&", "X-Amz-Expires=0&")
        assert b"AuthorizationQueryParametersError" in fetch(stale)[1]
    else:
        assert b"Request has expired" in fetch(expired)[1]
    evil = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a", "Metadata": {"a": "b"}})
    assert fetch(evil, b"x", **({"x-amz-meta-a": "b"} if version == "s3v4" else {}))[0] == 200
    unknown = fetch(get.replace(KEY, "AKIAUNKNOWN"))
    assert (unknown[0], b"<Code>InvalidAccessKeyId</Code>" in unknown[1]) == (403, True)


def test_a_presigned_url_ends(tmp_path: Path) -> None:
    """After its time a URL is refused, and says when it ended."""
    later = {"clock": lambda: datetime.now(UTC) + timedelta(seconds=100)}
    with world(tmp_path / "s3", **later) as s3:
        client = s3.client(signature_version="s3v4")
        status, body = fetch(client.generate_presigned_url("list_buckets", ExpiresIn=90))
        assert (status, b"<Message>Request has expired</Message><X-Amz-Expires>90<" in body) == (403, True)
        assert fetch(client.generate_presigned_url("list_buckets", ExpiresIn=200))[0] == 200


def test_signatures_are_refused_in_the_words_of_s3(s3: World) -> None:
    """A wrong secret, key, region or clock, and none at all, each have their code, and what S3 tells with it."""
    wrong = s3.ask("GET", "/data", secret="wrong")
    assert (wrong.status, wrong.code, wrong.told("AWSAccessKeyId")) == (403, "SignatureDoesNotMatch", KEY)
    assert wrong.told("StringToSign").startswith("AWS4-HMAC-SHA256")
    assert wrong.told("CanonicalRequest").startswith("GET\n/data\n")
    skewed = s3.ask("GET", "/data", now=datetime.now(UTC) - timedelta(minutes=16))
    assert (skewed.status, skewed.code, skewed.told("MaxAllowedSkewMilliseconds")) == (
        403,
        "RequestTimeTooSkewed",
        "900000",
    )
    assert s3.ask("GET", "/data", now=datetime.now(UTC) + timedelta(minutes=16)).code == "RequestTimeTooSkewed"
    assert s3.ask("GET", "/data", now=datetime.now(UTC) + timedelta(minutes=14)).status == 200
    nobody = s3.exchange(b"GET /data/a HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (nobody.status, nobody.code) == (403, "AccessDenied")
    old = s3.exchange(b"GET /data/a HTTP/1.1\r\nHost: h\r\nAuthorization: AWS AKIAEXAMPLE:x\r\n\r\n")
    assert (old.status, old.code) == (400, "InvalidRequest")
    # As older versions of curl sign it.
    without = s3.exchange(
        b"GET /data/a HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20261126T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential="
        b"AKIAEXAMPLE/20261126/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="
        + b"0" * 64
        + b"\r\n\r\n"
    )
    missing = "Missing required header for this request: x-amz-content-sha256"
    assert (without.status, without.code, without.told("Message")) == (400, "InvalidRequest", missing)
    assert (
        s3.ask("PUT", "/data/x", b"", headers={"X-Amz-Expected-Bucket-Owner": "1"}).code
        == "InvalidBucketOwnerAWSAccountID"
    )


def test_a_body_must_be_the_one_that_was_signed(s3: World) -> None:
    """Who replaces the body of a signed request gets nothing written."""
    request = s3.signed("PUT", "/data/forged", b"mine!")
    reply = s3.exchange(as_bytes(request).replace(b"mine!", b"yours"))
    assert (reply.status, reply.code) == (400, "XAmzContentSHA256Mismatch")
    assert reply.told("S3ComputedContentSHA256") == hashlib.sha256(b"yours").hexdigest()
    assert list(s3.objects.list("data")) == []


def test_what_is_not_here_says_so_by_name(s3: World, client: Any) -> None:
    """Operations and headers that are not implemented are named, never passed over."""
    calls: dict[str, tuple[Any, dict[str, Any]]] = {
        "GetBucketAcl": (client.get_bucket_acl, {}),
        "PutObjectTagging": (client.put_object_tagging, {"Key": "a", "Tagging": {"TagSet": []}}),
        "PutBucketVersioning": (client.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
        "GetObjectAttributes": (client.get_object_attributes, {"Key": "a", "ObjectAttributes": ["ETag"]}),
        "DeleteBucketPolicy": (client.delete_bucket_policy, {}),
    }
    for name, (call, arguments) in calls.items():
        with pytest.raises(ClientError, match=f"The operation {name} of S3 is not implemented by Treadle") as caught:
            call(Bucket="data", **arguments)
        assert refused(caught) == ("NotImplemented", 501)
    assert s3.ask("POST", "/data").told("Operation") == "PostObject"
    assert (s3.ask("PATCH", "/data/a").status, s3.ask("PATCH", "/data/a").code) == (405, "MethodNotAllowed")
    for option in (
        {"Tagging": "a=b"},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
        {"ObjectLockLegalHoldStatus": "ON"},
        {"StorageClass": "GLACIER"},
    ):
        with pytest.raises(ClientError) as caught:
            client.put_object(Bucket="data", Key="a", Body=b"", **option)
        assert refused(caught) == ("NotImplemented", 501)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="data", Key="a", Body=b"", ACL="public-read")
    assert refused(caught) == ("AccessControlListNotSupported", 400)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="data", Key="a", Body=b"", Metadata={"a": "x" * 2048})
    assert refused(caught) == ("MetadataTooLarge", 400)
    with pytest.raises(ClientError) as caught:
        client.put_object(Bucket="data", Key="a", Body=b"", StorageClass="COLD")
    assert refused(caught) == ("InvalidStorageClass", 400)
    client.put_object(Bucket="data", Key="a", Body=b"", ACL="bucket-owner-full-control")
    client.delete_object(Bucket="data", Key="a", VersionId="null")


def test_nothing_has_tags_or_versions(s3: World, client: Any) -> None:
    """Who copies asks for tags first (the AWS CLI does), and may say what to do with them."""
    s3.objects.create_bucket("untagged")
    client.put_object(Bucket="untagged", Key="a", Body=b"x", Tagging="")
    assert client.get_object_tagging(Bucket="untagged", Key="a")["TagSet"] == []
    for directive in ("COPY", "REPLACE"):
        client.copy_object(Bucket="untagged", Key=directive, CopySource="untagged/a", TaggingDirective=directive)
        assert client.get_object_tagging(Bucket="untagged", Key=directive)["TagSet"] == []
    with pytest.raises(ClientError) as caught:
        client.get_object_tagging(Bucket="untagged", Key="b")
    assert refused(caught) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as caught:
        client.copy_object(
            Bucket="untagged", Key="b", CopySource="untagged/a", TaggingDirective="REPLACE", Tagging="k=v"
        )
    assert refused(caught) == ("NotImplemented", 501)
    assert "Status" not in client.get_bucket_versioning(Bucket="untagged")


def test_a_bucket_is_emptied_by_its_versions(s3: World, client: Any) -> None:
    """Every object has one version; `bucket.object_versions.delete()` removes them all."""
    s3.objects.create_bucket("emptied")
    keys = ["a/1", "a/2", "b+ ü", "c"]
    for key in keys:
        s3.objects.write("emptied", key, iter([b"x"]))
    pages = client.get_paginator("list_object_versions").paginate
    shown = [each for page in pages(Bucket="emptied", PaginationConfig={"PageSize": 3}) for each in page["Versions"]]
    assert [(each["Key"], each["VersionId"], each["IsLatest"], each["Size"]) for each in shown] == [
        (key, "null", True, 1) for key in keys
    ]
    rolled = list(pages(Bucket="emptied", Delimiter="/", PaginationConfig={"PageSize": 1}))
    assert [each.get("CommonPrefixes") or each["Versions"][0]["Key"] for each in rolled] == [
        [{"Prefix": "a/"}],
        "b+ ü",
        "c",
    ]
    with pytest.raises(ClientError) as caught:
        client.list_object_versions(Bucket="emptied", VersionIdMarker="null")
    assert refused(caught) == ("InvalidArgument", 400)
    gone = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in shown]
    client.delete_objects(Bucket="emptied", Delete={"Objects": gone})
    assert "Versions" not in client.list_object_versions(Bucket="emptied")
    client.delete_bucket(Bucket="emptied")


def test_without_authentication(tmp_path: Path) -> None:
    """With `authenticate=False` a request needs no signature, and one with a wrong secret is taken."""
    with world(tmp_path / "s3", authenticate=False) as s3:
        client = s3.client(secret="wrong")
        client.create_bucket(Bucket="open")
        client.put_object(Bucket="open", Key="a", Body=b"x")
        assert fetch(f"{s3.url}/open/a") == (200, b"x")
        assert fetch(f"{s3.url}/open/b", b"y")[0] == 200
        chunked = b"1;chunk-signature=" + b"0" * 64 + b"\r\nz\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n"
        headers = {"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length": "1"}
        assert fetch(f"{s3.url}/open/c", chunked, **headers)[0] == 200
        assert fetch(f"{s3.url}/open/c") == (200, b"z")


def test_an_answer_that_takes_long_is_begun(tmp_path: Path) -> None:
    """While a copy goes on, blanks keep the connection, and the answer comes after them; so does an error."""
    with world(tmp_path / "s3", limits=Limits(patience=0)) as s3:
        client = s3.client()
        client.create_bucket(Bucket="data")
        client.put_object(Bucket="data", Key="a", Body=b"x" * (8 << 20))
        reply = s3.ask("PUT", "/data/b", headers={"X-Amz-Copy-Source": "data/a"})
        assert reply.status == 200
        assert reply.body.startswith(b"<?xml")
        assert client.copy_object(Bucket="data", Key="c", CopySource="data/a")["CopyObjectResult"]["ETag"]
        failed = s3.ask("PUT", "/data/b", headers={"X-Amz-Copy-Source": "data/none"})
        assert (failed.status in {200, 404}, failed.code) == (True, "NoSuchKey")


def test_no_parameter_of_s3_is_passed_over() -> None:
    """Every parameter that makes another operation of a request in the installed model is known to the routes."""
    model = botocore.session.get_session().get_service_model("s3")
    queries = [model.operation_model(name).http["requestUri"].partition("?")[2] for name in model.operation_names]
    known = {item.partition("=")[0] for query in queries for item in query.split("&") if item} - {"x-id"}
    assert known <= SUBRESOURCES
    assert {name for _, _, name in ROUTES if name} <= SUBRESOURCES
    assert set(ROUTES.values()) | {"CopyObject", "UploadPartCopy"} == set(OPERATIONS) <= set(model.operation_names)


SPOKEN = [
    ("GET", "/", b"", {}, True),
    ("GET", "/bucket/key", b"", {}, True),
    ("PUT", "/bucket", b"", {}, True),
    ("POST", "/bucket", b"delete", {}, True),
    ("POST", "/", b"", {}, False),
    ("POST", "/", b"delete", {"host": "bucket.localhost:80"}, True),
    ("POST", "/", b"", {"x-amz-target": "SageMaker.ListTrainingJobs"}, False),
    ("GET", "/_treadle/health", b"", {}, False),
    ("POST", "/_treadle/agent/v1/claim", b"", {"authorization": "Bearer x"}, False),
    ("GET", "/_treadle/health", b"", {"authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, x"}, True),
    ("POST", "/", b"", {"authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, x"}, True),
    ("POST", "/", b"", {"authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sts/aws4_request, x"}, False),
    ("GET", "/", b"X-Amz-Credential=A%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", {}, True),
    ("GET", "/", b"X-Amz-Credential=A%2F20260101%2Fus-east-1%2Fsts%2Faws4_request", {}, False),
    ("GET", "/bucket/key", b"AWSAccessKeyId=A&Signature=x&Expires=1", {}, True),
    ("GET", "/bucket/key", b"", {"authorization": "AWS A:x"}, True),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query", "headers", "want"), SPOKEN)
def test_what_is_for_s3(method: str, path: str, query: bytes, headers: dict[str, str], *, want: bool) -> None:
    """One address serves several APIs: the signature tells them apart, and without one the form of the request."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert speaks_s3({"method": method, "path": path, "query_string": query, "headers": raw}) is want
