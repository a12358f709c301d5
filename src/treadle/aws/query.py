"""The AWS Query protocol, as a server of it: a form comes in, XML goes out. STS and IAM speak it.

A form is flat, so the place of a value is in its name: members of structures are joined by dots, items of a list are
`member.1`, `member.2` …, and of a map `entry.1.key`, `entry.1.value`. Everything is text.

Source: Smithy, "AWS Query protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from treadle.aws.shapes import ListShape, MapShape, Operation, ServiceModel, Shape, Structure
from treadle.errors import ServiceError
from treadle.seams import Json

__all__ = ["decode_call", "encode_answer", "encode_error", "read_form"]

# What the JSON services call … Exception has other names here.
_CODES: Final[Mapping[str, str]] = {
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "SerializationException": "MalformedInput",
    "UnknownOperationException": "InvalidAction",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ValidationException": "ValidationError",
}
_MOST_FIELDS: Final = 1000


# ---------------------------------------------------------------------------------------------------------------------
# Forms
# ---------------------------------------------------------------------------------------------------------------------


def read_form(body: bytes) -> dict[str, str]:
    """Give the fields of a form; `Action` names the operation. Raises `ServiceError`: SerializationException."""
    try:
        fields = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request is not a form: {error}") from None
    return dict(fields)


def decode_call(operation: Operation, form: Mapping[str, str]) -> dict[str, Any]:
    """Read and check the input of a call. Raises `ServiceError`."""
    return operation.input.accept(_structure(operation.input, form, "") or {})


def _value(shape: Shape, form: Mapping[str, str], name: str) -> Json:
    """Give the JSON of what stands below a name, None for nothing."""
    match shape:
        case Structure():
            return _structure(shape, form, f"{name}.") if _has(form, f"{name}.") else None
        case ListShape():
            return _list(shape, form, name)
        case MapShape():
            return _map(shape, form, name)
    return _scalar(shape, form[name]) if name in form else None


def _has(form: Mapping[str, str], start: str) -> bool:
    return any(each.startswith(start) for each in form)


def _structure(shape: Structure, form: Mapping[str, str], prefix: str) -> dict[str, Json]:
    found = {member: _value(its, form, f"{prefix}{member}") for member, its in shape.members.items()}
    return {member: value for member, value in found.items() if value is not None}


def _list(shape: ListShape, form: Mapping[str, str], name: str) -> list[Json] | None:
    items = [_value(shape.member, form, each) for each in _numbered(form, f"{name}.member.")]
    # A list that is empty is sent as a name without a value.
    return [each for each in items if each is not None] if items or name in form else None


def _map(shape: MapShape, form: Mapping[str, str], name: str) -> dict[str, Json] | None:
    entries = _numbered(form, f"{name}.entry.")
    found = {form.get(f"{each}.key", ""): _value(shape.value, form, f"{each}.value") for each in entries}
    return found if entries or name in form else None


def _numbered(form: Mapping[str, str], prefix: str) -> list[str]:
    """Give the names of the items that have something, in the order of their numbers."""
    numbers = {each[len(prefix) :].partition(".")[0] for each in form if each.startswith(prefix)}
    return [f"{prefix}{each}" for each in sorted((each for each in numbers if _is_number(each)), key=int)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _scalar(shape: Shape, text: str) -> Json:
    """Give a text as JSON has it; one that is no number or boolean stays a text, and is refused as one."""
    if shape.kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if shape.kind in {"integer", "long", "float", "double"}:
        try:
            return int(text) if shape.kind in {"integer", "long"} else float(text)
        except ValueError:
            return text
    return text


# ---------------------------------------------------------------------------------------------------------------------
# XML
# ---------------------------------------------------------------------------------------------------------------------


def encode_answer(
    model: ServiceModel, operation: Operation, output: Mapping[str, Any] | None, request_id: str
) -> bytes:
    """Write the output of an operation."""
    name = operation.name
    result = ""
    if operation.output is not None:
        result = f"<{name}Result>{_xml(operation.output, operation.output.write(output or {}))}</{name}Result>"
    return (
        f'<{name}Response xmlns="{_escaped(model.xml_namespace)}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    ).encode()


def encode_error(code: str, message: str, status: int, request_id: str) -> bytes:
    """Write an error, by its name in this protocol."""
    blame = "Sender" if status < 500 else "Receiver"
    return (
        f"<ErrorResponse><Error><Type>{blame}</Type><Code>{_escaped(_CODES.get(code, code))}</Code>"
        f"<Message>{_escaped(message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode(errors="replace")


def _xml(shape: Shape, value: Json) -> str:
    """Give what stands inside an element, of a value that the shape has written."""
    match shape:
        case Structure():
            return "".join(f"<{name}>{_xml(shape.members[name], item)}</{name}>" for name, item in value.items())
        case ListShape():
            return "".join(f"<member>{_xml(shape.member, item)}</member>" for item in value)
        case MapShape():
            return "".join(
                f"<entry><key>{_escaped(key)}</key><value>{_xml(shape.value, item)}</value></entry>"
                for key, item in value.items()
            )
    if isinstance(value, bool):
        return "true" if value else "false"
    return _escaped(str(value))


def _escaped(text: str) -> str:
    # Most services are never asked in this protocol, and this imports the HTTP client of the standard library.
    from xml.sax.saxutils import escape

    return escape(text)
