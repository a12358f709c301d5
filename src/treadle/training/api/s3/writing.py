"""PutObject, CopyObject, DeleteObject and DeleteObjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from treadle.aws.checksums import checksum, value
from treadle.errors import ObjectError, ServiceError
from treadle.seams import Deletion, ObjectInfo, ObjectProperties, ObjectReader, ObjectStage
from treadle.training.api.s3 import xml
from treadle.training.api.s3.answers import Answer, of_xml
from treadle.training.api.s3.checks import body_checks, declared_algorithm
from treadle.training.api.s3.conditions import check_deletion, check_source, write_check
from treadle.training.api.s3.errors import of_object_error, of_service_error, refusal
from treadle.training.api.s3.headers import (
    checksum_headers,
    iso_date,
    quoted,
    read_properties,
    refuse_unsupported,
    told_on_writing,
)
from treadle.training.api.s3.intake import Intake, deliver
from treadle.training.api.s3.reading import check_version
from treadle.training.api.s3.request import S3Request, check_bucket, check_key
from treadle.training.api.s3.store import Call, Store

__all__ = [
    "Landing",
    "Source",
    "Sums",
    "checksummed",
    "copy_object",
    "delete_object",
    "delete_objects",
    "opened",
    "put_object",
    "source_of",
]

Sums: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs of algorithm and Base64 text."""

_MOST_DELETIONS = 1000


class Landing:
    """Where a body lands: a stage, opened in the thread that first has something to write."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake
        self.stage: ObjectStage | None = None

    def open(self, stage: ObjectStage) -> ObjectStage:
        """Take a stage that has just been opened."""
        self.stage = stage
        return stage

    def close(self) -> None:
        """Forget what was not committed."""
        if self.stage is not None:
            self.stage.close()


async def put_object(store: Store, call: Call) -> Answer:
    """PutObject."""
    request = call.request
    properties = read_properties(request)
    check = write_check(request.header, request.key)
    landing = Landing(Intake(request, call.admitted, body_checks(request), store.limits.object))
    intake = landing.intake

    def stage() -> ObjectStage:
        return landing.stage or landing.open(store.objects.stage(request.bucket))

    def finish(batch: Sequence[bytes]) -> Answer:
        begun = stage()
        intake.take(batch, begun)
        sums = intake.verify(begun)
        kept = msgspec.structs.replace(properties, checksums=sums, checksum_type="FULL_OBJECT" if sums else "")
        info = begun.commit(request.key, properties=kept, check=check)
        begun.close()
        return Answer(200, {"etag": quoted(info.etag), **checksum_headers(kept), **told_on_writing(kept)})

    try:
        return await deliver(call.incoming, store.run, lambda batch: intake.take(batch, stage()), finish)
    finally:
        landing.close()


# ---------------------------------------------------------------------------------------------------------------------
# Copies
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """The object that a copy is of."""

    bucket: str
    key: str


def source_of(store: Store, call: Call) -> Source:
    """Read what a copy is of, and check that the caller may read it. Raises `S3Error`."""
    request = call.request
    text = request.header("x-amz-copy-source") or ""
    path, _, version = text.partition("?versionId=")
    if version not in {"", "null"}:
        raise refusal("NoSuchVersion", VersionId=version)
    try:
        bucket, _, key = unquote(path, errors="strict").removeprefix("/").partition("/")
    except UnicodeDecodeError:
        bucket = key = ""
    if not bucket or not key or bucket.startswith("arn:"):
        message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise refusal("InvalidArgument", message, ArgumentName="x-amz-copy-source", ArgumentValue=text)
    check_bucket(bucket)
    check_key(key)
    store.check_owner(request.header("x-amz-source-expected-bucket-owner"))
    store.check_allowed(call.admitted, "s3:GetObject", bucket, key)
    return Source(bucket, key)


def copy_object(store: Store, call: Call) -> Answer:
    """CopyObject: the bytes of one object under another key, with its properties or with new ones."""
    request = call.request
    source = source_of(store, call)
    directive = (request.header("x-amz-metadata-directive") or "COPY").upper()
    if directive not in {"COPY", "REPLACE"}:
        message = "Unknown metadata directive."
        raise refusal("InvalidArgument", message, ArgumentName="x-amz-metadata-directive", ArgumentValue=directive)
    given = read_properties(request)
    algorithm, _ = declared_algorithm(request)
    check = write_check(request.header, request.key)
    with opened(store, source) as reader:
        info = reader.info
        check_source(request.header, info)
        if info.size > store.limits.object:
            message = "The specified copy source is larger than the maximum allowable size for a copy source"
            raise refusal("InvalidRequest", f"{message}: {store.limits.object}")
        kept = given if directive == "REPLACE" else _inherited(info.properties, given)
        if (source.bucket, source.key) == (request.bucket, request.key) and directive == "COPY" and kept == _bare(info):
            message = (
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes."
            )
            raise refusal("InvalidRequest", message)
        with store.objects.stage(request.bucket) as stage:
            stage.append(reader)
            sums = checksummed(reader, algorithm) if algorithm else _whole_sums(info.properties)
            kept = msgspec.structs.replace(kept, checksums=sums, checksum_type="FULL_OBJECT" if sums else "")
            # The etag of an object that was put together is not that of its bytes, and the copy is of one part.
            etag = "" if "-" in info.etag else info.etag
            copied = stage.commit(request.key, properties=kept, etag=etag, check=check)
    return of_xml("CopyObjectResult", _result(copied), told_on_writing(kept))


def opened(store: Store, source: Source) -> ObjectReader:
    """Open what a copy is of. Raises `S3Error` that names the source."""
    try:
        return store.objects.open(source.bucket, source.key)
    except ObjectError as error:
        raise of_object_error(error, source.bucket, source.key) or error from error


def _bare(info: ObjectInfo) -> ObjectProperties:
    """Give the properties of an object that a client chooses."""
    return ObjectProperties(headers=info.properties.headers, metadata=info.properties.metadata)


def _inherited(present: ObjectProperties, given: ObjectProperties) -> ObjectProperties:
    """Give the properties of a copy: those of the source, but storage and encryption as the request says."""
    own = {name: text for name, text in given.headers if name.startswith("x-amz-")}
    return ObjectProperties(headers=tuple(sorted({**dict(present.headers), **own}.items())), metadata=present.metadata)


def _whole_sums(properties: ObjectProperties) -> Sums:
    return properties.checksums if properties.checksum_type == "FULL_OBJECT" else ()


def checksummed(reader: ObjectReader, algorithm: str, start: int = 0, length: int | None = None) -> Sums:
    """Compute a checksum of an object's bytes."""
    found = checksum(algorithm)
    for piece in reader.read(start, length):
        found.update(piece)
    return ((algorithm, value(found.digest())),)


def _result(info: ObjectInfo) -> list[str]:
    return [
        xml.element("LastModified", iso_date(info.modified_at)),
        xml.element("ETag", quoted(info.etag)),
        *[xml.element(f"Checksum{algorithm}", text) for algorithm, text in info.properties.checksums],
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Deletions
# ---------------------------------------------------------------------------------------------------------------------


def delete_object(store: Store, request: S3Request) -> Answer:
    """DeleteObject: no error when there is none."""
    refuse_unsupported(request)
    check_version(request)
    etag = request.header("if-match")
    store.objects.delete(request.bucket, request.key, check=check_deletion(etag) if etag is not None else None)
    return Answer(204)


def delete_objects(store: Store, call: Call, body: bytes) -> Answer:
    """DeleteObjects: each key is told by itself whether it is gone."""
    request = call.request
    refuse_unsupported(request)
    asked = xml.read(body, "Delete")
    targets = asked.all("Object")
    if not 1 <= len(targets) <= _MOST_DELETIONS or any(each.find("Key") in {None, ""} for each in targets):
        raise refusal("MalformedXML")
    quiet = (asked.find("Quiet") or "").strip() == "true"
    results = []
    with store.objects.deleting(request.bucket) as delete:
        for target in targets:
            key = target.find("Key") or ""
            try:
                _delete_one(store, call, delete, key, target)
            except ServiceError as error:
                refused = of_service_error(error)
                told = [("Key", key), ("Code", refused.code), ("Message", refused.message)]
                results.append(xml.element("Error", [xml.element(name, text) for name, text in told]))
            else:
                if not quiet:
                    results.append(xml.element("Deleted", [xml.element("Key", key)]))
    return of_xml("DeleteResult", results)


def _delete_one(store: Store, call: Call, delete: Deletion, key: str, target: xml.Element) -> None:
    check_key(key)
    store.check_allowed(call.admitted, "s3:DeleteObject", call.request.bucket, key)
    if (target.find("VersionId") or "null") != "null":
        raise refusal("NoSuchVersion")
    if target.find("Size") is not None or target.find("LastModifiedTime") is not None:
        raise refusal("NotImplemented", "Deletions by size or time are not implemented by Treadle.")
    etag = target.find("ETag")
    try:
        delete(key, check=check_deletion(etag) if etag else None)
    except ObjectError as error:
        raise of_object_error(error, call.request.bucket, key) or error from error
