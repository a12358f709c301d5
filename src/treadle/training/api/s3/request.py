"""A request as S3 reads it: bucket and key from host and path, the query, the headers.

A bucket stands in the path (`/bucket/key`), or before the host name (`bucket.localhost`, `bucket.s3.example.com`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from treadle.aws.s3names import LONGEST_KEY, bucket_problem
from treadle.seams import Headers
from treadle.training.api.s3.errors import refusal

__all__ = ["S3Request", "check_bucket", "check_key", "speaks_s3"]

Scope: TypeAlias = MutableMapping[str, Any]

_HEAD_LIMIT: Final = 32 * 1024
_MOST_PARAMETERS: Final = 100
_OF_S3: Final = re.compile(rb"Credential=[^,\s]*/s3/aws4_request")
_OF_S3_IN_QUERY: Final = re.compile(rb"X-Amz-Credential=[^&]*(?:/|%2F)s3(?:/|%2F)aws4_request", re.IGNORECASE)
_OLD_IN_QUERY: Final = re.compile(rb"(?:^|&)AWSAccessKeyId=")
_HOST_OF_S3: Final = re.compile(r"(?:(.+)\.)?s3[.-][a-z0-9.-]+")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def speaks_s3(scope: Scope) -> bool:
    """Tell whether an HTTP request is for S3: by its signature, or, where it has none, by not being for anything else.

    Other AWS APIs are called with POST to "/".
    """
    query: bytes = scope["query_string"]
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    given = {name: value for name, value in headers if name in {b"authorization", b"x-amz-target", b"host"}}
    signed = given.get(b"authorization")
    if signed is not None and not signed.startswith(b"Bearer "):
        return _OF_S3.search(signed) is not None or signed.startswith(b"AWS ")
    if b"X-Amz-Credential=" in query:
        return _OF_S3_IN_QUERY.search(query) is not None
    if _OLD_IN_QUERY.search(query):
        return True
    if b"x-amz-target" in given or scope["path"].startswith("/_treadle/"):
        return False
    return scope["method"] != "POST" or scope["path"] != "/" or _bucket_of_host(_text(given.get(b"host", b""))) != ""


@dataclass(frozen=True, slots=True)
class S3Request:
    """The head of a request; `bucket` and `key` are "" where the request names none.

    `query` is decoded; `headers` are as they came, `named` the same by lower-case name. `resource` is the path with the
    bucket in it, still encoded, as signatures of version 2 have it. `length` is None where none is given.
    """

    method: str
    path: str
    raw_query: str
    headers: Headers
    bucket: str
    key: str
    resource: str
    host: str
    scheme: str
    query: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    @classmethod
    def of(cls, scope: Scope) -> S3Request:
        """Read what comes before the body. Raises `S3Error`."""
        raw: Sequence[tuple[bytes, bytes]] = scope["headers"]
        query_string: bytes = scope["query_string"]
        path_bytes: bytes = scope.get("raw_path") or scope["path"].encode()
        if sum(len(name) + len(value) for name, value in raw) + len(query_string) + len(path_bytes) > _HEAD_LIMIT:
            raise refusal("RequestHeaderSectionTooLarge")
        headers = tuple([(_text(name), _text(value)) for name, value in raw])
        named: dict[str, str] = {}
        for name, value in headers:
            named[name] = f"{named[name]},{value.strip()}" if name in named else value.strip()
        path = _text(path_bytes)
        host = named.get("host", "")
        bucket = _bucket_of_host(host)
        resource = f"/{bucket}{path}" if bucket else path
        bucket_bytes, _, key_bytes = resource[1:].partition("/")
        bucket, key = _decoded(bucket_bytes), _decoded(key_bytes)
        length = named.get("content-length")
        return cls(
            method=scope["method"],
            path=path,
            raw_query=_text(query_string),
            headers=headers,
            bucket=bucket,
            key=key,
            resource=resource,
            host=host,
            scheme=scope.get("scheme", "http"),
            query=_query(_text(query_string)),
            named=named,
            length=int(length) if length is not None and _LENGTH.fullmatch(length) else None,
        )

    def header(self, name: str) -> str | None:
        """Give a header; those of AWS may stand in the query of a presigned URL instead."""
        value = self.named.get(name)
        if value is None and name.startswith("x-amz-"):
            value = next((each for key, each in self.query.items() if key.lower() == name), None)
        return value

    def check_names(self) -> None:
        """Raise `S3Error` for a bucket or a key that cannot be."""
        if self.bucket:
            check_bucket(self.bucket)
        check_key(self.key)


def check_bucket(bucket: str) -> None:
    """Raise `S3Error` for a name that no bucket can have."""
    if bucket_problem(bucket):
        raise refusal("InvalidBucketName", BucketName=bucket)


def check_key(key: str) -> None:
    """Raise `S3Error` for a key that is too long."""
    size = len(key.encode())
    if size > LONGEST_KEY:
        raise refusal("KeyTooLongError", Size=str(size), MaxSizeAllowed=str(LONGEST_KEY))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError as error:
        raise refusal("InvalidURI", URI=text.encode("utf-8", "replace").decode()[:200]) from error


def _query(text: str) -> Mapping[str, str]:
    """Read a query; of a parameter that is repeated the first one counts."""
    found: dict[str, str] = {}
    items = text.split("&") if text else []
    if len(items) > _MOST_PARAMETERS:
        raise refusal("InvalidURI")
    for item in items:
        name, _, value = item.partition("=")
        if name:
            found.setdefault(_decoded(name), _decoded(value))
    return found


def _bucket_of_host(host: str) -> str:
    """Give the bucket that a Host header names, or "": then it is in the path."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    name = name.lower().rstrip(".")
    found = _HOST_OF_S3.fullmatch(name)
    bucket = (found[1] or "") if found else name.removesuffix(".localhost") if name.endswith(".localhost") else ""
    return "" if not bucket or bucket_problem(bucket) or _is_address(name) else bucket


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
