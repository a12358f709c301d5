"""Rules that hold steps against the described operations: each broken once and kept once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from treadle.cli.checking import check_document
from treadle.cli.opening import Setup
from treadle.errors import Diagnostic

HEAD = """\
arazzo: 1.1.0
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.json, type: openapi}
workflows:
- workflowId: main
  inputs: {type: object, properties: {x: {type: string}}}
  steps:
"""

JOB = {
    "type": "object",
    "required": ["status", "size", "done"],
    "properties": {
        "status": {"type": "string", "enum": ["InProgress", "Completed", "Failed", "Stopping", "Stopped"]},
        "size": {"type": "integer"},
        "done": {"type": "boolean"},
        "note": {"type": "string", "nullable": True},
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}},
        "free": {"type": "object"},
        "either": {"oneOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [7]}]},
        "whole": {"allOf": [{"$ref": "#/components/schemas/Item"}, {"properties": {"more": {"type": "string"}}}]},
        "self": {"$ref": "#/components/schemas/Job"},
        "lost": {"$ref": "#/components/schemas/Nowhere"},
    },
}
ITEM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {"id": {"type": "string"}, "parent": {"$ref": "#/components/schemas/Item"}},
}
NEW = {
    "type": "object",
    "required": ["name", "kind", "id", "mode"],
    "properties": {
        "name": {"type": "string"},
        "kind": {"type": "string"},
        "id": {"type": "string", "readOnly": True},
        "mode": {"default": "plain"},
        "memo": {"type": ["string", "null"]},
        "tag": ITEM,
    },
}


def answer(schema: Any, **more: Any) -> dict[str, Any]:
    return {"description": "ok", "content": {"application/json": {"schema": schema, **more}}}


API: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "components": {"schemas": {"Job": JOB, "Item": ITEM, "New": NEW}},
    "paths": {
        "/job": {
            "get": {
                "operationId": "job",
                "responses": {"200": answer({"$ref": "#/components/schemas/Job"}), "404": answer({"type": "object"})},
            },
            "post": {
                "operationId": "create",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/New"}}},
                },
                "responses": {"201": answer({"$ref": "#/components/schemas/Job"})},
            },
            "delete": {"operationId": "drop", "responses": {"204": {"description": "gone"}}},
            "put": {"operationId": "put", "responses": {"200": {"description": "ok"}}},
        },
        "/job/{q}": {"get": {"operationId": "one", "responses": {"200": {"description": "ok"}}}},
        "/part?q={q}": {"get": {"operationId": "part", "responses": {"200": {"description": "ok"}}}},
        "/search": {
            "get": {
                "operationId": "search",
                "requestBody": {"content": {"application/json": {}}},
                "responses": {"200": answer({"type": "object", "properties": {"a": {}}}, example={"b": 1})},
            },
            "post": {"responses": {"default": answer({"$ref": "#/components/schemas/Job"})}},
        },
    },
}


def checked(steps: str, folder: Path) -> list[Diagnostic]:
    lines = [f"  - {line}" for line in dedent(steps).strip().splitlines()]
    (folder / "api.json").write_text(json.dumps(API))
    (folder / "main.yaml").write_text(HEAD + "\n".join(lines) + "\n")
    found = check_document(Setup(document=str(folder / "main.yaml"), label="main.yaml")).diagnostics
    assert [each.render() for each in found if each.severity == "error"] == []
    return list(found)


@dataclass
class Case:
    """Steps, and the findings of one rule: `severity pointer in the first step`, with words of the first message."""

    id: str
    steps: str
    want: list[str] = field(default_factory=list)
    words: str = ""


def of(rule: str, *cases: Case) -> list[object]:
    return [pytest.param(rule, case, id=f"{rule}-{case.id}") for case in cases]


def job(*criteria: str, more: str = "") -> str:
    listed = ", ".join(f'{{condition: "{each}"}}' for each in criteria)
    return f"{{stepId: a, operationId: job, successCriteria: [{listed}]{more}}}"


def typed(condition: str, kind: str = "jsonpath") -> str:
    criterion = f"{{context: $response.body, type: {kind}, condition: '{condition}'}}"
    return f"{{stepId: a, operationId: job, successCriteria: [{criterion}]}}"


def reads(expression: str, operation: str = "operationId: job") -> str:
    return f"{{stepId: a, {operation}, outputs: {{o: '{expression}'}}}}"


def selects(selector: str, kind: str, context: str = "$response.body") -> str:
    value = f"{{context: '{context}', selector: '{selector}', type: {kind}}}"
    return f"{{stepId: a, operationId: job, outputs: {{o: {value}}}}}"


def poll(goes_on: str, *more: str, then: str = "") -> str:
    actions = [f'{{name: again, type: goto, stepId: a, criteria: [{{condition: "{goes_on}"}}]}}', *more]
    return f"{{stepId: a, operationId: job, onSuccess: [{', '.join(actions)}]}}{then}"


def branch(name: str, condition: str, step: str = "b") -> str:
    return f'{{name: {name}, type: goto, stepId: {step}, criteria: [{{condition: "{condition}"}}]}}'


def create(payload: str, more: str = "") -> str:
    return (
        f"{{stepId: a, operationId: create, requestBody: {{contentType: application/json, payload: {payload}}}{more}}}"
    )


STATUS = "$response.body#/status"
GOOD = "{name: n, kind: k}"
NEVER = ["warning /successCriteria/0/condition"]
READS = ["warning /outputs/o"]
NOTED = ["note /outputs/o"]

CASES = [
    *of(
        "criterion-never-true",
        Case("status", job("$statusCode == 200")),
        Case("text-of-status", job("$statusCode == '200'")),
        Case("two-statuses", job("$statusCode == 200", "$statusCode == 201"), ["warning /successCriteria/1/condition"], "hold together: no status fits"),
        Case("one-of-two", job("$statusCode == 200 || $statusCode == 201")),
        Case("both-at-once", job("$statusCode == 200 && $statusCode == 404"), NEVER, "no status fits"),
        Case("empty-range", job("$statusCode > 299 && $statusCode < 300"), NEVER),
        Case("no-status", job("$statusCode == 20"), NEVER),
        Case("pattern-of-status", "{stepId: a, operationId: job, successCriteria: [{context: $statusCode, type: regex, condition: '^6'}]}", NEVER),
        Case("good-pattern-of-status", "{stepId: a, operationId: job, successCriteria: [{context: $statusCode, type: regex, condition: '^2'}]}"),
        Case("pattern-of-text", "{stepId: a, operationId: job, successCriteria: [{context: $response.body#/note, type: regex, condition: '^q+$'}]}"),
        Case("enum", job(f"{STATUS} == 'Completed'")),
        Case("enum-without-case", job(f"{STATUS} == 'COMPLETED'")),
        Case("not-in-enum", job(f"{STATUS} == 'Succeeded'"), NEVER, "is one of"),
        Case("enum-by-jsonpath", typed('$.status == "Completed"')),
        Case("enum-by-jsonpath-has-case", typed('$.status == "completed"'), NEVER),
        Case("query", typed('$[?@.status == "x"]')),
        Case("number", job("$response.body#/size > 3")),
        Case("number-as-text", job("$response.body#/size == '3'")),
        Case("number-is-no-word", job("$response.body#/size == 'big'"), NEVER, "of type number, and never"),
        Case("truth", job("$response.body#/done == true")),
        Case("truth-is-no-text", job("$response.body#/done == 'true'"), NEVER),
        Case("must-be-there", job(f"{STATUS} == null"), NEVER),
        Case("may-be-missing", job("$response.body#/note == null")),
        Case("length", typed("$.items.length > 0")),
        Case("negative-length", typed("$.items.length < 0"), NEVER),
        Case("alternatives", job("$response.body#/either == 7")),
        Case("no-alternative", job("$response.body#/either == 8"), NEVER),
        Case("not-described", job("$response.body#/free/x == 8")),
        Case("broken-reference", job("$response.body#/lost == 8")),
        Case("through-itself", job("$response.body#/self/self/size == 'x'"), NEVER),
        Case("inputs", job("$inputs.x == 'a' && $inputs.x == 'b'"), NEVER, "no value fits"),
        Case("two-inputs", job("$inputs.x == 'a' && $inputs.x == 'A'")),
        Case("constants", job("1 == 2"), NEVER, "constants"),
        Case("of-an-action", poll(f"{STATUS} == 'Running'"), ["warning /onSuccess/0/criteria/0/condition"]),
        Case("failures-may-be-anything", "{stepId: a, operationId: job, onFailure: [{name: f, type: end, criteria: [{condition: \"$response.body#/status == 'x'\"}]}]}"),
        Case("contradiction-of-a-failure", "{stepId: a, operationId: job, onFailure: [{name: f, type: end, criteria: [{condition: $statusCode == 500}, {condition: $statusCode == 501}]}]}", ["warning /onFailure/0/criteria/1/condition"]),
        Case("other-status", job("$statusCode == 202", f"{STATUS} == 'Succeeded'")),
    ),
    *of(
        "criterion-always-true",
        Case("any-status", job("$statusCode >= 100"), ["warning /successCriteria/0/condition"]),
        Case("either-way", job(f"{STATUS} == 'a' || {STATUS} != 'a'"), ["warning /successCriteria/0/condition"]),
        Case("some-status", job("$statusCode < 300")),
        Case("number-alone", job("$statusCode == 200 || 201"), ["warning /successCriteria/0/condition"], "|| $statusCode == 201"),
        Case("meant", job("true"), ["note /successCriteria/0/condition"]),
        Case("not-null", job("$response.body#/note != null")),
    ),
    *of(
        "unhandled-value",
        Case("stopping", poll(f"{STATUS} == 'InProgress'"), ["warning /onSuccess/0"], "leaves on `Stopping`"),
        Case("stopping-by-the-other", poll(f"{STATUS} == 'InProgress'", branch("end", f"{STATUS} != 'InProgress'"), then="\n{stepId: b, operationId: job}"), ["warning /onSuccess/1"]),
        Case("both", poll(f"{STATUS} == 'InProgress' || {STATUS} == 'Stopping'")),
        Case("until", poll(f"{STATUS} != 'Completed' && {STATUS} != 'Failed' && {STATUS} != 'Stopped'")),
        Case("mentioned", poll(f"{STATUS} == 'InProgress'", branch("end", f"{STATUS} == 'Stopping'", "c"), then="\n{stepId: b, operationId: job}\n{stepId: c, operationId: job}")),
        Case("left-alike", poll(f"{STATUS} == 'InProgress' || {STATUS} == 'Stopping'", branch("done", f"{STATUS} == 'Completed'"), then="\n{stepId: b, operationId: job}"), ["note /onSuccess"], "`Failed` or `Stopped`"),
        Case("depends-on-more", poll(f"{STATUS} == 'InProgress' && $inputs.x == 'a'")),
        Case("fallen-through", f"{{stepId: a, operationId: job, onSuccess: [{branch('c', f'''{STATUS} == 'Completed' ''')}, {branch('f', f'''{STATUS} == 'Failed' ''')}]}}\n{{stepId: b, operationId: job}}", ["note /onSuccess"], "`InProgress`, `Stopping` or `Stopped`"),
        Case("with-a-last-one", f"{{stepId: a, operationId: job, onSuccess: [{branch('c', f'''{STATUS} == 'Completed' ''')}, {branch('f', f'''{STATUS} == 'Failed' ''')}, {{name: else, type: end}}]}}\n{{stepId: b, operationId: job}}"),
        Case("only-one", f"{{stepId: a, operationId: job, onSuccess: [{branch('c', f'''{STATUS} == 'Completed' ''')}]}}\n{{stepId: b, operationId: job}}"),
    ),
    *of(
        "unknown-response-field",
        Case("known", reads("$response.body#/status")),
        Case("whole", reads("$response.body")),
        Case("close", reads("$response.body#/staus"), READS, "`staus`"),
        Case("far", reads("$response.body#/xyz"), NOTED),
        Case("selector", selects("$.staus", "jsonpath"), ["warning /outputs/o/selector"], "`staus`"),
        Case("selector-within", selects("/xyz", "jsonpointer", "$response.body#/items/0"), ["warning /outputs/o/selector"]),
        Case("selector-known", selects("$.items[0].id", "jsonpath")),
        Case("selector-of-many", selects("$.items[*].xyz", "jsonpath")),
        Case("of-a-text", reads("$response.body#/status/x"), READS, "described as a text, which has no members"),
        Case("of-a-list", reads("$response.body#/items/id"), READS, "elements only"),
        Case("element", reads("$response.body#/items/0/id")),
        Case("closed", reads("$response.body#/items/0/xyz"), READS),
        Case("every-element", reads("$response.body.items[*].xyz")),
        Case("length", reads("$response.body.items.length")),
        Case("free", reads("$response.body#/free/x")),
        Case("joined", reads("$response.body#/whole/more")),
        Case("broken-reference", reads("$response.body#/lost/x")),
        Case("in-an-example", reads("$response.body#/b", "operationId: search")),
        Case("default-only", reads("$response.body#/staus", "operationPath: '{$sourceDescriptions.api.url}#/paths/~1search/post'"), READS),
        Case("without-a-body", reads("$response.body#/x", "operationId: drop"), READS, "204 has none"),
        Case("in-a-criterion", job("$response.body#/staus == 'x'"), ["warning /successCriteria/0/condition"]),
    ),
    *of(
        "missing-body",
        Case("given", create(GOOD)),
        Case("none", "{stepId: a, operationId: create}", ["warning "], "requires a request body"),
        Case("field", create("{name: n}"), ["warning /requestBody/payload"], "no `kind`"),
        Case("misspelt-is-told-once", create("{name: n, kin: k}")),
        Case("expression", create("$inputs.x")),
        Case("inner", create("{name: n, kind: k, tag: {parent: {id: i}}}"), ["warning /requestBody/payload/tag"], "no `id`"),
        Case("replaced", create("{name: n}", "").replace("payload:", "replacements: [{target: /kind, value: k}], payload:")),
    ),
    *of(
        "unknown-payload-field",
        Case("known", create(GOOD)),
        Case("close", create("{name: n, kin: k}"), ["warning /requestBody/payload/kin"], "no field `kin`"),
        Case("far", create("{name: n, kind: k, xyz: 1}")),
        Case("closed", create("{name: n, kind: k, tag: {id: i, xyz: 1}}"), ["warning /requestBody/payload/tag/xyz"]),
    ),
    *of(
        "no-value",
        Case("answer-in-a-body", create("{name: $response.body#/id, kind: '{$statusCode}'}"), ["warning /requestBody/payload/name", "warning /requestBody/payload/kind"], "before there is an answer"),
        Case("answer-in-a-parameter", "{stepId: a, operationId: search, parameters: [{name: q, in: query, value: $response.header.ETag}]}", ["warning /parameters/0/value"]),
        Case("request-in-a-parameter", "{stepId: a, operationId: search, parameters: [{name: q, in: query, value: $request.body#/q}]}", ["warning /parameters/0/value"]),
        Case("replacement", create(GOOD, "").replace("payload:", "replacements: [{target: /kind, value: $response.body}], payload:"), ["warning /requestBody/replacements/0/value"]),
        Case("url-in-a-body", create("{name: $url, kind: $method}"), ["warning /requestBody/payload/name"]),
        Case("outputs-in-a-body", create("{name: $outputs.x, kind: k}"), ["warning /requestBody/payload/name"], "a workflow, after the step"),
        Case("outputs-of-an-operation", reads("$outputs.note"), ["warning /outputs/o"]),
        Case("outputs-in-a-criterion", job("$outputs.note == 'x'"), ["warning /successCriteria/0/condition"]),
        Case("answer-where-it-is", job("$response.body#/size > 1", more=", outputs: {o: $response.body#/note, p: $request.header.Accept}")),
        Case("answer-in-an-action", "{stepId: a, operationId: job, onSuccess: [{name: x, type: goto, stepId: a, criteria: [{condition: $response.body#/size == 1}]}]}"),
    ),
    *of(
        "unfitting-value",
        Case("texts", create("{name: n, kind: k}")),
        Case("number", create("{name: 5, kind: k}"), ["warning /requestBody/payload/name"], "wants a text for `name`, not `5`"),
        Case("list", create("{name: [n], kind: k}"), ["warning /requestBody/payload/name"], "not a list"),
        Case("null", create("{name: null, kind: k}"), ["warning /requestBody/payload/name"], "not null"),
        Case("text-or-null", create("{name: n, kind: k, memo: [x]}"), ["warning /requestBody/payload/memo"], "wants null or a text for `memo`"),
        Case("expression", create("{name: $inputs.x, kind: '{$inputs.x}'}")),
        Case("deep", create("{name: n, kind: k, tag: {id: true}}"), ["warning /requestBody/payload/tag/id"]),
    ),
    *of(
        "needed-input",
        Case("in-an-object", create("{name: $inputs.x, kind: k}")),
        Case("in-a-query", "{stepId: a, operationId: search, parameters: [{name: q, in: query, value: $inputs.x}]}"),
        Case("in-the-query-of-a-path", "{stepId: a, operationId: part, parameters: [{name: q, in: query, value: $inputs.x}]}", ["warning /parameters/0"]),
        Case("in-a-path", "{stepId: a, operationId: one, parameters: [{name: q, in: path, value: $inputs.x}]}",
             ["warning /parameters/0"], "the input 'x' may be left out"),
        Case("in-a-text", "{stepId: a, operationId: search, parameters: [{name: q, in: query, value: 'a-{$inputs.x}'}]}", ["warning /parameters/0"]),
        Case("in-a-payload", create("{name: 'a {$inputs.x}', kind: k}"), ["warning "]),
        Case("as-a-body-that-is-required", create("$inputs.x"), ["warning "]),
        Case("as-a-body", "{stepId: a, operationId: search, requestBody: {contentType: application/json, payload: $inputs.x}}"),
        Case("not-declared", "{stepId: a, operationId: one, parameters: [{name: q, in: path, value: $inputs.y}]}"),
    ),
    *of(
        "needless-body",
        Case("described", "{stepId: a, operationId: search, requestBody: {contentType: application/json, payload: {}}}"),
        Case("get", "{stepId: a, operationId: job, requestBody: {contentType: application/json, payload: {}}}", ["warning /requestBody"], "is a GET"),
        Case("delete", "{stepId: a, operationId: drop, requestBody: {contentType: application/json, payload: {}}}", ["warning /requestBody"], "is a DELETE"),
        Case("post", create(GOOD)),
    ),
    *of(
        "blind-retry",
        Case("post", create(GOOD, ", onFailure: [{name: r, type: retry}]"), ["warning /onFailure/0"], "repeats the POST"),
        Case("with-criteria", create(GOOD, ", onFailure: [{name: r, type: retry, criteria: [{condition: $statusCode == 503}]}]")),
        Case("get", "{stepId: a, operationId: job, onFailure: [{name: r, type: retry}]}"),
        Case("put", "{stepId: a, operationId: put, onFailure: [{name: r, type: retry}]}"),
        Case("key", create(GOOD, ", parameters: [{name: Idempotency-Key, in: header, value: $inputs.x}], onFailure: [{name: r, type: retry}]")),
        Case("token", create("{name: n, kind: k, ClientRequestToken: t}", ", onFailure: [{name: r, type: retry}]")),
    ),
    *of(
        "prefer-operation-id",
        Case("has-one", "{stepId: a, operationPath: '{$sourceDescriptions.api.url}#/paths/~1job/get'}", ["note /operationPath"], "`job`"),
        Case("has-none", "{stepId: a, operationPath: '{$sourceDescriptions.api.url}#/paths/~1search/post'}"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_rule_finds_what_breaks_it(rule: str, case: Case, tmp_path: Path) -> None:
    """And nothing else of its kind."""
    found = [each for each in checked(case.steps, tmp_path) if each.rule == rule]
    start = "/workflows/0/steps/0"
    assert [f"{each.severity} {each.place.pointer.removeprefix(start)}" for each in found if each.place] == case.want
    assert not found or case.words in f"{found[0].message} {found[0].hint}"


def test_everything_is_told_once(tmp_path: Path) -> None:
    """What stands at the workflow holds for every step of it; what a rule finds, planning finds again."""
    (tmp_path / "api.json").write_text(json.dumps(API))
    text = HEAD.replace("  steps:", "  failureActions: [{name: f, type: goto, stepId: lost}]\n  steps:")
    text = text.replace("  inputs:", "  parameters: [{name: q, in: query, value: $inputs.nope}]\n  inputs:")
    steps = "".join(f"  - {{stepId: s{index}, operationId: job}}\n" for index in range(5))
    (tmp_path / "main.yaml").write_text(text + steps)
    found = check_document(Setup(document=str(tmp_path / "main.yaml"), label="main.yaml")).diagnostics
    rules = [each.rule for each in found]
    assert rules.count("unknown-step") == 1
    assert rules.count("undeclared-input") == 1
    assert len(set(found)) == len(found)


def test_findings_come_in_the_order_of_the_document(tmp_path: Path) -> None:
    """Whatever found them."""
    found = checked(
        f"{job('$statusCode == 1')}\n{{stepId: a2, operationId: drop, onSuccess: [{{name: e, type: end}}]}}\n{{stepId: c, operationId: create}}",
        tmp_path,
    )
    lines = [each.place.line for each in found if each.place]
    assert lines == sorted(lines)
    assert len({each.rule for each in found}) > 2
