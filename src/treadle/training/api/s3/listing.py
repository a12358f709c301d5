"""Listings of objects, in both forms, and of their versions, page by page.

A page ends after so many entries, an entry being an object or a common prefix. Where the next one begins is told by the
last entry; version 2 wraps it in a token that means nothing to anybody else. After a common prefix all keys that start
with it are skipped, which is not the same as starting after the prefix as a key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from treadle.errors import ObjectNotFound
from treadle.seams import CommonPrefix, ObjectInfo, Objects
from treadle.training.api.s3 import xml
from treadle.training.api.s3.answers import Answer, of_xml
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.headers import iso_date, quoted, url_encoded
from treadle.training.api.s3.request import S3Request
from treadle.training.api.s3.store import Store

__all__ = [
    "list_object_versions",
    "list_objects",
    "list_objects_v2",
    "naming",
    "token_of",
    "token_read",
    "whole_number",
]

Entry: TypeAlias = ObjectInfo | CommonPrefix

_LARGEST_PAGE: Final = 1000
_LARGEST_NUMBER: Final = (1 << 31) - 1
_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class _Page:
    entries: Sequence[Entry]
    truncated: bool

    @property
    def objects(self) -> Iterator[ObjectInfo]:
        return (each for each in self.entries if isinstance(each, ObjectInfo))

    @property
    def prefixes(self) -> Iterator[str]:
        return (each.prefix for each in self.entries if isinstance(each, CommonPrefix))


def _page(objects: Objects, request: S3Request, after: str, *, skip: bool, limit: int) -> _Page:
    """Give the entries after a key, or with `skip` after all keys that start with it."""
    query = request.query
    start = after + _LAST_CHARACTER if skip else after
    browsed = objects.browse(
        request.bucket, query.get("prefix", ""), delimiter=query.get("delimiter", ""), start_after=start
    )
    if not limit:
        return _Page((), truncated=False)
    entries: list[Entry] = []
    for each in browsed:
        if skip and _name(each).startswith(after):
            continue
        if len(entries) == limit:
            return _Page(entries, truncated=True)
        try:
            # A file that somebody put there has no etag until it is asked for.
            known = isinstance(each, CommonPrefix) or each.etag != ""
            entries.append(each if known else objects.head(request.bucket, _name(each)))
        except ObjectNotFound:  # gone since it was seen
            continue
    return _Page(entries, truncated=False)


def _name(entry: Entry) -> str:
    return entry.prefix if isinstance(entry, CommonPrefix) else entry.key


def _last(page: _Page) -> tuple[str, bool]:
    """Give where the next page begins, and whether that is a prefix that is to be skipped."""
    return _name(page.entries[-1]), isinstance(page.entries[-1], CommonPrefix)


def list_objects_v2(store: Store, request: S3Request) -> Answer:
    """ListObjectsV2."""
    query = request.query
    token = query.get("continuation-token")
    if token == "":
        raise _wrong("continuation-token", "", "The continuation token provided is incorrect")
    after, skip = token_read(token) if token is not None else (query.get("start-after", ""), False)
    limit = min(whole_number(query, "max-keys", _LARGEST_PAGE), _LARGEST_PAGE)
    name = naming(query)
    page = _page(store.objects, request, after, skip=skip, limit=limit)
    content = [
        *_head(request, name, limit, truncated=page.truncated),
        xml.element("KeyCount", len(page.entries)),
        *([xml.element("ContinuationToken", token)] if token is not None else []),
        *([xml.element("StartAfter", name(query["start-after"]))] if "start-after" in query else []),
        *([xml.element("NextContinuationToken", token_of(*_last(page)))] if page.truncated else []),
        *_contents(page, name, store.owner() if query.get("fetch-owner") == "true" else ""),
    ]
    return of_xml("ListBucketResult", content)


def list_objects(store: Store, request: S3Request) -> Answer:
    """ListObjects, the first form."""
    query = request.query
    limit = min(whole_number(query, "max-keys", _LARGEST_PAGE), _LARGEST_PAGE)
    name = naming(query)
    marker = query.get("marker", "")
    page = _marked(store.objects, request, marker, limit)
    content = [
        *_head(request, name, limit, truncated=page.truncated),
        xml.element("Marker", name(marker)),
        # Without a delimiter the last key of the page is the marker, and S3 does not repeat it.
        *([xml.element("NextMarker", name(_last(page)[0]))] if page.truncated and query.get("delimiter") else []),
        *_contents(page, name, store.owner()),
    ]
    return of_xml("ListBucketResult", content)


def list_object_versions(store: Store, request: S3Request) -> Answer:
    """ListObjectVersions: every object has one version, which is called null. Who empties a bucket asks for them."""
    query = request.query
    limit = min(whole_number(query, "max-keys", _LARGEST_PAGE), _LARGEST_PAGE)
    name = naming(query)
    marker, version = query.get("key-marker", ""), query.get("version-id-marker", "")
    if version and not marker:
        raise _wrong("version-id-marker", version, "A version-id marker cannot be specified without a key marker.")
    page = _marked(store.objects, request, marker, limit)
    following = _last(page)[0] if page.truncated else ""
    content = [
        *_head(request, name, limit, truncated=page.truncated),
        xml.element("KeyMarker", name(marker)),
        xml.element("VersionIdMarker", version),
        *([xml.element("NextKeyMarker", name(following))] if following else []),
        *([xml.element("NextVersionIdMarker", "null")] if following else []),
        *_contents(page, name, store.owner(), "Version"),
    ]
    return of_xml("ListVersionsResult", content)


def _marked(objects: Objects, request: S3Request, marker: str, limit: int) -> _Page:
    """Give the page after a marker; one that is a common prefix of this listing stands for all of it."""
    delimiter, prefix = request.query.get("delimiter", ""), request.query.get("prefix", "")
    skip = bool(delimiter) and marker.endswith(delimiter) and len(marker) > len(prefix) and marker.startswith(prefix)
    return _page(objects, request, marker, skip=skip, limit=limit)


def _head(request: S3Request, name: Callable[[str], str], limit: int, *, truncated: bool) -> list[str]:
    query = request.query
    return [
        xml.element("Name", request.bucket),
        xml.element("Prefix", name(query.get("prefix", ""))),
        *([xml.element("Delimiter", name(query["delimiter"]))] if query.get("delimiter") else []),
        xml.element("MaxKeys", limit),
        *([xml.element("EncodingType", "url")] if "encoding-type" in query else []),
        xml.element("IsTruncated", truncated),
    ]


def _contents(page: _Page, name: Callable[[str], str], owner: str, kind: str = "Contents") -> Iterator[str]:
    version = [xml.element("VersionId", "null"), xml.element("IsLatest", "true")] if kind == "Version" else []
    for info in page.objects:
        storage = dict(info.properties.headers).get("x-amz-storage-class", "STANDARD")
        yield xml.element(
            kind,
            [
                xml.element("Key", name(info.key)),
                *version,
                xml.element("LastModified", iso_date(info.modified_at)),
                xml.element("ETag", quoted(info.etag)),
                *[xml.element("ChecksumAlgorithm", each) for each, _ in info.properties.checksums],
                *([xml.element("ChecksumType", info.properties.checksum_type)] if info.properties.checksums else []),
                xml.element("Size", info.size),
                owner,
                xml.element("StorageClass", storage),
            ],
        )
    for prefix in page.prefixes:
        yield xml.element("CommonPrefixes", [xml.element("Prefix", name(prefix))])


def naming(query: Mapping[str, str]) -> Callable[[str], str]:
    """Give how keys are written: as they are, or encoded as in URLs. Raises `S3Error`."""
    kind = query.get("encoding-type")
    if kind is None:
        return lambda text: text
    if kind != "url":
        raise _wrong("encoding-type", kind, "Invalid Encoding Method specified in Request")
    return url_encoded


def whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    """Read a parameter that is a number. Raises `S3Error`."""
    text = query.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= _LARGEST_NUMBER):
        raise _wrong(name, text, f"Argument {name} must be an integer between 0 and {_LARGEST_NUMBER}")
    return int(text)


def token_of(after: str, skip: bool = False) -> str:
    """Give the token that says where a listing goes on: after a key, or after all that starts with it."""
    return base64.urlsafe_b64encode(f"{'p' if skip else 'k'}{after}".encode()).decode()


def token_read(token: str) -> tuple[str, bool]:
    """Give what `token_of` was given; for "" the beginning. Raises `S3Error`."""
    if not token:
        return "", False
    try:
        text = base64.urlsafe_b64decode(token.encode("ascii")).decode()
    except (binascii.Error, ValueError):
        text = ""
    if text[:1] not in {"k", "p"} or token_of(text[1:], text[0] == "p") != token:
        raise _wrong("continuation-token", token, "The continuation token provided is incorrect")
    return text[1:], text[0] == "p"


def _wrong(name: str, text: str, message: str) -> Exception:
    return refusal("InvalidArgument", message, ArgumentName=name, ArgumentValue=text)
