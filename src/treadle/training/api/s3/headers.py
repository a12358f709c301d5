"""Headers and properties: what is kept of a request that writes an object, and what a read gives back.

Encryption is kept and told, and nothing is encrypted: the objects are files of the user's own disk. What would change
what a client may rely on (keys of its own, locks, tags, access for others) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from treadle.seams import ObjectInfo, ObjectProperties
from treadle.training.api.s3.checks import checksum_header
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.request import S3Request

__all__ = [
    "checksum_headers",
    "http_date",
    "iso_date",
    "object_headers",
    "overridden",
    "owner_id",
    "quoted",
    "read_properties",
    "refuse_unsupported",
    "told_on_writing",
    "url_encoded",
]

_STORED: Final = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-storage-class",
)
_ENCRYPTION: Final = "x-amz-server-side-encryption"
_META: Final = "x-amz-meta-"
_METADATA_LIMIT: Final = 2048
_DEFAULT_TYPE: Final = "binary/octet-stream"
_STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
# An archive must be restored before it is read, and nothing here does that.
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_ENCRYPTIONS: Final = frozenset({"AES256", "aws:kms", "aws:kms:dsse"})
_OWN_ACLS: Final = frozenset({"private", "bucket-owner-full-control"})

_TAGGING: Final = "x-amz-tagging"
_UNSUPPORTED: Final = re.compile(
    r"x-amz-(?:copy-source-)?server-side-encryption-customer-.*|x-amz-object-lock-.*|x-amz-bucket-object-lock-enabled"
    r"|x-amz-tagging|x-amz-write-offset-bytes|x-amz-mfa|x-amz-if-match-.*|x-amz-rename-source.*"
)
_OVERRIDES: Final = {
    f"response-{name}": name
    for name in (
        "content-type",
        "content-language",
        "expires",
        "cache-control",
        "content-disposition",
        "content-encoding",
    )
}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def refuse_unsupported(request: S3Request) -> None:
    """Raise `S3Error` for a request that wants something of an object that is not here."""
    for name in (*request.named, *(each.lower() for each in request.query)):
        if _UNSUPPORTED.fullmatch(name) and not (name == _TAGGING and request.header(name) == ""):
            raise refusal("NotImplemented", Header=name)
        if name.startswith("x-amz-grant-"):
            raise refusal("AccessControlListNotSupported")
    if request.header("x-amz-acl") not in {None, *_OWN_ACLS}:
        raise refusal("AccessControlListNotSupported")


def read_properties(request: S3Request) -> ObjectProperties:
    """Read what is to be kept with an object. Raises `S3Error`."""
    refuse_unsupported(request)
    found = {name: _kept(name, value) for name in _STORED if (value := request.header(name)) is not None}
    _check_classes(found)
    encodings = [each.strip() for each in found.pop("content-encoding", "").split(",")]
    if rest := ",".join(each for each in encodings if each and each != "aws-chunked"):
        found["content-encoding"] = rest
    metadata = {
        name.lower().removeprefix(_META): _kept(name, value)
        for name, value in (*request.query.items(), *request.named.items())
        if name.lower().startswith(_META)
    }
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > _METADATA_LIMIT:
        raise refusal("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(_METADATA_LIMIT))
    return ObjectProperties(headers=tuple(sorted(found.items())), metadata=tuple(sorted(metadata.items())))


def _check_classes(found: dict[str, str]) -> None:
    storage = found.get("x-amz-storage-class", "STANDARD")
    if storage in _ARCHIVES:
        raise refusal("NotImplemented", Header="x-amz-storage-class")
    if storage not in _STORAGE_CLASSES:
        raise refusal("InvalidStorageClass", StorageClassRequested=storage)
    if storage == "STANDARD":
        found.pop("x-amz-storage-class", None)
    if found.get(_ENCRYPTION, "AES256") not in _ENCRYPTIONS:
        message = "The encryption method specified is not supported"
        raise refusal("InvalidArgument", message, ArgumentName=_ENCRYPTION, ArgumentValue=found[_ENCRYPTION])


def _kept(name: str, value: str) -> str:
    """Give a header's value as the bytes that it came as, each a character: what is not UTF-8 is no fault.

    Raises `S3Error` for control characters, which a presigned URL can bring: they could not be given back.
    """
    if _CONTROL.search(value):
        raise refusal("InvalidArgument", "Header value cannot be represented.", ArgumentName=name)
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def object_headers(info: ObjectInfo) -> dict[str, str]:
    """Give the headers that tell of an object, without those of its length and of checksums."""
    return {
        "content-type": _DEFAULT_TYPE,
        "accept-ranges": "bytes",
        "etag": quoted(info.etag),
        "last-modified": http_date(info.modified_at),
        **dict(info.properties.headers),
        **{f"{_META}{name}": text for name, text in info.properties.metadata},
    }


def told_on_writing(properties: ObjectProperties) -> dict[str, str]:
    """Give the headers that a write is answered with: how the object is encrypted, as far as the client asked."""
    return {name: value for name, value in properties.headers if name.startswith(_ENCRYPTION)}


def checksum_headers(properties: ObjectProperties) -> dict[str, str]:
    """Give the headers that tell an object's checksums."""
    found = {checksum_header(algorithm): text for algorithm, text in properties.checksums}
    return found | {"x-amz-checksum-type": properties.checksum_type} if found else {}


def overridden(query: Mapping[str, str]) -> dict[str, str]:
    """Give the headers that a read shall be answered with instead of the object's own. Raises `S3Error`."""
    found = {header: query[name] for name, header in _OVERRIDES.items() if name in query}
    for header, text in found.items():
        if _CONTROL.search(text):
            name = f"response-{header}"
            raise refusal("InvalidArgument", "Header value cannot be represented.", ArgumentName=name)
    return {name: text.encode().decode("latin-1") for name, text in found.items()}


def quoted(etag: str) -> str:
    """Give an etag as headers and XML have it."""
    return f'"{etag}"'


_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """Give a time as headers have it (RFC 9110 §5.6.7), whatever the locale."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return f"{_DAYS[moment.weekday()]}, {moment:%d} {_MONTHS[moment.month - 1]} {moment:%Y %H:%M:%S} GMT"


def iso_date(seconds: float) -> str:
    """Give a time as XML has it."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def url_encoded(text: str) -> str:
    """Give a key as listings with `encoding-type=url` have it."""
    return quote(text, safe="/-_.~*")


def owner_id(account: str) -> str:
    """Give the canonical id of an account: 64 digits that say nothing, as on AWS, always the same for one account."""
    from hashlib import sha256

    return sha256(f"treadle {account}".encode()).hexdigest()
