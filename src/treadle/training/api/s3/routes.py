"""Which operation a request asks for: method, what it names, and a parameter of the query that tells it from others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from treadle.training.api.s3.errors import S3Error, refusal
from treadle.training.api.s3.request import S3Request

__all__ = ["ROUTES", "SUBRESOURCES", "operation_of"]

Level: TypeAlias = Literal["service", "bucket", "object"]

ROUTES: Final[Mapping[tuple[Level, str, str], str]] = {
    ("service", "GET", ""): "ListBuckets",
    ("bucket", "GET", ""): "ListObjects",
    ("bucket", "GET", "list-type"): "ListObjectsV2",
    ("bucket", "GET", "location"): "GetBucketLocation",
    ("bucket", "GET", "uploads"): "ListMultipartUploads",
    ("bucket", "GET", "versioning"): "GetBucketVersioning",
    ("bucket", "GET", "versions"): "ListObjectVersions",
    ("bucket", "PUT", ""): "CreateBucket",
    ("bucket", "HEAD", ""): "HeadBucket",
    ("bucket", "DELETE", ""): "DeleteBucket",
    ("bucket", "POST", "delete"): "DeleteObjects",
    ("object", "GET", ""): "GetObject",
    ("object", "GET", "tagging"): "GetObjectTagging",
    ("object", "GET", "uploadId"): "ListParts",
    ("object", "HEAD", ""): "HeadObject",
    ("object", "PUT", ""): "PutObject",
    ("object", "PUT", "uploadId"): "UploadPart",
    ("object", "POST", "uploads"): "CreateMultipartUpload",
    ("object", "POST", "uploadId"): "CompleteMultipartUpload",
    ("object", "DELETE", ""): "DeleteObject",
    ("object", "DELETE", "uploadId"): "AbortMultipartUpload",
}
"""What is implemented, by what a request names, method, and parameter."""

_COPIES: Final = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}

# fmt: off
SUBRESOURCES: Final = frozenset({
    "abac", "accelerate", "acl", "analytics", "annotation", "annotations", "attributes", "cors", "delete",
    "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "list-type", "location", "logging",
    "metadataAnnotationTable", "metadataConfiguration", "metadataInventoryTable", "metadataJournalTable",
    "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
    "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention", "select",
    "select-type", "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
})
# fmt: on
"""Parameters that make another operation of a request; without one that is implemented it must not pass for less."""


def operation_of(request: S3Request) -> str:
    """Give the name of the operation. Raises `S3Error`, naming the operation, for one that is not implemented."""
    level: Level = "object" if request.key else "bucket" if request.bucket else "service"
    asked = [name for name in request.query if name in SUBRESOURCES]
    for parameter in asked or [""]:
        name = ROUTES.get((level, request.method, parameter))
        if name is not None and len(asked) <= 1:
            if level == "bucket" and request.method == "GET" and request.query.get("list-type", "2") != "2":
                raise refusal("InvalidArgument", "Invalid List Type specified in Query String")
            return _COPIES.get(name, name) if request.header("x-amz-copy-source") is not None else name
    raise _unknown(level, request.method, frozenset(request.query))


def _unknown(level: Level, method: str, parameters: frozenset[str]) -> S3Error:
    fitting = [
        (len(needed), name)
        for (its_level, its_method, needed), name in _all_operations()
        if (its_level, its_method) == (level, method) and needed <= parameters
    ]
    if not fitting:
        return refusal("MethodNotAllowed", Method=method, ResourceType=level.upper())
    name = max(fitting)[1]
    return refusal("NotImplemented", f"The operation {name} of S3 is not implemented by Treadle.", Operation=name)


@lru_cache(maxsize=1)
def _all_operations() -> list[tuple[tuple[Level, str, frozenset[str]], str]]:
    """Read from the installed service model what each operation of S3 is asked for by: needed to name the missing."""
    import botocore.session  # tens of milliseconds, for those who ask for what is not here

    model = botocore.session.Session().get_service_model("s3")
    found: list[tuple[tuple[Level, str, frozenset[str]], str]] = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path, _, query = http["requestUri"].partition("?")
        if not path.startswith("/{Bucket}") and path != "/":
            continue  # called at an address of its own
        level: Level = "object" if "{Key" in path else "bucket" if "{Bucket}" in path else "service"
        needed = frozenset(item.partition("=")[0] for item in query.split("&") if item and not item.startswith("x-id"))
        found.append(((level, http["method"], needed), name))
    # A form's target is the bucket itself, and the model has no operation for it.
    found.append((("bucket", "POST", frozenset()), "PostObject"))
    return found
