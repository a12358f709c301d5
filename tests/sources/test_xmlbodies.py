"""Objects as XML, by the names that schemas give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from treadle.errors import CallError
from treadle.seams import Call, Json
from treadle.sources.openapi import OpenApiSource
from treadle.sources.xmlbodies import written


def operation(schema: Json, **schemas: Json) -> Any:
    content = {"application/xml": {"schema": schema}}
    paths = {"/x": {"post": {"operationId": "x", "requestBody": {"content": content}}}}
    document = {"openapi": "3.0.3", "paths": paths, "components": {"schemas": schemas}}
    return OpenApiSource("api", document, uri="api.yaml", server="http://api.example").find("x")[0]


TAG = {"type": "object", "properties": {"Key": {"type": "string"}, "Value": {"type": "string"}}}
TAGGING = {
    "type": "object",
    "properties": {
        "TagSet": {
            "type": "array",
            "xml": {"wrapped": True},
            "items": {"allOf": [{"$ref": "#/components/schemas/Tag"}], "xml": {"name": "Tag"}},
        }
    },
}
NAMES = {
    "type": "object",
    "xml": {"name": "cfg", "namespace": "http://example.com/ns", "prefix": "c"},
    "properties": {
        "id": {"type": "integer", "xml": {"attribute": True}},
        "note": {"type": "string", "xml": {"name": "Note", "prefix": "c"}},
        "tags": {"type": "array", "items": {"type": "string", "xml": {"name": "tag"}}},
        "plain": {"type": "array", "items": {"type": "string"}},
    },
}


@dataclass(frozen=True)
class Case:
    name: str
    schema: Json
    payload: Json
    want: str


CASES = [
    Case(
        "called like its component",
        {"$ref": "#/components/schemas/Tagging"},
        {"TagSet": [{"Key": "a", "Value": "1 & 2"}, {"Key": "b", "Value": None}]},
        "<Tagging><TagSet><Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag><Tag><Key>b</Key><Value></Value></Tag></TagSet>"
        "</Tagging>",
    ),
    Case(
        "names, prefixes and attributes",
        NAMES,
        {"id": 7, "note": '"<x>"', "tags": ["a", "b"], "plain": ["c"]},
        '<c:cfg xmlns:c="http://example.com/ns" id="7"><c:Note>"&lt;x&gt;"</c:Note><tag>a</tag><tag>b</tag>'
        "<plain>c</plain></c:cfg>",
    ),
    Case(
        "a single member without a name", {"type": "object"}, {"Root": {"flag": True}}, "<Root><flag>true</flag></Root>"
    ),
    Case("text stays text", {"$ref": "#/components/schemas/Tagging"}, "<a/>", "<a/>"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_objects_become_elements(case: Case) -> None:
    """The XML Object of OpenAPI decides the names."""
    request = operation(case.schema, Tagging=TAGGING, Tag=TAG).request(Call(payload=case.payload))
    assert request.body.decode() == case.want
    assert request.header("content-type") == "application/xml"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": 1, "b": 2}, "what its root element is called"),
        ({"a": [1, 2]}, "what its root element is called"),
        ({"a b": 1}, "cannot be the name of an XML element"),
        ({"root": {"<x>": 1}}, "cannot be the name of an XML element"),
    ],
)
def test_what_cannot_be_an_element_is_refused(payload: dict[str, Json], said: str) -> None:
    """Nothing is made up: neither a root nor a name."""
    with pytest.raises(CallError, match=said):
        written(payload, None, "application/xml")


@pytest.mark.parametrize("given", ["Key+", "Key"])
@pytest.mark.parametrize("declared", ["Key+", "Key"])
def test_a_greedy_parameter_may_carry_its_plus(given: str, declared: str) -> None:
    """`{Key+}` is the parameter Key, however the description and the step call it."""
    from treadle.seams import Argument

    parameter = {"name": declared, "in": "path", "required": True, "schema": {"type": "string"}}
    paths = {"/{Key+}": {"get": {"operationId": "get", "parameters": [parameter]}}}
    source = OpenApiSource("s3", {"openapi": "3.0.3", "paths": paths}, uri="s3.yaml", server="http://s3.example")
    request = source.find("get")[0].request(Call((Argument(given, "path", "a/b c"),)))
    assert request.url == "http://s3.example/a/b%20c"
