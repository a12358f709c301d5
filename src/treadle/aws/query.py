"""The AWS Query protocol, as far as a server of small operations needs it: a form comes in, XML goes out.

STS and IAM speak it. Inputs with nested members are not read: no operation that is served here has any.

Source: Smithy, "AWS Query protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from treadle.aws.shapes import Operation, ServiceModel
from treadle.errors import ServiceError
from treadle.seams import Json

__all__ = ["decode_call", "encode_answer", "encode_error", "read_form"]

# What the JSON services call … Exception has other names here.
_CODES: Final[Mapping[str, str]] = {
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "SerializationException": "MalformedInput",
    "UnknownOperationException": "InvalidAction",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
_MOST_FIELDS: Final = 1000


def read_form(body: bytes) -> dict[str, str]:
    """Give the fields of a form; `Action` names the operation. Raises `ServiceError`: SerializationException."""
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request is not a form: {error}") from None
    return dict(fields)


def decode_call(operation: Operation, form: Mapping[str, str]) -> dict[str, Any]:
    """Read and check the input of a call. Raises `ServiceError`."""
    return operation.input.accept({name: form[name] for name in operation.input.members if name in form})


def encode_answer(
    model: ServiceModel, operation: Operation, output: Mapping[str, Any] | None, request_id: str
) -> bytes:
    """Write the output of an operation."""
    name = operation.name
    result = ""
    if operation.output is not None:
        result = f"<{name}Result>{_elements(operation.output.write(output or {}))}</{name}Result>"
    return (
        f'<{name}Response xmlns="{escape(model.xml_namespace)}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


def encode_error(code: str, message: str, status: int, request_id: str) -> bytes:
    """Write an error, by its name in this protocol."""
    blame = "Sender" if status < 500 else "Receiver"
    return (
        f"<ErrorResponse><Error><Type>{blame}</Type><Code>{escape(_CODES.get(code, code))}</Code>"
        f"<Message>{escape(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode(errors="replace")


def _elements(value: Json) -> str:
    match value:
        case dict():
            return "".join(f"<{name}>{_elements(item)}</{name}>" for name, item in value.items())
        case list():
            return "".join(f"<member>{_elements(item)}</member>" for item in value)
        case bool():
            return "true" if value else "false"
    return escape(str(value))
