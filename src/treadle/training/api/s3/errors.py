"""S3's errors: a code has one status and one usual message; what else there is to say stands in elements of its own.

Source: "Error responses", Amazon S3 API Reference; elements and wording as the service sends them.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from treadle.errors import BucketNotEmpty, BucketNotFound, NoRoom, ObjectError, ObjectNotFound, ServiceError

__all__ = ["S3Error", "of_object_error", "of_service_error", "refusal"]

_CODES: Final[Mapping[str, tuple[int, str]]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "The authorization query parameters that you provided are not valid."),
    "BadDigest": (400, "The Content-MD5 you specified did not match what we received."),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty"),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalLocationConstraintException": (
        400,
        "The specified location-constraint is not valid for the region of this endpoint.",
    ),
    "IncompleteBody": (400, "You did not provide the number of bytes specified by the Content-Length HTTP header"),
    "InsufficientStorage": (507, "There is no room left on the disk of the service for this object."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidBucketOwnerAWSAccountID": (
        400,
        "The value of the expected bucket owner parameter must be an AWS Account ID.",
    ),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidPart": (
        400,
        (
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the "
            "specified entity tag may not match the part's entity tag."
        ),
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidStorageClass": (400, "The storage class you specified is not valid"),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedTrailerError": (
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate against our published schema"),
    "MaxMessageLengthExceeded": (400, "Your request was too big."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (
        404,
        (
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or "
            "completed."
        ),
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented"),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "RequestHeaderSectionTooLarge": (400, "Your request header and query parameters exceed the maximum allowed size."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "RequestTimeout": (
        400,
        (
            "Your socket connection to the server was not read from or written to within the timeout period. Idle "
            "connections will be closed."
        ),
    ),
    "SignatureDoesNotMatch": (
        403,
        (
            "The request signature we calculated does not match the signature you provided. Check your key and signing "
            "method."
        ),
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}

_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE})


class S3Error(ServiceError):
    """A refusal of S3; `details` are the elements of its XML besides code and message, in their order."""

    def __init__(self, code: str, message: str, status: int, details: Mapping[str, str]) -> None:
        super().__init__(code, message, status=status)
        self.details = details


def refusal(code: str, message: str = "", /, **details: str) -> S3Error:
    """Give the error of a code, with its usual message unless there is a better one."""
    status, usual = _CODES[code]
    if code == "NotImplemented" and "Header" in details:
        usual += f": {details['Header']}"  # SDKs do not show the elements of an error
    return S3Error(code, message or usual, status, details)


def of_service_error(error: ServiceError) -> S3Error:
    """Give an error of another part, which uses S3's codes, as one of S3."""
    return error if isinstance(error, S3Error) else refusal(error.code, error.message)


def of_object_error(error: ObjectError, bucket: str, key: str) -> S3Error | None:
    """Give what the store says in S3's words, or None for a fault of the service."""
    match error:
        case BucketNotFound():
            return refusal("NoSuchBucket", BucketName=bucket)
        case ObjectNotFound():
            return refusal("NoSuchKey", Key=key)
        case BucketNotEmpty():
            return refusal("BucketNotEmpty", BucketName=bucket)
        case NoRoom():
            return refusal("InsufficientStorage")
    cause = error.__cause__
    # Files that are open at once are limited, and will be closed again: SDKs try again when they hear this.
    return refusal("SlowDown") if isinstance(cause, OSError) and cause.errno in _SCARCE else None
