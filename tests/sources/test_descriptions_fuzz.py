"""Descriptions of other kinds than OpenAPI's newest, with one thing in them replaced by something odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from tests.arazzo.test_documents_fuzz import QUICK, changed, tried

from treadle.arazzo.load import load
from treadle.cli.checking import check_document
from treadle.cli.opening import Setup
from treadle.seams import Json

SWAGGER: Json = {
    "swagger": "2.0",
    "info": {"title": "t", "version": "1"},
    "host": "127.0.0.1:9",
    "basePath": "/v1",
    "schemes": ["http"],
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "securityDefinitions": {"k": {"type": "apiKey", "in": "header", "name": "K"}},
    "security": [{"k": []}],
    "definitions": {"S": {"type": "object", "properties": {"a": {"type": "string"}, "s": {"$ref": "#/definitions/S"}}}},
    "parameters": {"p": {"name": "p", "in": "query", "type": "array", "items": {}, "collectionFormat": "csv"}},
    "paths": {
        "/x/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "type": "string"}],
            "post": {
                "operationId": "json",
                "parameters": [
                    {"$ref": "#/parameters/p"},
                    {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/S"}},
                ],
                "responses": {
                    "200": {
                        "description": "ok",
                        "schema": {"$ref": "#/definitions/S"},
                        "headers": {"X": {"type": "string"}},
                        "examples": {"application/json": {"a": "x"}},
                    }
                },
            },
        },
        "/f": {
            "post": {
                "operationId": "form",
                "consumes": ["multipart/form-data"],
                "parameters": [{"name": "f", "in": "formData", "type": "file"}],
                "responses": {"default": {"description": "d"}},
            }
        },
    },
}
ASYNC: Json = {
    "asyncapi": "3.0.0",
    "info": {"title": "t", "version": "1"},
    "servers": {"s": {"host": "127.0.0.1:9", "protocol": "mqtt", "variables": {"h": {"default": "x"}}}},
    "channels": {
        "c": {
            "address": "a/{id}",
            "parameters": {"id": {"default": "x"}},
            "messages": {"m": {"$ref": "#/components/messages/m"}},
            "servers": [{"$ref": "#/servers/s"}],
        }
    },
    "operations": {
        "listen": {
            "action": "receive",
            "channel": {"$ref": "#/channels/c"},
            "messages": [{"$ref": "#/channels/c/messages/m"}],
        }
    },
    "components": {
        "messages": {
            "m": {
                "contentType": "application/json",
                "payload": {"type": "object"},
                "correlationId": {"location": "$message.header#/id"},
            }
        }
    },
}
HEAD = """\
arazzo: 1.1.0
info: {title: T, version: "1"}
sourceDescriptions:
- {name: shop, url: shop.yaml, type: %s}
workflows:
- workflowId: main
  inputs: {type: object, properties: {i: {type: string}}}
  steps:
"""
CALLS = load(
    f"""{HEAD % "openapi"}
  - stepId: a
    operationId: json
    parameters: [{{name: id, in: path, value: $inputs.i}}, {{name: p, in: query, value: [a]}}]
    requestBody: {{payload: {{a: "{{$inputs.i}}"}}}}
    successCriteria: [{{condition: $response.body#/a == 'x'}}]
    outputs: {{o: $response.body#/a}}
  - stepId: b
    operationId: form
    requestBody: {{contentType: multipart/form-data, payload: {{f: $steps.a.outputs.o}}}}
""".encode(),
    "main.yaml",
).value
MESSAGES = load(
    f"""{HEAD % "asyncapi"}
  - stepId: a
    channelPath: "{{$sourceDescriptions.shop.url}}#/channels/c"
    action: send
    requestBody: {{payload: {{a: 1}}}}
    parameters: [{{name: id, in: channel, value: x}}]
  - stepId: b
    operationId: listen
    action: receive
    correlationId: $inputs.i
    timeout: 5000
""".encode(),
    "main.yaml",
).value


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shop")


@QUICK
@given(described=changed([SWAGGER]))
def test_swagger(described: Any, folder: Path) -> None:
    """It is read with patience: by the check, the plan and the mock."""
    tried(folder, CALLS, json.dumps(described))


@QUICK
@given(described=changed([ASYNC]))
@example(described={**ASYNC, "operations": {"listen": {"action": "receive", "channel": {"$ref": "#"}}}})
def test_asyncapi(described: Any, folder: Path) -> None:
    """It is read with patience, too."""
    tried(folder, MESSAGES, json.dumps(described))


@pytest.mark.parametrize("description", [SWAGGER, ASYNC], ids=["swagger", "asyncapi"])
def test_as_they_are_they_are_good(description: Json, folder: Path) -> None:
    """Else the tests above would try nothing."""
    tried(folder, CALLS if "swagger" in description else MESSAGES, json.dumps(description))
    found = check_document(Setup(document=str(folder / "main.json"))).diagnostics
    assert [each.render() for each in found if each.severity == "error" and each.rule != "asyncapi-step"] == []
