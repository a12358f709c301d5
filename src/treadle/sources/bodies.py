"""Bodies: a value and a media type become bytes, and bytes become a value again.

Encoding refuses what cannot be meant (`CallError`). Decoding refuses nothing: a body that is not what its media type
says, or not what the description promises, has the value MISSING and a `problem` in words, so that a run can stop at it
instead of falling through with an empty answer.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import quote_plus

import msgspec

from treadle.errors import CallError
from treadle.seams import MISSING, Json, Missing, Schema
from treadle.sources import xmlbodies
from treadle.sources.parameters import bracketed, scalar

__all__ = ["EncodedBody", "PartEncoding", "decode", "encode", "is_json", "preferred"]

Kind = Literal["json", "form", "multipart", "text", "xml", "binary", "any"]


# ---------------------------------------------------------------------------------------------------------------------
# Media types
# ---------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> tuple[Kind, str]:
    """Give what kind of body a Content-Type announces, and its charset, "" where it names none."""
    essence, *parameters = [part.strip() for part in content_type.split(";")]
    pairs = [parameter.partition("=") for parameter in parameters]
    charset = next((value.strip("\"' ") for name, _, value in pairs if name.strip().lower() == "charset"), "")
    return _kind(essence.lower()), charset


def _kind(essence: str) -> Kind:
    major, _, minor = essence.partition("/")
    if minor == "json" or minor.endswith("+json") or minor.startswith("x-amz-json-"):
        return "json"
    if essence == "application/x-www-form-urlencoded":
        return "form"
    if major == "multipart":
        return "multipart"
    if minor == "xml" or minor.endswith("+xml"):
        return "xml"
    if major == "text" or minor in {"javascript", "yaml", "x-yaml", "graphql", "x-ndjson", "jsonl"}:
        return "text"
    if not essence or "*" in essence:
        return "any"
    return "binary"


def is_json(media_type: str) -> bool:
    """Tell whether a media type is JSON's: `application/json`, any `+json`, `x-amz-json-1.1`."""
    return _media_type(media_type)[0] == "json"


def preferred(media_types: Sequence[str]) -> str | None:
    """Give the media type to send where a step names none: the only one, else JSON before others."""
    return next((each for each in media_types if is_json(each)), media_types[0] if media_types else None)


# ---------------------------------------------------------------------------------------------------------------------
# Encoding
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncodedBody:
    """The bytes of a body with the Content-Type to send it under (that of a multipart body names its boundary)."""

    content: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class PartEncoding:
    """What an Encoding Object says of one property of a form: "" and None where it says nothing."""

    content_type: str = ""
    style: str = ""
    explode: bool | None = None


def encode(
    payload: Json,
    media_type: str,
    encodings: Mapping[str, PartEncoding] | None = None,
    schema_of: Callable[[str], Schema | None] | None = None,
) -> EncodedBody:
    """Give the bytes of a payload; `schema_of` gives the schema of a media type, which has the names of XML elements.

    Raises `CallError` where the media type cannot carry such a value.
    """
    kind, charset = _media_type(media_type)
    if kind == "any":
        # A pattern such as */* cannot be sent; text under it is text, everything else is JSON.
        media_type, kind = (
            ("text/plain; charset=utf-8", "text") if isinstance(payload, str) else ("application/json", "json")
        )
    if isinstance(payload, bytes):
        return EncodedBody(payload, media_type)
    if kind == "json":
        return EncodedBody(_json_bytes(payload, media_type), media_type)
    if kind == "form":
        text = payload if isinstance(payload, str) else _form(_object(payload, media_type), encodings or {})
        return EncodedBody(text.encode(), media_type)
    if kind == "multipart" and not isinstance(payload, str):
        return _multipart(_object(payload, media_type), media_type, encodings or {})
    if kind == "xml" and isinstance(payload, dict):
        payload = xmlbodies.written(payload, schema_of(media_type) if schema_of else None, media_type)
    return EncodedBody(_text_bytes(payload, media_type, charset), media_type)


def _json_bytes(payload: Json, media_type: str) -> bytes:
    """JSON. Text that is a whole JSON object or list, as a template gives it, goes as it is; other text is a string."""
    if isinstance(payload, str) and payload.lstrip()[:1] in {"{", "["}:
        content = payload.encode()
        try:
            msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise CallError(f"the body is to be {media_type}, but its text is not valid JSON: {error}") from error
        return content
    try:
        content = msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise CallError(f"the body cannot be written as JSON: {error}") from error
    # msgspec writes NaN as null and an enumeration as its value: look closer only where one of them may have been.
    if b"null" in content or b'"missing"' in content:
        _refuse_what_json_lacks(payload)
    return content


def _refuse_what_json_lacks(value: Json) -> None:
    if value is MISSING:
        raise CallError("the body contains a value that is missing")
    if isinstance(value, float) and not math.isfinite(value):
        raise CallError(f"the body contains the number {value}, which JSON cannot express")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_what_json_lacks(each)


def _object(payload: Json, media_type: str) -> Mapping[str, Json]:
    if isinstance(payload, dict):
        return payload
    raise CallError(f"a body of the type {media_type} needs an object or text, not {scalar(payload)[:40]}")


def _text_bytes(payload: Json, media_type: str, charset: str) -> bytes:
    if isinstance(payload, (dict, list)):
        raise CallError(
            f"an object or list cannot be sent as {media_type}",
            hint="give the payload as text, or name a JSON media type in the request body's contentType",
        )
    try:
        return scalar(payload).encode(charset or "utf-8")
    except LookupError as error:
        raise CallError(f"the charset {charset!r} of the content type {media_type!r} is not known") from error
    except UnicodeEncodeError as error:
        raise CallError(f"the body contains {error.object[error.start]!r}, which {charset} cannot express") from error


def _form(payload: Mapping[str, Json], encodings: Mapping[str, PartEncoding]) -> str:
    """`application/x-www-form-urlencoded` as the URL Standard writes it (section 5.2): space is `+`."""
    nothing = PartEncoding()
    pairs = [pair for name, value in payload.items() for pair in _form_pairs(name, value, encodings.get(name, nothing))]
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)


_FORM_DELIMITERS: Final = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


def _form_pairs(name: str, value: Json, encoding: PartEncoding) -> Iterator[tuple[str, str]]:
    if value is None or not isinstance(value, (dict, list)):
        yield name, "" if value is None else scalar(value)
    elif is_json(encoding.content_type):
        yield name, scalar(value)
    elif encoding.style == "deepObject":
        yield from bracketed(name, value)
    elif isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        yield from _form_list(name, [scalar(each) for each in value if each is not None], encoding)
    elif isinstance(value, dict) and encoding.style == "form":
        yield from ((key, scalar(each)) for key, each in value.items() if each is not None)
    else:
        yield from bracketed(name, value)


def _form_list(name: str, texts: list[str], encoding: PartEncoding) -> Iterator[tuple[str, str]]:
    style = encoding.style or "form"
    explode = style == "form" if encoding.explode is None else encoding.explode
    if explode:
        yield from ((name, text) for text in texts)
    elif texts:
        yield name, _FORM_DELIMITERS.get(style, ",").join(texts)


def _multipart(payload: Mapping[str, Json], media_type: str, encodings: Mapping[str, PartEncoding]) -> EncodedBody:
    """RFC 7578: a list gives a part per element, an object is a part of JSON, everything else is text."""
    nothing = PartEncoding()
    parts = [
        _part(name, each, encodings.get(name, nothing))
        for name, value in payload.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]
    # The same payload always gives the same bytes, so a request that is sent again is the same request.
    import hashlib  # it loads OpenSSL, for multipart bodies only

    boundary = "treadle-" + hashlib.sha256(b"".join(parts)).hexdigest()[:32]
    delimiter = f"--{boundary}".encode()
    content = b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"
    return EncodedBody(content, f"{media_type.partition(';')[0].strip()}; boundary={boundary}")


def _part(name: str, value: Json, encoding: PartEncoding) -> bytes:
    structured = isinstance(value, dict)
    content_type = encoding.content_type.partition(",")[0].strip() or ("application/json" if structured else "")
    # RFC 7578 section 4.2, with the escapes that browsers use (HTML, "multipart/form-data encoding algorithm").
    quoted = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = f'Content-Disposition: form-data; name="{quoted}"'
    if content_type and "\r" not in content_type and "\n" not in content_type:
        if not structured and _media_type(content_type)[0] == "binary":
            head += f'; filename="{quoted}"'
        head += f"\r\nContent-Type: {content_type}"
    return f"{head}\r\n\r\n{scalar(value)}".encode()


# ---------------------------------------------------------------------------------------------------------------------
# Decoding
# ---------------------------------------------------------------------------------------------------------------------

_EXCERPT: Final = 80
_JSON_STARTS: Final = frozenset(b'{["-0123456789tfn')

Decoded = tuple[Json | Missing, str]


def decode(body: bytes, content_type: str | None, *, promised: Sequence[str] = ()) -> Decoded:
    """Give the value of a body, and "" or what is wrong with it.

    `promised` are the media types that the description gives for this answer: where they are all JSON, an answer that
    is not is a problem even when it honestly calls itself `text/html`. Honest XML has a value all the same: its text.
    """
    if not body:
        return MISSING, ""
    kind, charset = _media_type(content_type or "")
    if kind == "json":
        value, fault = _json_value(body, charset)
        return value, fault and f"declared {content_type}, but {fault}"
    if promised and all(map(is_json, promised)):
        value, fault = _json_value(body, charset)
        answered = content_type or "without a content type"
        if fault and kind == "xml":
            value = _text_value(body, kind, charset, content_type)[0]  # who looks with an XPath can still read it
        return (
            value,
            fault and f"the description promises {promised[0]}, but the answer ({answered}) is not that: {fault}",
        )
    if kind == "any" and _first(body) in _JSON_STARTS:
        value, fault = _json_value(body, charset)
        if not fault:
            return value, ""
    return _text_value(body, kind, charset, content_type)


def _first(body: bytes) -> int:
    return body.lstrip()[:1][0] if body.strip() else 0


def _json_value(body: bytes, charset: str) -> Decoded:
    """Give the JSON value, or MISSING and a clause that says what the body is instead."""
    try:
        text = _utf8(body, charset)
        try:
            return msgspec.json.decode(text), ""
        except msgspec.DecodeError:
            whole = _HALVES.sub(_whole, text)
            if whole == text:
                raise
            return msgspec.json.decode(whole), ""
    except (UnicodeDecodeError, LookupError):
        return MISSING, f"the body is not text in {charset or 'utf-8'} ({len(body)} bytes)"
    except RecursionError:
        return MISSING, "the body is nested too deeply"
    except msgspec.DecodeError as error:
        return MISSING, _what_it_is(body, str(error))


# Half a surrogate pair, which RFC 8259 §8.2 foresees: a server cut a text in the middle of an emoji. A whole pair and
# every other escape are matched, too, so that nothing else is taken for one.
_HALVES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _whole(found: re.Match[bytes]) -> bytes:
    """Give the replacement character for half a pair, everything else as it is."""
    return rb"\ufffd" if found[1] else found[0]


def _utf8(body: bytes, charset: str) -> bytes:
    body = body.removeprefix(codecs.BOM_UTF8)
    if not charset or charset.lower() in {"utf-8", "utf8", "us-ascii", "ascii"}:
        return body
    return body.decode(charset).encode()


def _what_it_is(body: bytes, fault: str) -> str:
    start = body[:4096].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start[:512]:
        return f"the body is HTML{_title(body)}"
    if start.startswith(b"<"):
        return f"the body is XML or HTML: {_excerpt(body)}"
    if not start:
        return "the body is blank"
    if "truncated" in fault:
        return f"the JSON ends in the middle, after {len(body)} bytes: …{_excerpt(body[-_EXCERPT:])}"
    return f"the body is not JSON ({fault.removeprefix('JSON is malformed: ')}): {_excerpt(body)}"


def _title(body: bytes) -> str:
    start = body[:65536]
    opened = start.lower().find(b"<title")
    inside = start.find(b">", opened) + 1
    closed = start.find(b"<", inside)
    if opened < 0 or not inside or closed < 0:
        return f": {_excerpt(body)}"
    return f" (<title>{_excerpt(start[inside:closed])}</title>)"


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * _EXCERPT].decode("utf-8", "replace").split())
    printable = "".join(each if each.isprintable() else "�" for each in text)
    return printable if len(printable) <= _EXCERPT else printable[:_EXCERPT] + "…"


def _text_value(body: bytes, kind: Kind, charset: str, content_type: str | None) -> Decoded:
    try:
        text = body.removeprefix(codecs.BOM_UTF8).decode(charset or "utf-8")
    except (UnicodeDecodeError, LookupError):
        if kind in {"text", "xml"} and not charset:
            return body.decode("latin-1"), ""  # what text without a charset was before RFC 9110; cannot fail
        text = "\0"
    if kind in {"binary", "any", "multipart"} and "\0" in text:
        return MISSING, f"the body is binary ({content_type or 'no content type'}, {len(body)} bytes)"
    if text == "\0":
        return MISSING, f"declared {content_type}, but the body is not text in {charset or 'utf-8'}"
    return text, ""
