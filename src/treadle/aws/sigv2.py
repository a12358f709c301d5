"""Signature Version 2 of presigned S3 URLs, verified.

boto3 still writes it into presigned URLs unless it is told otherwise (`signature_version="s3v4"`), and S3 takes it.
Nothing else of the old version is taken.

Source: "Signing and authenticating REST requests (AWS signature version 2)", Amazon S3 API Reference.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from treadle.aws.sigv4 import Identity, SignatureError

__all__ = ["verify_presigned"]

# Parameters that say what is asked for, and so are signed.
_SIGNED_PARAMETERS: Final = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


def verify_presigned(
    method: str,
    resource: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    secret_for: Callable[[str], str | None],
    now: datetime,
) -> Identity:
    """Tell who made a presigned URL. Raises `SignatureError`.

    `resource` is the path with the bucket in it, percent-encoded as it came, `query` is decoded; `headers` by
    lower-case name, with those that stand in the query instead.
    """
    key, claimed, expires = (query.get(name, "") for name in ("AWSAccessKeyId", "Signature", "Expires"))
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        raise SignatureError("expired", "AccessDenied", "Invalid date (should be seconds since epoch)")
    secret = secret_for(key)
    if secret is None:
        raise SignatureError("unknown key", "InvalidAccessKeyId", "The AWS Access Key Id does not exist.", key=key)
    if now.timestamp() > int(expires):
        moment = datetime.fromtimestamp(int(expires), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise SignatureError("expired", "AccessDenied", "Request has expired", expires=moment)
    string_to_sign = "\n".join(
        [
            method,
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            expires,
            *[f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("x-amz-")],
            resource + _signed_query(query),
        ]
    )
    digest = hmac.digest(secret.encode(), string_to_sign.encode("utf-8", "surrogateescape"), "sha1")
    signature = base64.b64encode(digest).decode()
    if not hmac.compare_digest(signature.encode(), claimed.encode("utf-8", "surrogateescape")):
        raise SignatureError(
            "mismatch",
            "SignatureDoesNotMatch",
            "The signature of the URL does not match.",
            key=key,
            signature=claimed,
            string_to_sign=string_to_sign,
        )
    names = tuple(name for name in headers if name.startswith("x-amz-"))
    return Identity(
        key, "", "s3", "", claimed, headers.get("x-amz-security-token"), presigned=True, signed_headers=names
    )


def _signed_query(query: Mapping[str, str]) -> str:
    signed = [
        f"{name}={value}" if value else name for name, value in sorted(query.items()) if name in _SIGNED_PARAMETERS
    ]
    return f"?{'&'.join(signed)}" if signed else ""
