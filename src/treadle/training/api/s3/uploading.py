"""Objects that come in parts: uploads are begun, fed, listed and ended."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby, pairwise
from typing import Final

import msgspec

from treadle.aws.checksums import checksum, joined, value
from treadle.errors import BucketNotFound, ObjectNotFound
from treadle.seams import ObjectInfo, ObjectProperties, ObjectStage, Upload
from treadle.training.api.s3 import xml
from treadle.training.api.s3.answers import Answer, of_xml
from treadle.training.api.s3.checks import body_checks, declared_algorithm, given_checksum
from treadle.training.api.s3.conditions import Span, check_source, read_copy_range, write_check
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.headers import checksum_headers, iso_date, quoted, read_properties, told_on_writing
from treadle.training.api.s3.intake import Intake, deliver
from treadle.training.api.s3.listing import naming, whole_number
from treadle.training.api.s3.request import S3Request
from treadle.training.api.s3.store import Call, Store
from treadle.training.api.s3.writing import Landing, checksummed, opened, source_of

__all__ = [
    "abort_multipart_upload",
    "complete_multipart_upload",
    "create_multipart_upload",
    "list_multipart_uploads",
    "list_parts",
    "upload_part",
    "upload_part_copy",
]


_MOST_PARTS: Final = 10_000


def create_multipart_upload(store: Store, request: S3Request) -> Answer:
    """CreateMultipartUpload."""
    properties = read_properties(request)
    algorithm, kind = declared_algorithm(request)
    upload = store.uploads.begin(request.bucket, request.key, properties, algorithm=algorithm, checksum_type=kind)
    content = [
        xml.element("Bucket", request.bucket),
        xml.element("Key", request.key),
        xml.element("UploadId", upload.upload_id),
    ]
    told = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind} if algorithm else {}
    return of_xml("InitiateMultipartUploadResult", content, told_on_writing(properties) | told)


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


async def upload_part(store: Store, call: Call) -> Answer:
    """UploadPart."""
    request = call.request
    number = _number(request)
    checks = body_checks(request)
    landing = Landing(Intake(request, call.admitted, checks, store.limits.object))
    intake = landing.intake
    found: list[Upload] = []

    def stage() -> ObjectStage:
        if landing.stage is not None:
            return landing.stage
        upload = _upload(store, request)
        if upload.algorithm not in {"", checks.algorithm}:
            message = (
                f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm.lower()}, "
                f"actual checksum Type: {checks.algorithm.lower() or 'null'}"
            )
            raise refusal("InvalidRequest", message)
        found.append(upload)
        return landing.open(_staged(store, upload))

    def finish(batch: Sequence[bytes]) -> Answer:
        begun = stage()
        intake.take(batch, begun)
        sums = intake.verify(begun)
        info = _kept(begun, found[0], number, sums)
        headers = {name: text for name, text in checksum_headers(info.properties).items() if not name.endswith("-type")}
        return Answer(200, {"etag": quoted(info.etag), **headers, **told_on_writing(found[0].properties)})

    try:
        return await deliver(call.incoming, store.run, lambda batch: intake.take(batch, stage()), finish)
    finally:
        landing.close()


def upload_part_copy(store: Store, call: Call) -> Answer:
    """UploadPartCopy: a part made of bytes of an object."""
    request = call.request
    number = _number(request)
    upload = _upload(store, request)
    text = request.header("x-amz-copy-source-range")
    with opened(store, source_of(store, call)) as reader:
        info = reader.info
        check_source(request.header, info)
        span = read_copy_range(text, info) if text is not None else Span(0, info.size)
        if span.length > store.limits.object:
            raise refusal("EntityTooLarge", ProposedSize=str(span.length), MaxSizeAllowed=str(store.limits.object))
        with _staged(store, upload) as stage:
            stage.append(reader, span.start, span.length)
            sums = checksummed(reader, upload.algorithm, span.start, span.length) if upload.algorithm else ()
            part = _kept(stage, upload, number, sums)
    content = [
        xml.element("LastModified", iso_date(part.modified_at)),
        xml.element("ETag", quoted(part.etag)),
        *_sums(part),
    ]
    return of_xml("CopyPartResult", content)


def _number(request: S3Request) -> int:
    text = request.query.get("partNumber", "")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= _MOST_PARTS):
        message = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
        raise refusal("InvalidArgument", message, ArgumentName="partNumber", ArgumentValue=text)
    return int(text)


def _upload(store: Store, request: S3Request) -> Upload:
    store.objects.bucket_made_at(request.bucket)
    upload = store.uploads.get(request.bucket, request.key, request.query["uploadId"])
    if upload is None:
        raise _gone(request.query["uploadId"])
    return upload


def _gone(upload_id: str) -> Exception:
    return refusal("NoSuchUpload", UploadId=upload_id)


def _staged(store: Store, upload: Upload) -> ObjectStage:
    try:
        return store.uploads.stage(upload)
    except BucketNotFound as error:
        raise _gone(upload.upload_id) from error


def _kept(stage: ObjectStage, upload: Upload, number: int, sums: tuple[tuple[str, str], ...]) -> ObjectInfo:
    properties = ObjectProperties(checksums=sums, checksum_type="FULL_OBJECT" if sums else "")
    with stage:
        try:
            return stage.commit(f"{number:05d}", properties=properties)
        except BucketNotFound as error:  # aborted, or completed, while the part came
            raise _gone(upload.upload_id) from error


def _part_number(part: ObjectInfo) -> int:
    return int(part.key)


def _sums(part: ObjectInfo) -> list[str]:
    return [xml.element(f"Checksum{algorithm}", text) for algorithm, text in part.properties.checksums]


# ---------------------------------------------------------------------------------------------------------------------
# Listings
# ---------------------------------------------------------------------------------------------------------------------


def list_parts(store: Store, request: S3Request) -> Answer:
    """ListParts."""
    upload = _upload(store, request)
    marker = whole_number(request.query, "part-number-marker", 0)
    limit = min(whole_number(request.query, "max-parts", 1000), 1000)
    parts = [each for each in _parts(store, upload) if _part_number(each) > marker]
    page = parts[:limit]
    content = [
        xml.element("Bucket", upload.bucket),
        xml.element("Key", naming(request.query)(upload.key)),
        xml.element("UploadId", upload.upload_id),
        store.owner("Initiator"),
        store.owner(),
        xml.element("StorageClass", dict(upload.properties.headers).get("x-amz-storage-class", "STANDARD")),
        xml.element("PartNumberMarker", marker),
        *([xml.element("NextPartNumberMarker", _part_number(page[-1]))] if page else []),
        xml.element("MaxParts", limit),
        xml.element("IsTruncated", len(parts) > len(page) > 0),
        *_algorithm(upload),
        *[
            xml.element(
                "Part",
                [
                    xml.element("PartNumber", _part_number(part)),
                    xml.element("LastModified", iso_date(part.modified_at)),
                    xml.element("ETag", quoted(part.etag)),
                    xml.element("Size", part.size),
                    *_sums(part),
                ],
            )
            for part in page
        ],
    ]
    return of_xml("ListPartsResult", content)


def _algorithm(upload: Upload) -> list[str]:
    if not upload.algorithm:
        return []
    return [xml.element("ChecksumAlgorithm", upload.algorithm), xml.element("ChecksumType", upload.checksum_type)]


def _parts(store: Store, upload: Upload) -> Sequence[ObjectInfo]:
    try:
        return store.uploads.parts(upload)
    except BucketNotFound as error:
        raise _gone(upload.upload_id) from error


def list_multipart_uploads(store: Store, request: S3Request) -> Answer:
    """ListMultipartUploads."""
    query = request.query
    store.objects.bucket_made_at(request.bucket)
    name = naming(query)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    limit = min(whole_number(query, "max-uploads", 1000), 1000)
    uploads = [each for each in store.uploads.all(request.bucket) if each.key.startswith(prefix)]
    entries = _after(_grouped(uploads, prefix, delimiter), key_marker, id_marker)
    page = entries[:limit]
    truncated = len(entries) > len(page) > 0
    last = page[-1] if page else ""
    content = [
        xml.element("Bucket", request.bucket),
        xml.element("KeyMarker", name(key_marker)),
        xml.element("UploadIdMarker", id_marker),
        *([xml.element("NextKeyMarker", name(last.key if isinstance(last, Upload) else last))] if truncated else []),
        *([xml.element("NextUploadIdMarker", last.upload_id)] if truncated and isinstance(last, Upload) else []),
        xml.element("Prefix", name(prefix)),
        *([xml.element("Delimiter", name(delimiter))] if delimiter else []),
        *([xml.element("EncodingType", "url")] if "encoding-type" in query else []),
        xml.element("MaxUploads", limit),
        xml.element("IsTruncated", truncated),
        *[_listed(store, each, name(each.key)) for each in page if isinstance(each, Upload)],
        *[xml.element("CommonPrefixes", [xml.element("Prefix", name(each))]) for each in page if isinstance(each, str)],
    ]
    return of_xml("ListMultipartUploadsResult", content)


def _grouped(uploads: Sequence[Upload], prefix: str, delimiter: str) -> list[Upload | str]:
    entries: list[Upload | str] = []
    for upload in uploads:
        end = upload.key.find(delimiter, len(prefix)) if delimiter else -1
        entry = upload if end < 0 else upload.key[: end + len(delimiter)]
        if not entries or entries[-1] != entry:
            entries.append(entry)
    return entries


def _after(entries: list[Upload | str], key_marker: str, id_marker: str) -> list[Upload | str]:
    """Give the entries after the marker: uploads of the marker's own key only after the marker's upload."""
    if not key_marker:
        return entries
    keys = [each if isinstance(each, str) else each.key for each in entries]
    later = next((index for index, key in enumerate(keys) if key > key_marker), len(entries))
    same = [index for index in range(later) if keys[index] == key_marker]
    for index in same:
        entry = entries[index]
        if id_marker and isinstance(entry, Upload) and entry.upload_id == id_marker:
            return entries[index + 1 :]
    return entries[later:]


def _listed(store: Store, upload: Upload, name: str) -> str:
    return xml.element(
        "Upload",
        [
            xml.element("Key", name),
            xml.element("UploadId", upload.upload_id),
            store.owner("Initiator"),
            store.owner(),
            xml.element("StorageClass", dict(upload.properties.headers).get("x-amz-storage-class", "STANDARD")),
            xml.element("Initiated", iso_date(upload.begun_at)),
            *_algorithm(upload),
        ],
    )


# ---------------------------------------------------------------------------------------------------------------------
# Ends
# ---------------------------------------------------------------------------------------------------------------------


def abort_multipart_upload(store: Store, request: S3Request) -> Answer:
    """AbortMultipartUpload."""
    store.uploads.abort(_upload(store, request))
    return Answer(204)


@dataclass(frozen=True, slots=True)
class _Named:
    """A part as the client names it at the end: number, etag, and its checksums by algorithm."""

    number: int
    etag: str
    sums: Mapping[str, str]


def complete_multipart_upload(store: Store, request: S3Request, body: bytes) -> Answer:
    """CompleteMultipartUpload. Asked again by a client that did not hear the answer, it is answered again."""
    named = _read_parts(body)
    check = write_check(request.header, request.key)
    upload_id = request.query["uploadId"]
    store.objects.bucket_made_at(request.bucket)
    upload = store.uploads.get(request.bucket, request.key, upload_id)
    if upload is None:
        return _completed(request, _finished(store, request))
    parts = _chosen(store, upload, named)
    etag = hashlib.md5(b"".join([bytes.fromhex(each.etag) for each in parts]), usedforsecurity=False).hexdigest()
    properties = msgspec.structs.replace(
        upload.properties,
        checksums=_whole_checksum(request, upload, parts),
        checksum_type=upload.checksum_type,
        parts=tuple((size, len(list(run))) for size, run in groupby(each.size for each in parts)),
        upload_id=upload.upload_id,
    )
    expected = request.header("x-amz-mp-object-size")
    size = sum(each.size for each in parts)
    if expected is not None and expected != str(size):
        message = f"The provided 'x-amz-mp-object-size' header value {expected[:40]} does not match what was computed: "
        raise refusal("InvalidRequest", f"{message}{size}")
    try:
        info = store.uploads.complete(upload, parts, properties=properties, etag=f"{etag}-{len(parts)}", check=check)
    except BucketNotFound:  # another request has ended the upload meanwhile, or the bucket is gone
        return _completed(request, _finished(store, request))
    except ObjectNotFound as error:
        raise refusal("InvalidPart", UploadId=upload_id) from error
    return _completed(request, info)


def _finished(store: Store, request: S3Request) -> ObjectInfo:
    """Give the object that came by an upload which is there no more. Raises `S3Error`: NoSuchUpload."""
    upload_id = request.query["uploadId"]
    try:
        info = store.objects.head(request.bucket, request.key)
    except BucketNotFound:
        raise
    except ObjectNotFound as error:
        raise _gone(upload_id) from error
    if info.properties.upload_id != upload_id:
        raise _gone(upload_id)
    return info


def _completed(request: S3Request, info: ObjectInfo) -> Answer:
    content = [
        xml.element("Location", f"{request.scheme}://{request.host}{request.path}"),
        xml.element("Bucket", request.bucket),
        xml.element("Key", request.key),
        xml.element("ETag", quoted(info.etag)),
        *_sums(info),
        *([xml.element("ChecksumType", info.properties.checksum_type)] if info.properties.checksums else []),
    ]
    return of_xml("CompleteMultipartUploadResult", content, told_on_writing(info.properties))


def _read_parts(body: bytes) -> list[_Named]:
    found = xml.read(body, "CompleteMultipartUpload").all("Part")
    if not 1 <= len(found) <= _MOST_PARTS:
        raise refusal("MalformedXML")
    parts = []
    for each in found:
        number, etag = (each.find("PartNumber") or "").strip(), each.find("ETag")
        if not (number.isascii() and number.isdigit() and len(number) < 6) or etag is None:
            raise refusal("MalformedXML")
        told = [child for child in each.children if child.name.startswith("Checksum")]
        sums = {child.name.removeprefix("Checksum"): child.text.strip() for child in told}
        parts.append(_Named(int(number), etag.strip().strip('"'), sums))
    if any(one.number >= other.number for one, other in pairwise(parts)):
        raise refusal("InvalidPartOrder")
    return parts


def _chosen(store: Store, upload: Upload, named: Sequence[_Named]) -> list[ObjectInfo]:
    there = {_part_number(each): each for each in _parts(store, upload)}
    chosen = []
    for each in named:
        part = there.get(each.number)
        told = {"UploadId": upload.upload_id, "PartNumber": str(each.number), "ETag": each.etag}
        if part is None or part.etag != each.etag:
            raise refusal("InvalidPart", **told)
        sums = dict(part.properties.checksums)
        if any(sums.get(algorithm, text) != text for algorithm, text in each.sums.items()):
            raise refusal("InvalidPart", **told)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < store.limits.part:
            raise refusal(
                "EntityTooSmall",
                ProposedSize=str(part.size),
                MinSizeAllowed=str(store.limits.part),
                PartNumber=str(_part_number(part)),
                ETag=part.etag,
            )
    return chosen


def _whole_checksum(request: S3Request, upload: Upload, parts: Sequence[ObjectInfo]) -> tuple[tuple[str, str], ...]:
    """Give the checksum of the whole from those of the parts, and hold it against what the client says."""
    given = given_checksum(request)
    algorithm = upload.algorithm
    if not algorithm:
        return ()
    digests = [_digest(part, algorithm) for part in parts]
    if upload.checksum_type == "FULL_OBJECT":
        sizes = [part.size for part in parts]
        pairs = zip(digests, sizes, strict=True)
        digest = reduce(lambda one, other: (joined(algorithm, one[0], *other), 0), pairs)[0]
        text = value(digest)
    else:
        whole = checksum(algorithm)
        for each in digests:
            whole.update(each)
        digest = whole.digest()
        text = f"{value(digest)}-{len(parts)}"
    if given is not None and given != (algorithm, digest):
        raise refusal("BadDigest", f"The {given[0]} you specified did not match the calculated checksum.")
    return ((algorithm, text),)


def _digest(part: ObjectInfo, algorithm: str) -> bytes:
    return base64.b64decode(dict(part.properties.checksums)[algorithm])
