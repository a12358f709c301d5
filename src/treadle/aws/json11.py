"""AWS JSON 1.1 (and 1.0): requests, answers and errors, for a server and for a client.

An operation is named by the header `X-Amz-Target: <prefix>.<operation>`; method and path are always `POST /`. An error
is named by `__type` in the body, which is what botocore reads, and by `x-amzn-errortype`, which other clients read.

Source: Smithy, "AWS JSON 1.1 protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from treadle.aws.shapes import Operation, ServiceModel
from treadle.errors import ServiceError, TransportError
from treadle.seams import Headers, Request, Response

__all__ = ["decode_answer", "decode_call", "encode_answer", "encode_call", "encode_error", "media_type", "split_target"]

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

_READABLE: Final = frozenset({"application/x-amz-json-1.1", "application/x-amz-json-1.0", "application/json", ""})


# ---------------------------------------------------------------------------------------------------------------------
# The server's side
# ---------------------------------------------------------------------------------------------------------------------


def split_target(target: str) -> tuple[str, str]:
    """Split `X-Amz-Target` into the service's prefix and the name of the operation."""
    prefix, _, operation = target.rpartition(".")
    return prefix, operation


def media_type(model: ServiceModel) -> str:
    """Give the media type of a service's requests and answers."""
    return f"application/x-amz-json-{model.json_version}"


def decode_call(operation: Operation, body: bytes, content_type: str = "") -> dict[str, Any]:
    """Read and check the input of a call; an empty body is an empty input, as AWS's services take it.

    Raises `ServiceError`: SerializationException, ValidationException or UnsupportedMediaTypeException.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _READABLE:
        raise ServiceError(
            "UnsupportedMediaTypeException",
            f"A request in AWS JSON has the content type application/x-amz-json-1.1, not '{kind[:100]}'.",
            status=415,
        )
    try:
        return operation.input.accept(_decode(body) if body else {})
    except msgspec.DecodeError as error:
        raise ServiceError("SerializationException", f"The request is not JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise ServiceError("SerializationException", f"The request is not UTF-8, at byte {error.start}.") from None
    except RecursionError:
        raise ServiceError("SerializationException", "The request is nested too deeply.") from None


def encode_answer(operation: Operation, output: Mapping[str, Any] | None) -> bytes:
    """Write the output of an operation; empty where the model gives it none.

    Raises `TypeError` or `ValueError` for output that does not have the shape that the model promises.
    """
    if operation.output is None:
        return b""
    return _encode(operation.output.write(output or {}))


def encode_error(code: str, message: str, *, modelled: bool = False) -> bytes:
    """Write the body of an error; `modelled` for one whose text the model calls `Message`.

    Clients that are generated from the model read it there alone (those for Go and Rust), all others in both places.
    """
    return _encode({"__type": code, "message": message} | ({"Message": message} if modelled else {}))


# ---------------------------------------------------------------------------------------------------------------------
# The client's side
# ---------------------------------------------------------------------------------------------------------------------


def encode_call(model: ServiceModel, operation: str, values: Mapping[str, Any], *, endpoint: str) -> Request:
    """Build the request of a call, not signed yet; `endpoint` is the service's URL.

    Nothing but types is checked: what values are allowed is for the service to say. Raises `KeyError` for an operation
    that the model does not have, `TypeError` for a value of the wrong type.
    """
    headers: Headers = (("Content-Type", media_type(model)), ("X-Amz-Target", f"{model.target_prefix}.{operation}"))
    body = _encode(model.operation(operation).input.write(values))
    return Request("POST", f"{endpoint.rstrip('/')}/", headers, body)


def decode_answer(model: ServiceModel, operation: str, response: Response) -> dict[str, Any]:
    """Read an answer: the output, timestamps as Unix seconds, blobs as bytes; empty where the operation gives none.

    Raises `ServiceError` for an error answer, `TransportError` for one that is not AWS JSON.
    """
    if not 200 <= response.status < 300:
        raise _error(response)
    output = model.operation(operation).output
    if output is None:
        return {}
    try:
        return output.parse(_decode(response.body) if response.body else {})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ServiceError) as error:
        kind = response.header("content-type") or "no content type"
        message = f"The answer to {operation} is not what {model.name} answers ({kind}): {error}"
        raise TransportError("protocol", message, sent=True, url=response.url) from None


def _error(response: Response) -> ServiceError:
    try:
        body = _decode(response.body) if response.body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    members = body if isinstance(body, dict) else {}
    code = response.header("x-amzn-errortype") or members.get("__type") or members.get("code") or str(response.status)
    message = next((members[key] for key in ("message", "Message", "errorMessage") if members.get(key)), "")
    if body is None:
        message = f"HTTP status {response.status}, and the body is not JSON"
    return ServiceError(_bare(str(code)), str(message), status=response.status)


def _bare(code: str) -> str:
    """Give the name of an error without its namespace and URI: `ns#FooError:http://…` is FooError."""
    return code.partition(":")[0].rpartition("#")[2]
