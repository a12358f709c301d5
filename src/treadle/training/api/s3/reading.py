"""GetObject, HeadObject and GetObjectTagging."""

from __future__ import annotations

import contextlib

from treadle.seams import ObjectInfo, ObjectReader
from treadle.training.api.s3 import xml
from treadle.training.api.s3.answers import Answer, of_xml
from treadle.training.api.s3.conditions import Span, is_not_modified, read_range
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.headers import checksum_headers, object_headers, overridden, refuse_unsupported
from treadle.training.api.s3.request import S3Request
from treadle.training.api.s3.store import Store

__all__ = ["check_version", "get_object", "get_object_tagging", "head_object"]

# An object that is not longer is read at once, with the headers: one change of threads for it.
_SMALL = 1 << 20


def get_object(store: Store, request: S3Request) -> Answer:
    """GetObject: the answer holds the object open, unless it is small."""
    with contextlib.ExitStack() as closing:
        reader = closing.enter_context(store.objects.open(request.bucket, request.key))
        answer = _read(request, reader.info, reader)
        if answer.reader is None:
            return answer
        if answer.length > _SMALL:
            closing.pop_all()  # whoever sends the answer closes it
            return answer
        body = b"".join(reader.read(answer.start, answer.length))
        if len(body) != answer.length:
            raise refusal("InternalError", "The file has been cut while it was read.")
        return Answer(answer.status, answer.headers, body)


def head_object(store: Store, request: S3Request) -> Answer:
    """HeadObject: the headers of GetObject."""
    with store.objects.open(request.bucket, request.key) as reader:
        answer = _read(request, reader.info, reader)
    return Answer(answer.status, answer.headers)


def get_object_tagging(store: Store, request: S3Request) -> Answer:
    """GetObjectTagging: whoever copies a large object asks for its tags. Tags are refused, so there are none."""
    check_version(request)
    with store.objects.open(request.bucket, request.key):
        return of_xml("Tagging", [xml.element("TagSet", [])])


def _read(request: S3Request, info: ObjectInfo, reader: ObjectReader) -> Answer:
    refuse_unsupported(request)
    check_version(request)
    headers = object_headers(info)
    if is_not_modified(request.header, info):
        kept = {name: value for name, value in headers.items() if name in _OF_NOT_MODIFIED}
        return Answer(304, kept)
    span = _part(request, info, headers) if "partNumber" in request.query else read_range(request.header, info)
    headers |= overridden(request.query)
    if span is None and (request.header("x-amz-checksum-mode") or "").upper() == "ENABLED":
        headers |= checksum_headers(info.properties)
    start, length = (0, info.size) if span is None else (span.start, span.length)
    headers["content-length"] = str(length)
    if span is not None and length:
        headers["content-range"] = span.header(info.size)
    return Answer(200 if span is None else 206, headers, reader=reader, start=start, length=length)


_OF_NOT_MODIFIED = frozenset({"etag", "last-modified", "cache-control", "expires", "content-location", "vary"})


def _part(request: S3Request, info: ObjectInfo, headers: dict[str, str]) -> Span | None:
    """Give the bytes of a part, as they were when the object was put together. An object without parts has one."""
    text = request.query["partNumber"]
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= 10_000):
        message = "Part number must be an integer between 1 and 10000, inclusive"
        raise refusal("InvalidArgument", message, ArgumentName="partNumber", ArgumentValue=text)
    if "range" in request.named:
        raise refusal("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    runs = info.properties.parts or ((info.size, 1),)
    count = sum(many for _, many in runs)
    number = int(text)
    if number > count:
        raise refusal("InvalidPartNumber", PartNumberRequested=text, ActualPartCount=str(count))
    if info.properties.parts:
        headers["x-amz-mp-parts-count"] = str(count)
    start = 0
    for size, many in runs:
        if number <= many:
            return Span(start + (number - 1) * size, size)
        start += size * many
        number -= many
    return None


def check_version(request: S3Request) -> None:
    """Raise `S3Error` for a version of an object: nothing has versions here, so there is only the one called null."""
    version = request.query.get("versionId", "null")
    if version != "null":
        raise refusal("NoSuchVersion", Key=request.key, VersionId=version)
