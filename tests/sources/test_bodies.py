"""Bodies: values to bytes and back, and what is said of a body that is not what it calls itself."""

from __future__ import annotations

import email
import email.policy
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.errors import CallError
from treadle.seams import MISSING, Json
from treadle.sources.bodies import PartEncoding, decode, encode, is_json, preferred

FORM = "application/x-www-form-urlencoded"
AMZ = "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    ("media_type", "want"),
    [
        ("application/json", True),
        ("Application/JSON; Charset=UTF-8", True),
        ("application/problem+json", True),
        ("application/vnd.api+json;v=1", True),
        (AMZ, True),
        ("application/x-amz-json-1.0", True),
        ("text/json", True),
        ("text/html", False),
        ("application/jsonp", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_is_json(media_type: str, *, want: bool) -> None:
    """JSON goes by many names, with parameters and in any case."""
    assert is_json(media_type) is want


@pytest.mark.parametrize(
    ("media_types", "want"),
    [
        ([], None),
        (["text/xml"], "text/xml"),
        (["application/xml", "application/json"], "application/json"),
        ([FORM, AMZ], AMZ),
    ],
)
def test_preferred(media_types: list[str], want: str | None) -> None:
    """The only type; of several JSON before others."""
    assert preferred(media_types) == want


@dataclass
class Encoded:
    description: str
    payload: Json
    media_type: str
    want: bytes
    content_type: str = ""
    encodings: dict[str, PartEncoding] = field(default_factory=dict)


DEEP = PartEncoding(style="deepObject", explode=True)
ENCODED = [
    Encoded("JSON", {"a": [1, None, "é"]}, "application/json", '{"a":[1,null,"é"]}'.encode()),
    Encoded("AWS's JSON", {"a": 1}, AMZ, b'{"a":1}'),
    Encoded("a JSON string", "hello", "application/json", b'"hello"'),
    Encoded("null", None, "application/json", b"null"),
    Encoded("the word missing", {"a": "missing"}, "application/json", b'{"a":"missing"}'),
    Encoded("a JSON template that was filled", ' {"a": 1}', "application/json", b' {"a": 1}'),
    Encoded("a big integer", {"a": 2**70}, "application/json", b'{"a":1180591620717411303424}'),
    Encoded("a wildcard with an object", {"a": 1}, "*/*", b'{"a":1}', "application/json"),
    Encoded("a wildcard with text", "a", "*/*", b"a", "text/plain; charset=utf-8"),
    Encoded("text", "é", "text/plain", "é".encode()),
    Encoded("text with a charset", "é", "text/plain; charset=latin-1", b"\xe9"),
    Encoded("a number as text", 7, "text/plain", b"7"),
    Encoded("XML", "<a/>", "application/xml", b"<a/>"),
    Encoded("bytes of text", "abc", "application/octet-stream", b"abc"),
    Encoded("a form", {"a": "x y&z", "b": True, "c": 1}, FORM, b"a=x+y%26z&b=true&c=1"),
    Encoded("a form's list", {"a": [1, 2], "b": []}, FORM, b"a=1&a=2"),
    Encoded("a form's null", {"a": None}, FORM, b"a="),
    Encoded("a form's nested object", {"a": {"b": [1, {"c": 2}]}}, FORM, b"a%5Bb%5D%5B0%5D=1&a%5Bb%5D%5B1%5D%5Bc%5D=2"),
    Encoded("a form's list of objects", {"a": [{"b": 1}]}, FORM, b"a%5B0%5D%5Bb%5D=1"),
    Encoded("a form with deepObject", {"a": [1, 2]}, FORM, b"a%5B0%5D=1&a%5B1%5D=2", encodings={"a": DEEP}),
    Encoded(
        "a form with JSON inside",
        {"a": {"b": 1}},
        FORM,
        b"a=%7B%22b%22%3A1%7D",
        encodings={"a": PartEncoding("application/json")},
    ),
    Encoded(
        "a form's list without explode",
        {"a": [1, 2]},
        FORM,
        b"a=1%2C2",
        encodings={"a": PartEncoding("", "form", explode=False)},
    ),
    Encoded(
        "a form's list with pipes", {"a": [1, 2]}, FORM, b"a=1%7C2", encodings={"a": PartEncoding("", "pipeDelimited")}
    ),
    Encoded("a form's object with form", {"a": {"b": 1}}, FORM, b"b=1", encodings={"a": PartEncoding("", "form")}),
    Encoded("a form that is text already", "a=1&b=%20", FORM, b"a=1&b=%20"),
]


@pytest.mark.parametrize("case", ENCODED, ids=lambda case: case.description)
def test_encode(case: Encoded) -> None:
    """Each media type has its bytes."""
    body = encode(case.payload, case.media_type, case.encodings)

    assert (body.content, body.content_type) == (case.want, case.content_type or case.media_type)


@pytest.mark.parametrize(
    ("payload", "media_type", "message"),
    [
        pytest.param({"a": [math.nan]}, "application/json", "number nan", id="not a number"),
        pytest.param({"a": math.inf}, AMZ, "number inf", id="infinity"),
        pytest.param({"a": MISSING}, "application/json", "missing", id="a missing value"),
        pytest.param("{'a': 1}", "application/json", "not valid JSON", id="a template that is no JSON"),
        pytest.param({"a": 1}, "text/plain", "cannot be sent as text/plain", id="an object as text"),
        pytest.param({"a": 1, "b": 2}, "application/xml", "what its root element is called", id="an object as XML"),
        pytest.param([1], "application/xml", "cannot be sent as application/xml", id="a list as XML"),
        pytest.param([1], FORM, "needs an object", id="a list as a form"),
        pytest.param([1], "multipart/form-data", "needs an object", id="a list as parts"),
        pytest.param("a", "text/plain; charset=nope", "charset 'nope'", id="an unknown charset"),
        pytest.param("€", "text/plain; charset=latin-1", "cannot express", id="a character beyond the charset"),
    ],
)
def test_encode_refuses(payload: Json, media_type: str, message: str) -> None:
    """What a media type cannot carry is an error before it is sent, never a Python repr on the wire."""
    with pytest.raises(CallError, match=message):
        encode(payload, media_type)


def test_multipart() -> None:
    """A form of parts is read back by a MIME parser: text, JSON, a file, several values; the same bytes each time."""
    payload = {"name": "é", "meta": {"a": 1}, "tag": ["x", "y"], "file": "content", "none": None}
    encodings = {"file": PartEncoding("application/octet-stream")}

    body = encode(payload, "multipart/form-data", encodings)

    assert body == encode(payload, "multipart/form-data", encodings)
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body.content, policy=email.policy.HTTP)
    parts: list[Any] = list(message.iter_parts())
    assert [
        (part.get_param("name", header="content-disposition"), part.get_payload(decode=True)) for part in parts
    ] == [
        ("name", "é".encode()),
        ("meta", b'{"a":1}'),
        ("tag", b"x"),
        ("tag", b"y"),
        ("file", b"content"),
    ]
    assert parts[1].get_content_type() == "application/json"
    assert parts[4].get_filename() == "file"


@dataclass
class Decoded:
    description: str
    body: bytes
    content_type: str | None
    want: Json
    problem: str = ""
    promised: list[str] = field(default_factory=list)


HTML = b"<!DOCTYPE html>\n<html><head><title>\n Sign in  to Acme</title></head></html>"
JSON_TYPE = ["application/json"]
DECODED = [
    Decoded(
        "half a pair",
        rb'["a\ud83d", "\ude00", "\ud83d\ude00", "\\ud83d"]',
        "application/json",
        ["a\ufffd", "\ufffd", "😀", r"\ud83d"],
    ),
    Decoded("JSON", b'{"a": [1, null]}', "application/json", {"a": [1, None]}),
    Decoded("AWS's JSON", b'{"a": 1}', AMZ, {"a": 1}),
    Decoded("problem JSON with a charset", b'{"a": 1}', "application/problem+json; charset=utf-8", {"a": 1}),
    Decoded("JSON null is a value", b"null", "application/json", None),
    Decoded("nothing at all", b"", AMZ, MISSING),
    Decoded("nothing where JSON is promised", b"", None, MISSING, promised=JSON_TYPE),
    Decoded("a byte order mark", b"\xef\xbb\xbf{}", "application/json", {}),
    Decoded("UTF-16", '{"é": 1}'.encode("utf-16"), "application/json; charset=utf-16", {"é": 1}),
    Decoded("no content type, but JSON", b' {"a": 1}', None, {"a": 1}),
    Decoded("a wildcard, but JSON", b"[1]", "*/*", [1]),
    Decoded("no content type, a word", b"true story", None, "true story"),
    Decoded("promised JSON under another name", b'{"a": 1}', "text/plain", {"a": 1}, promised=JSON_TYPE),
    Decoded("promised JSON without a name", b"7", None, 7, promised=JSON_TYPE),
    Decoded("text", "é".encode(), "text/plain", "é"),
    Decoded("text in Latin-1", b"\xe9", "text/plain; charset=ISO-8859-1", "é"),
    Decoded("text in bytes that are no UTF-8", b"\xe9", "text/plain", "é"),
    Decoded("XML stays text", b"<a/>", "application/xml", "<a/>"),
    Decoded("HTML that nobody called JSON", HTML, "text/html", HTML.decode()),
    Decoded(
        "HTML where several types are promised",
        HTML,
        "text/html",
        HTML.decode(),
        promised=["text/html", "application/json"],
    ),
    Decoded("octets that are text", b"abc", "application/octet-stream", "abc"),
    # What is not what it says
    Decoded(
        "HTML called JSON",
        HTML,
        "application/json",
        MISSING,
        "declared application/json, but the body is HTML (<title>Sign in to Acme</title>)",
    ),
    Decoded("HTML without a title", b"<html>oops", "application/json", MISSING, "but the body is HTML: <html>oops"),
    Decoded(
        "HTML where JSON is promised",
        HTML,
        "text/html; charset=utf-8",
        MISSING,
        "the description promises application/json, but the answer (text/html; charset=utf-8) is not that: the body is HTML",
        promised=JSON_TYPE,
    ),
    Decoded(
        "text where JSON is promised",
        b"OK",
        "text/plain",
        MISSING,
        "the body is not JSON (invalid character (byte 0)): OK",
        promised=JSON_TYPE,
    ),
    Decoded(
        "JSON that was cut off", b'{"a": "b', AMZ, MISSING, 'the JSON ends in the middle, after 8 bytes: …{"a": "b'
    ),
    Decoded(
        "JSON that is wrong", b'{"a" 1}', "application/json", MISSING, "the body is not JSON (expected ':' (byte 5))"
    ),
    Decoded("two JSON values", b"{}{}", "application/json", MISSING, "the body is not JSON"),
    Decoded("blanks", b"  \n", "application/json", MISSING, "the body is blank"),
    Decoded("XML called JSON", b"<Error/>", "application/json", MISSING, "the body is XML or HTML: <Error/>"),
    Decoded("bytes called JSON", b'"\xff\xfe"', "application/json", MISSING, "but the body"),
    Decoded("JSON without an end to its depth", b"[" * 100_000, "application/json", MISSING, "nested too deeply"),
    Decoded("an unknown charset", b"{}", "application/json; charset=klingon", MISSING, "not text in klingon"),
    Decoded("text in an unknown charset", b"a", "text/plain; charset=klingon", MISSING, "not text in klingon"),
    Decoded("binary", b"\x89PNG\0\xff", "image/png", MISSING, "the body is binary (image/png, 6 bytes)"),
]


@pytest.mark.parametrize("case", DECODED, ids=lambda case: case.description)
def test_decode(case: Decoded) -> None:
    """A body has a value or a problem; what a document reads from it is never a guess."""
    value, problem = decode(case.body, case.content_type, promised=case.promised)

    assert value == case.want
    assert (case.problem in problem) if case.problem else not problem


def test_excerpts_are_short() -> None:
    """A problem quotes a line of the body, never all of it."""
    _, problem = decode(b"<html>" + b"x" * 1_000_000, "application/json")

    assert len(problem) < 200


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON_VALUES.filter(lambda value: not isinstance(value, str)))
def test_json_comes_back(value: Json) -> None:
    """What is encoded as JSON is decoded to the same value."""
    assert decode(encode(value, "application/json").content, "application/json") == (value, "")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")), min_size=1, max_size=5
    )
)
def test_forms_come_back(value: dict[str, str]) -> None:
    """What is encoded as a form is read back by a form parser."""
    assert dict(parse_qsl(encode(value, FORM).content.decode(), keep_blank_values=True)) == value


@given(
    st.binary(max_size=200),
    st.sampled_from([None, "", "application/json", "text/plain; charset=utf-16", "x/y", ";;", "*/*"]),
    st.booleans(),
)
def test_decode_never_raises(body: bytes, content_type: str | None, promise: bool) -> None:
    """Whatever bytes come under whatever name: a JSON value or text, or a problem."""
    value, problem = decode(body, content_type, promised=JSON_TYPE if promise else [])

    assert bool(problem) <= (value is MISSING)
    if value is not MISSING:
        msgspec.json.encode(value)
