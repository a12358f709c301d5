"""Who may come in: signatures, verified and refused in S3's words.

Besides the signature itself S3 wants that whatever may change the meaning of a request is signed: every `x-amz-` header
that is there must be among the signed ones, else a stranger could add `x-amz-copy-source` to a URL that he was given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from treadle.aws import sigv2
from treadle.aws.chunked import ChunkedDecoder, ChunkSigner
from treadle.aws.sigv4 import UNSIGNED_PAYLOAD, Fault, Identity, Scope, SignatureError, signing_key, verify
from treadle.aws.sigv4 import claimed_scope as _claimed
from treadle.errors import ServiceError
from treadle.training import access
from treadle.training.api.s3.errors import S3Error, refusal
from treadle.training.api.s3.request import S3Request

__all__ = ["Admitted", "Gate"]

_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SKEW_MILLISECONDS: Final = "900000"
_ANYBODY: Final = "anonymous"
_IN_QUERY: Final = "Error parsing the X-Amz-Credential parameter"
_IN_HEADER: Final = "The authorization header is malformed"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who sent a request, and what its body must be: its SHA-256 or None, and the reader of its encoding or None."""

    identity: access.Identity
    sha256: str | None = None
    decoder: ChunkedDecoder | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """Verifies requests. Without `authenticate` it takes all, and believes what they say."""

    secret_for: Callable[[str], str | None]
    region: str
    account: str
    authenticate: bool
    identify: Callable[[Identity], access.Identity] | None
    clock: Callable[[], datetime]

    def admit(self, request: S3Request) -> Admitted:
        """Tell who sent a request. Raises `S3Error`."""
        identity = self._verified(request) if self.authenticate else self._believed(request)
        payload = request.header("x-amz-content-sha256")
        return self._admitted(identity, UNSIGNED_PAYLOAD if payload is None else payload)

    def _admitted(self, identity: Identity, payload: str) -> Admitted:
        key = self._identified(identity)
        match payload:
            case "UNSIGNED-PAYLOAD":
                return Admitted(key)
            case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
                return Admitted(key, decoder=ChunkedDecoder(None, trailers=True))
            case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" | "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
                signer = self._signer(identity) if self.authenticate else None
                return Admitted(key, decoder=ChunkedDecoder(signer, trailers=payload.endswith("-TRAILER")))
            case _ if _HEX.fullmatch(payload):
                return Admitted(key, sha256=payload)
        if payload.startswith("STREAMING-AWS4-ECDSA"):
            raise refusal("NotImplemented", Header="x-amz-content-sha256")
        message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256"
        raise refusal("InvalidArgument", f"{message} value.", ArgumentName="x-amz-content-sha256")

    def _identified(self, signed: Identity) -> access.Identity:
        if not self.authenticate or self.identify is None:
            return access.Identity(signed.access_key_id, f"arn:aws:iam::{self.account}:root", self.account)
        try:
            return self.identify(signed)
        except ServiceError as error:
            expired = error.code == "ExpiredTokenException"
            raise refusal("ExpiredToken" if expired else "InvalidToken") from error

    def _signer(self, identity: Identity) -> ChunkSigner:
        scope = Scope(identity.access_key_id, identity.timestamp[:8], identity.region, identity.service)
        secret = self.secret_for(identity.access_key_id) or ""
        return ChunkSigner(signing_key(secret, scope), identity.timestamp, str(scope), identity.signature)

    def _believed(self, request: S3Request) -> Identity:
        scope = _claimed(request.headers, request.raw_query)
        key = scope.access_key_id if scope else request.query.get("AWSAccessKeyId", _ANYBODY)
        presigned = "authorization" not in request.named
        return Identity(key, self.region, "s3", "", "", presigned=presigned)

    def _verified(self, request: S3Request) -> Identity:
        if request.named.get("authorization", "").startswith("AWS "):
            message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
            raise refusal("InvalidRequest", message)
        # Before the signature: clients that leave it out (curl) sign the hash of the body.
        if "authorization" in request.named and "x-amz-content-sha256" not in request.named:
            raise refusal("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        try:
            old = "AWSAccessKeyId" in request.query and "authorization" not in request.named
            identity = self._old(request) if old else self._current(request)
        except SignatureError as error:
            raise self._refused(error, request) from error
        unsigned = [name for name in request.named if name.startswith("x-amz-") and not _is_signed(name, identity)]
        if unsigned:
            message = "There were headers present in the request which were not signed"
            raise refusal("AccessDenied", message, HeadersNotSigned=", ".join(unsigned))
        return identity

    def _current(self, request: S3Request) -> Identity:
        return verify(
            request.method,
            request.path,
            request.raw_query,
            request.headers,
            request.named.get("x-amz-content-sha256", UNSIGNED_PAYLOAD),
            secret_for=self.secret_for,
            now=self.clock(),
            region=self.region,
            service="s3",
        )

    def _old(self, request: S3Request) -> Identity:
        hoisted = {
            name.lower(): value
            for name, value in request.query.items()
            if name.lower().startswith("x-amz-") or name.lower() in {"content-md5", "content-type"}
        }
        return sigv2.verify_presigned(
            request.method,
            request.resource,
            request.query,
            {**hoisted, **request.named},
            secret_for=self.secret_for,
            now=self.clock(),
        )

    def _refused(self, error: SignatureError, request: S3Request) -> S3Error:
        details = error.details
        fault: Fault = error.fault
        in_query = "X-Amz-Credential" in request.query
        malformed = "AuthorizationQueryParametersError" if in_query else "AuthorizationHeaderMalformed"
        match fault:
            case "missing":
                return refusal("AccessDenied")
            case "unknown key":
                return refusal("InvalidAccessKeyId", AWSAccessKeyId=details["key"])
            case "expired":
                return _expired(error.message, details, self.clock())
            case "skewed":
                return refusal(
                    "RequestTimeTooSkewed",
                    RequestTime=details["signed"],
                    ServerTime=_iso(self.clock()),
                    MaxAllowedSkewMilliseconds=_SKEW_MILLISECONDS,
                )
            case "scope" if "expected" in details:
                where = _IN_QUERY if in_query else _IN_HEADER
                message = f"{where}; the region '{details['given']}' is wrong; expecting '{details['expected']}'"
                return refusal(malformed, message, Region=details["expected"])
            case "mismatch":
                return _mismatch(details)
            case "malformed" | "scope":
                return refusal(malformed, error.message)


def _is_signed(name: str, identity: Identity) -> bool:
    # The hash of the body is signed by itself: it is a line of what is signed. Presigned URLs do not have it there.
    return name in identity.signed_headers or (name == "x-amz-content-sha256" and not identity.presigned)


def _expired(message: str, details: dict[str, str], now: datetime) -> S3Error:
    found = {"Expires": details["expires"], "ServerTime": _iso(now)} if "expires" in details else {}
    seconds = {"X-Amz-Expires": details["seconds"]} if "seconds" in details else {}
    return refusal("AccessDenied", message, **seconds, **found)


def _mismatch(details: dict[str, str]) -> S3Error:
    told = {
        "AWSAccessKeyId": details["key"],
        "StringToSign": details["string_to_sign"],
        "SignatureProvided": details["signature"],
        "StringToSignBytes": _bytes(details["string_to_sign"]),
    }
    if "canonical" in details:
        told |= {"CanonicalRequest": details["canonical"], "CanonicalRequestBytes": _bytes(details["canonical"])}
    return refusal("SignatureDoesNotMatch", **told)


def _bytes(text: str) -> str:
    return text.encode("utf-8", "replace").hex(" ")


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
