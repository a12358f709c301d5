"""What steps give, held against what operations take (rule 47), and what their schemas want of a payload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.arazzo.shelf import Shelf

SCHEMA: dict[str, Any] = {
    "allOf": [{"$ref": "#/components/schemas/Base"}],
    "type": "object",
    "properties": {
        "count": {"type": "integer"},
        "name": {"type": "string"},
        "either": {"type": ["string", "integer"]},
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
    },
}
API: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/items/{id}": {
            "post": {
                "operationId": "op",
                "parameters": [
                    {"name": "id", "in": "path", "required": True},
                    {"name": "page", "in": "query", "required": True},
                    {"name": "X-Trace", "in": "header"},
                    {"name": "Accept", "in": "header", "required": True},
                ],
                "requestBody": {"content": {"text/*": {}, "application/json": {"schema": SCHEMA}}},
                "responses": {"200": {"description": "ok"}},
            }
        },
        "/lost": {"post": {"operationId": "lost", "parameters": [{"name": "id", "in": "path", "required": True}]}},
        "/parts?number={number}": {"put": {"operationId": "part", "responses": {"200": {"description": "ok"}}}},
        "/things/{key+}/{kind}": {"post": {"operationId": "bare", "responses": {"200": {"description": "ok"}}}},
    },
    "components": {
        "schemas": {
            "Base": {"properties": {"flag": {"type": "boolean"}, "base": {"$ref": "#/components/schemas/Base"}}},
            "Item": {"properties": {"n": {"type": "number"}}},
        }
    },
}

TOP = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  inputs: {{type: object, properties: {{i: {{type: integer, default: 7}}, b: {{type: boolean, default: true}}}}}}
  steps: [{{stepId: s, operationId: {operation}, parameters: [{parameters}], {more}}}]
"""
ALL = "{name: id, in: path, value: 1}, {name: page, in: query, value: 1}"


def shelf(tmp_path: Path, parameters: str = ALL, more: str = "", operation: str = "op") -> Shelf:
    text = TOP.format(parameters=parameters, more=more, operation=operation)
    return Shelf(tmp_path, {"main.yaml": text, "api.json": API})


def found(tmp_path: Path, parameters: str = ALL, more: str = "", operation: str = "op") -> list[tuple[str, str]]:
    rules = {"missing-parameter", "unknown-parameter", "unknown-media-type"}
    findings = shelf(tmp_path, parameters, more, operation).check()
    return [(each.rule, each.severity) for each in findings if each.rule in rules]


@pytest.mark.parametrize(
    ("parameters", "want"),
    [
        pytest.param(ALL, [], id="all"),
        pytest.param(ALL.replace("value: 1}", "value: 1, reference: ''}"), [], id="all-with-empty-references"),
        pytest.param("{name: page, in: query, value: 1}", [("missing-parameter", "error")], id="no-path"),
        pytest.param("{name: id, in: path, value: 1}", [("missing-parameter", "warning")], id="no-query"),
        pytest.param(
            "{name: id, in: path, value: 1}, {name: q, in: querystring, value: page=1}",
            [],
            id="whole-query",
        ),
        pytest.param(
            ALL + ", {name: sort, in: query, value: 1}", [("unknown-parameter", "warning")], id="unknown-query"
        ),
        pytest.param(ALL + ", {name: di, in: path, value: 1}", [("unknown-parameter", "error")], id="unknown-path"),
        pytest.param(ALL + ", {name: x-trace, in: header, value: 1}", [], id="header-case"),
        pytest.param(ALL + ", {name: X-Own, in: header, value: 1}", [], id="own-header"),
        pytest.param(
            ALL + ", {name: X-Trase, in: header, value: 1}", [("unknown-parameter", "warning")], id="misspelt"
        ),
    ],
)
def test_parameters_are_held_against_the_operation(
    tmp_path: Path, parameters: str, want: list[tuple[str, str]]
) -> None:
    """A request that cannot be built is an error; what a server may take all the same is a warning."""
    assert found(tmp_path, parameters) == want


@pytest.mark.parametrize(
    ("parameters", "want"),
    [
        pytest.param("{name: key, in: path, value: 1}, {name: kind, in: path, value: 1}", [], id="both"),
        pytest.param("{name: key+, in: path, value: 1}, {name: kind, in: path, value: 1}", [], id="as-it-is-written"),
        pytest.param("{name: key, in: path, value: 1}", [("missing-parameter", "error")], id="one"),
        pytest.param(
            "{name: key, in: path, value: 1}, {name: kind, in: path, value: 1}, {name: x, in: path, value: 1}",
            [("unknown-parameter", "error")],
            id="one-more",
        ),
    ],
)
def test_parameters_that_only_the_path_names_are_parameters(
    tmp_path: Path, parameters: str, want: list[tuple[str, str]]
) -> None:
    """Descriptions forget to declare them; the path says that they are needed."""
    assert found(tmp_path, parameters, operation="bare") == want


@pytest.mark.parametrize(
    ("parameters", "want"),
    [
        pytest.param("{name: id, in: path, value: 1}", [("unknown-parameter", "error")], id="given"),
        pytest.param("", [], id="not-given"),
    ],
)
def test_a_parameter_of_the_path_that_the_path_does_not_name_is_none(
    tmp_path: Path, parameters: str, want: list[tuple[str, str]]
) -> None:
    """There is no place for its value, whatever the description declares."""
    assert found(tmp_path, parameters, operation="lost") == want


@pytest.mark.parametrize(
    ("parameters", "want"),
    [
        pytest.param("{name: number, in: query, value: 1}", [], id="given"),
        pytest.param("{name: number, in: path, value: 1}", [], id="taken-for-it"),
        pytest.param("", [("missing-parameter", "warning")], id="not-given"),
    ],
)
def test_parameters_that_only_the_query_of_the_path_names_are_parameters(
    tmp_path: Path, parameters: str, want: list[tuple[str, str]]
) -> None:
    """Some descriptions write `?number={number}` into the path."""
    assert found(tmp_path, parameters, operation="part") == want


@pytest.mark.parametrize(
    ("content_type", "want"),
    [
        pytest.param("application/json; charset=utf-8", [], id="with-a-charset"),
        pytest.param("text/csv", [], id="by-a-range"),
        pytest.param("application/xml", [("unknown-media-type", "warning")], id="not-described"),
    ],
)
def test_media_types_are_held_against_the_operation(
    tmp_path: Path, content_type: str, want: list[tuple[str, str]]
) -> None:
    """Rule 47's neighbour: a body that the operation does not take."""
    assert found(tmp_path, more=f"requestBody: {{contentType: {content_type}, payload: x}}") == want


@pytest.mark.parametrize(
    ("body", "want"),
    [
        pytest.param("contentType: text/plain, payload: {a: 1}", [("unsendable-payload", "error")], id="object"),
        pytest.param("contentType: text/plain, payload: []", [("unsendable-payload", "error")], id="list"),
        pytest.param("contentType: text/plain, payload: 'a: 1'", [], id="text"),
        pytest.param("contentType: text/plain, payload: $inputs.i", [], id="who-knows"),
        pytest.param("contentType: multipart/form-data, payload: [1]", [("unsendable-payload", "error")], id="parts"),
        pytest.param("contentType: multipart/form-data, payload: {a: 1}", [], id="multipart"),
        pytest.param("contentType: application/x-www-form-urlencoded, payload: {a: 1}", [], id="form"),
        pytest.param("payload: {a: 1}", [], id="json-of-several"),
    ],
)
def test_payloads_that_no_request_can_carry_are_told_before_the_first(
    tmp_path: Path, body: str, want: list[tuple[str, str]]
) -> None:
    """An object has no text of its own; where a step names no type, JSON goes before what else the operation takes."""
    findings = shelf(tmp_path, more=f"requestBody: {{{body}}}").check()
    assert [(each.rule, each.severity) for each in findings if each.rule == "unsendable-payload"] == want


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        pytest.param("{count: '{$inputs.i}'}", {"count": 7}, id="number"),
        pytest.param("{name: '{$inputs.i}'}", {"name": "7"}, id="text"),
        pytest.param("{either: '{$inputs.i}'}", {"either": "7"}, id="either"),
        pytest.param("{other: '{$inputs.i}'}", {"other": "7"}, id="not-described"),
        pytest.param("{flag: '{$inputs.b}'}", {"flag": True}, id="by-allOf-and-ref"),
        pytest.param("{base: {base: {flag: '{$inputs.b}'}}}", {"base": {"base": {"flag": True}}}, id="recursive"),
        pytest.param("{items: [{n: '{$inputs.i}'}]}", {"items": [{"n": 7}]}, id="in-a-list"),
        pytest.param("{count: 'a{$inputs.i}'}", {"count": "a7"}, id="longer-text"),
        pytest.param("{name: 'by {$method}'}", {"name": "by POST"}, id="its-own-method"),
    ],
)
def test_a_lone_braced_expression_has_the_type_that_the_schema_wants(tmp_path: Path, payload: str, sent: Any) -> None:
    """Dialect `lone-braced-expression`; elsewhere it is text, as the specification says."""
    story = shelf(tmp_path, more=f"requestBody: {{payload: {payload}}}").tell([200])
    assert story.requests[0][1] == sent
