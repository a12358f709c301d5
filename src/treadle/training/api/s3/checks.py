"""What a client says about a body, to be held against it: MD5, checksums, sizes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from treadle.aws.checksums import ALGORITHMS, FULL_OBJECT_ALGORITHMS, read_value
from treadle.training.api.s3.errors import refusal
from treadle.training.api.s3.request import S3Request

__all__ = ["BodyChecks", "body_checks", "checksum_header", "declared_algorithm", "given_checksum"]

_PREFIX: Final = "x-amz-checksum-"
_NOT_VALUES: Final = frozenset({f"{_PREFIX}algorithm", f"{_PREFIX}type", f"{_PREFIX}mode"})
_UNKNOWN: Final = frozenset({"XXHASH64", "XXHASH3", "XXHASH128"})


@dataclass(frozen=True, slots=True)
class BodyChecks:
    """What a body must turn out to be. `value` is None where it comes after the body, in the header `trailer`."""

    md5: bytes | None = None
    algorithm: str = ""
    value: bytes | None = None
    trailer: str = ""


def checksum_header(algorithm: str) -> str:
    """Give the header that carries a checksum."""
    return f"{_PREFIX}{algorithm.lower()}"


def body_checks(request: S3Request) -> BodyChecks:
    """Read what the headers of a request say about its body. Raises `S3Error`."""
    given = given_checksum(request)
    trailer = _trailer(request.named)
    if given and trailer:
        raise refusal("InvalidRequest", "Expecting a single x-amz-checksum- header")
    algorithm = given[0] if given else _algorithm(trailer.removeprefix(_PREFIX), trailer) if trailer else ""
    _check_declared(request, algorithm)
    return BodyChecks(_md5(request), algorithm, given[1] if given else None, trailer)


def given_checksum(request: S3Request) -> tuple[str, bytes] | None:
    """Give the one checksum that the headers carry: algorithm and digest. Raises `S3Error`."""
    names = {*request.named, *(name.lower() for name in request.query)}
    found = [name for name in names if name.startswith(_PREFIX) and name not in _NOT_VALUES]
    if len(found) > 1:
        message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise refusal("InvalidRequest", message)
    for name in found:
        algorithm = _algorithm(name.removeprefix(_PREFIX), name)
        # "value-3" is the checksum of three checksums: it belongs to objects from parts only.
        digest = read_value(algorithm, (request.header(name) or "").partition("-")[0])
        if digest is None:
            raise refusal("InvalidRequest", f"Value for {name} header is invalid.")
        return algorithm, digest
    return None


def declared_algorithm(request: S3Request) -> tuple[str, str]:
    """Give algorithm and kind of the checksum that an upload in parts will have, "" for none. Raises `S3Error`."""
    text = request.header("x-amz-checksum-algorithm")
    kind = (request.header("x-amz-checksum-type") or "").upper()
    if text is None:
        if kind:
            message = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            raise refusal("InvalidRequest", message)
        return "", ""
    algorithm = _algorithm(text, "x-amz-checksum-algorithm")
    kind = kind or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    impossible = (kind == "FULL_OBJECT" and algorithm not in FULL_OBJECT_ALGORITHMS) or (
        kind == "COMPOSITE" and algorithm == "CRC64NVME"
    )
    if kind not in {"FULL_OBJECT", "COMPOSITE"} or impossible:
        message = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise refusal("InvalidRequest", message)
    return algorithm, kind


def _trailer(named: Mapping[str, str]) -> str:
    names = [each.strip().lower() for each in named.get("x-amz-trailer", "").split(",") if each.strip()]
    if len(names) > 1 or any(not name.startswith(_PREFIX) for name in names):
        raise refusal("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    return names[0] if names else ""


def _algorithm(text: str, header: str) -> str:
    name = text.upper()
    if name in _UNKNOWN:
        raise refusal("NotImplemented", Header=header)
    if name not in ALGORITHMS:
        message = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
        raise refusal("InvalidRequest", f"{message}[{', '.join(sorted(ALGORITHMS))}]")
    return name


def _check_declared(request: S3Request, algorithm: str) -> None:
    declared = request.header("x-amz-sdk-checksum-algorithm")
    if declared is None or declared.upper() == algorithm:
        return
    if not algorithm:
        if "content-md5" in request.named and declared.upper() == "MD5":
            return
        message = "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer"
        raise refusal("InvalidRequest", f"{message} headers were found.")
    raise refusal("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


def _md5(request: S3Request) -> bytes | None:
    text = request.named.get("content-md5")
    if text is None:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise refusal("InvalidDigest", **{"Content-MD5": text})
    return digest
