"""`check --fix`: what is rewritten, how little of the text changes, and what is left alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treadle.arazzo.fixes import CannotEdit, Change, Editor, applied
from treadle.arazzo.load import load
from treadle.cli.checking import check_document
from treadle.cli.fix import fixed_text
from treadle.cli.opening import Setup
from treadle.errors import DescriptionError

API = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/job": {
            "get": {
                "operationId": "job",
                "parameters": [{"name": "q", "in": "query"}],
                "responses": {"200": {"description": "ok", "content": {"application/json": {}}}},
            },
            "post": {
                "operationId": "make",
                "parameters": [{"name": "q", "in": "query"}],
                "requestBody": {"content": {"application/json": {"schema": {"properties": {"a": {}, "b": {}}}}}},
                "responses": {"200": {"description": "ok"}},
            },
        },
        "/jobs/{jobId}": {
            "get": {
                "operationId": "one",
                "parameters": [{"name": "jobId", "in": "path", "required": True}],
                "responses": {"200": {"description": "ok"}},
            }
        },
    },
}
OTHER = {**API, "paths": {"/x": {"get": {"operationId": "x", "responses": {"200": {"description": "ok"}}}}}}

HEAD = """\
arazzo: 1.1.0   # the version stays
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.json, type: openapi}
- {name: other, url: ./other.json, type: openapi}
workflows:
- workflowId: main
  inputs: {type: object, properties: {token: {type: string}, list: {type: array}}}
  steps:
"""


def write(folder: Path, text: str, name: str = "main.yaml") -> Setup:
    (folder / "api.json").write_text(json.dumps(API))
    (folder / "other.json").write_text(json.dumps(OTHER))
    (folder / name).write_bytes(text.encode())
    return Setup(document=str(folder / name), label=name)


def fixed(folder: Path, text: str) -> str:
    """Fix a text; what was fixed has nothing left to fix."""
    found = fixed_text(write(folder, text))
    if found is None:
        return text
    old, new, _ = found
    assert old == text
    assert fixed_text(write(folder, new)) is None
    return new


def steps(text: str) -> str:
    return HEAD + "".join(f"  {line}\n" for line in dedent(text).strip("\n").splitlines())


STEP = "- stepId: a\n  operationId: $sourceDescriptions.api.job\n"
MAKE = "- stepId: a\n  operationId: $sourceDescriptions.api.make\n"


def criterion(text: str) -> str:
    return STEP + "  successCriteria:\n" + "".join(f"  {line}\n" for line in dedent(text).strip("\n").splitlines())


@dataclass
class Case:
    """Steps before and after; None: they stay as they are."""

    id: str
    before: str
    after: str | None


BODY = STEP + "  requestBody: {payload: {a: %s}}\n"

REPAIRS = [
    Case("root", BODY % "$input.token", BODY % "$inputs.token"),
    Case("root-in-text", BODY % '"x {$input.token}"', BODY % '"x {$inputs.token}"'),
    Case("root-in-json", STEP + "  requestBody:\n    payload: '{\"a\": {$input.token}}'\n", STEP + "  requestBody:\n    payload: '{\"a\": {$inputs.token}}'\n"),
    Case("braces", BODY % "{$inputs.token}", BODY % "$inputs.token"),
    Case("undeclared", BODY % "$input.path", None),
    Case("other-language", BODY % "$input.path('$')", None),
    Case("condition", criterion("- condition: $respone.body#/a == 1 && statusCode == 200"), criterion("- condition: $response.body#/a == 1 && $statusCode == 200")),
    Case("operator", criterion("- condition: $statusCode = 200 and $url"), criterion("- condition: $statusCode == 200 && $url")),
    Case("context", criterion("- {context: $respone.body, condition: $.a, type: jsonpath}"), criterion("- {context: $response.body, condition: $.a, type: jsonpath}")),
    Case("output", STEP + "  outputs: {a: response.header.X, b: $response.statusCode}\n", STEP + "  outputs: {a: $response.header.X, b: $statusCode}\n"),
    Case("field", STEP + "  succesCriteria: [{condition: $url}]\n", STEP + "  successCriteria: [{condition: $url}]\n"),
    Case("dash", STEP + "  successCriteria:\n    condition: $url   # why\n\n    # and\n    type: regex\n    context: |\n      $url\n", STEP + "  successCriteria:\n    - condition: $url   # why\n\n      # and\n      type: regex\n      context: |\n        $url\n"),
    Case("dash-and-field", STEP + "  succesCriteria:\n    condtion: $statuscode == 200\n", STEP + "  successCriteria:\n    - condition: $statusCode == 200\n"),
    Case("dash-in-flow", STEP + "  successCriteria: {condition: $url}\n", STEP + "  successCriteria: [{condition: $url}]\n"),
    Case("text", STEP + "  successCriteria: $statusCode == 200\n", STEP + "  successCriteria: [{condition: $statusCode == 200}]\n"),
    Case("texts", STEP + "  successCriteria:\n  - $statusCode == 200\n", STEP + "  successCriteria:\n  - condition: $statusCode == 200\n"),
    Case("members", STEP + "  outputs:\n    - a: $url  # x\n    - b: $method\n", STEP + "  outputs:\n      a: $url  # x\n      b: $method\n"),
    Case("one-item", STEP + "  requestBody:\n  - payload: 1\n    contentType: text/plain\n", STEP + "  requestBody:\n    payload: 1\n    contentType: text/plain\n"),
]  # fmt: skip


@pytest.mark.parametrize("case", REPAIRS, ids=[case.id for case in REPAIRS])
def test_an_error_with_one_certain_repair_is_put_right(case: Case, tmp_path: Path) -> None:
    """What was wrong with it is gone afterwards, and the rest of the text is as it was."""
    before, after = steps(case.before), steps(case.after or case.before)
    assert fixed(tmp_path, before) == after
    if case.after:
        assert not [
            each.render() for each in check_document(write(tmp_path, after)).diagnostics if each.severity == "error"
        ]


CASES = [
    # jsonpath-comparison
    Case("comparison", criterion('- context: $response.body\n  condition: $.S == "a"\n  type: jsonpath'), criterion("- condition: $response.body#/S == 'a'")),
    Case("comparison-in-another-order", criterion('- type: jsonpath\n  condition: $.S == "a"\n  context: $response.body'), criterion("- condition: $response.body#/S == 'a'")),
    Case("comparison-in-the-middle", criterion('- condition: $.S == "a"\n  type: jsonpath\n  context: $response.body'), criterion("- condition: $response.body#/S == 'a'")),
    Case("comparison-in-flow", criterion('- {context: $response.body, condition: $.S == "a", type: jsonpath}'), criterion("- {condition: $response.body#/S == 'a'}")),
    Case("quotes-of-quotes", criterion("- context: $response.body\n  condition: '$.S == \"it''s\"'\n  type: jsonpath"), criterion("- condition: \"$response.body#/S == 'it''s'\"")),
    Case("chain", criterion('- context: $response.body\n  condition: $.A != "x" && ($.b.c[0] == 1 || $.d >= -2.5)\n  type: jsonpath'), criterion("- condition: $response.body#/A != 'x' && ($response.body#/b/c/0 == 1 || $response.body#/d >= -2.5)")),
    Case("comment-behind-the-dash", criterion("- context: $response.body  # why\n  condition: $.S == 1\n  type: jsonpath"), None),
    Case("comment-behind-the-last", criterion("- condition: $.S == 1 # what\n  context: $response.body\n  type: jsonpath # how\n# after"), criterion("- condition: $response.body#/S == 1 # what\n  # how\n# after")),
    Case("pointer-in-context", criterion("- context: $response.body#/deep\n  condition: $.S == true\n  type: jsonpath"), criterion("- condition: $response.body#/deep/S == true")),
    Case("expression-on-the-right", criterion("- context: $response.body\n  condition: $.S == $inputs.token\n  type: jsonpath"), criterion("- condition: $response.body#/S == $inputs.token")),
    Case("more-than-none", criterion("- context: $response.body\n  condition: $.items.length > 0\n  type: jsonpath"), criterion("- context: $response.body\n  condition: $.items[*]\n  type: jsonpath")),
    Case("existence-has-no-simple-form", criterion("- context: $response.body\n  condition: $.a && $.b == 1\n  type: jsonpath"), None),
    Case("length-has-no-simple-form", criterion("- context: $response.body\n  condition: $.a.length == 3\n  type: jsonpath"), None),
    Case("from-the-end", criterion("- context: $response.body\n  condition: $.a[-1] == 3\n  type: jsonpath"), None),
    Case("name-with-a-space", criterion("- context: $response.body\n  condition: $['a b'] == 3\n  type: jsonpath"), None),
    Case("query-stays", criterion('- context: $response.body\n  condition: $.items[?@.a == "b"]\n  type: jsonpath'), None),
    Case("implied-context", criterion("- condition: $.items[*]\n  type: jsonpath"), criterion("- context: $response.body\n  condition: $.items[*]\n  type: jsonpath")),
    Case("forgotten-type", criterion("- condition: $.S == 'a'"), criterion("- condition: $response.body#/S == 'a'")),
    Case("forgotten-type-of-a-query", criterion("- condition: $.a[?@.b == 1]"), criterion("- context: $response.body\n  type: jsonpath\n  condition: $.a[?@.b == 1]")),
    Case("forgotten-type-of-a-pattern", criterion("- context: $statusCode\n  condition: ^2"), criterion("- type: regex\n  context: $statusCode\n  condition: ^2")),
    Case("pointer-in-a-query", criterion("- context: $response.body\n  condition: '#/a/0 == 5'\n  type: jsonpath"), criterion("- condition: '$response.body#/a/0 == 5'")),
    # simple
    Case("double-quotes", criterion('- condition: $response.body#/a == "x"'), criterion("- condition: $response.body#/a == 'x'")),
    Case("double-quotes-in-single", criterion("- condition: '$response.body#/a == \"x\"'"), criterion("- condition: \"$response.body#/a == 'x'\"")),
    Case("double-quotes-in-double", criterion('- condition: "$response.body#/a == \\"x\\""'), criterion("- condition: \"$response.body#/a == 'x'\"")),
    Case("bare-word", criterion("- condition: $response.body#/a == available"), criterion("- condition: $response.body#/a == 'available'")),
    Case("a number without its zero", criterion("- condition: $response.body#/a > -.5"), criterion("- condition: $response.body#/a > -0.5")),
    Case("constants", criterion("- condition: $response.body#/a == True && $response.body#/b != None"), criterion("- condition: $response.body#/a == true && $response.body#/b != null")),
    Case("constants-in-a-query", criterion("- context: $response.body\n  condition: $.a == False\n  type: jsonpath"), criterion("- condition: $response.body#/a == false")),
    Case("braces", criterion("- condition: '{$statusCode} == 200'"), criterion("- condition: '$statusCode == 200'")),
    Case("folded", criterion('- condition: >-\n    $response.body#/a == "x"'), criterion("- condition: >-\n    $response.body#/a == 'x'")),
    Case("simple-needs-no-type", criterion("- condition: $statusCode == 200\n  type: simple"), criterion("- condition: $statusCode == 200")),
    Case("simple-first", criterion("- type: simple\n  condition: $statusCode == 200"), criterion("- condition: $statusCode == 200")),
    Case("three-members", criterion('- context: $statusCode\n  condition: "=="\n  value: 200'), criterion('- condition: "$statusCode == 200"')),
    Case("slashes", criterion("- context: $statusCode\n  condition: /^2\\d\\d$/i\n  type: regex"), criterion("- context: $statusCode\n  condition: (?i)^2\\d\\d$\n  type: regex")),
    Case("text-with-an-expression", criterion("- condition: \"'{$inputs.token}' == 'a'\""), None),
    # expressions
    Case("dots", STEP + "  outputs:\n    o: $response.body.a[0].b   # where", STEP + "  outputs:\n    o: $response.body#/a/0/b   # where"),
    Case("dots-in-a-text", STEP + "  parameters: [{name: q, in: query, value: 'x {$inputs.list[0].y} z'}]", STEP + "  parameters: [{name: q, in: query, value: 'x {$inputs.list#/0/y} z'}]"),
    Case("length-is-no-pointer", STEP + "  outputs:\n    o: $response.body.a.length", None),
    Case("each-is-no-pointer", STEP + "  outputs:\n    o: $response.body.a[*].b", None),
    Case("plural", STEP + "  outputs: {o: $response.headers.X-Rate}", STEP + "  outputs: {o: $response.header.X-Rate}"),
    Case("left-out", STEP + "  outputs: {o: $response.body}\n- stepId: b\n  operationId: $sourceDescriptions.api.job\n  parameters:\n  - {name: q, in: query, value: $steps.a.o}", STEP + "  outputs: {o: $response.body}\n- stepId: b\n  operationId: $sourceDescriptions.api.job\n  parameters:\n  - {name: q, in: query, value: $steps.a.outputs.o}"),
    Case("step-left-out", STEP + "  outputs: {o: $response.body}\n- stepId: b\n  operationId: $sourceDescriptions.api.job\n  parameters:\n  - {name: q, in: query, value: $outputs.o}", STEP + "  outputs: {o: $response.body}\n- stepId: b\n  operationId: $sourceDescriptions.api.job\n  parameters:\n  - {name: q, in: query, value: $steps.a.outputs.o}"),
    Case("no-braces", STEP + "  parameters:\n  - name: Authorization\n    in: header\n    value: Bearer $inputs.token", STEP + "  parameters:\n  - name: Authorization\n    in: header\n    value: Bearer {$inputs.token}"),
    Case("no-braces-in-flow", STEP + "  parameters: [{name: q, in: query, value: Bearer $inputs.token}]", STEP + "  parameters: [{name: q, in: query, value: 'Bearer {$inputs.token}'}]"),
    # operations
    Case("unqualified", "- stepId: a\n  operationId: job", "- stepId: a\n  operationId: $sourceDescriptions.api.job"),
    Case("half-qualified", "- stepId: a\n  operationId: api.job", "- stepId: a\n  operationId: $sourceDescriptions.api.job"),
    Case("path", "- stepId: a\n  operationPath: $sourceDescriptions.api.url#/paths/~1job/get", "- stepId: a\n  operationPath: '{$sourceDescriptions.api.url}#/paths/~1job/get'"),
    Case("path-line", "- stepId: a\n  operationPath: GET /job", "- stepId: a\n  operationPath: '{$sourceDescriptions.api.url}#/paths/~1job/get'"),
    Case("in-another-case", "- stepId: a\n  operationId: $sourceDescriptions.api.JOB", "- stepId: a\n  operationId: $sourceDescriptions.api.job"),
    Case("path-parameter", "- stepId: a\n  operationId: $sourceDescriptions.api.one\n  parameters:\n  - {name: job_id, in: query, value: 1}", "- stepId: a\n  operationId: $sourceDescriptions.api.one\n  parameters:\n  - {name: jobId, in: path, value: 1}"),
    Case("own-retry", STEP + "  onFailure:\n  - name: r\n    type: retry\n    stepId: a\n    retryLimit: 2", STEP + "  onFailure:\n  - name: r\n    type: retry\n    retryLimit: 2"),
    Case("retry-of-another", STEP + "- stepId: b\n  operationId: $sourceDescriptions.api.job\n  onFailure:\n  - name: r\n    type: retry\n    stepId: a", None),
    # parameters of the body
    Case("fields", MAKE + "  parameters:\n  - name: a\n    in: body\n    value: $inputs.token   # who\n  - in: body\n    value:\n      c: [1,\n        2]\n      # why\n      d: |\n        text\n    name: 'b'\n  outputs: {o: $url}", MAKE + "  requestBody:\n    payload:\n      a: $inputs.token   # who\n      'b':\n        c: [1,\n          2]\n        # why\n        d: |\n          text\n  outputs: {o: $url}"),
    Case("a-comment-behind-a-text", MAKE + "  parameters:\n  - value: |\n      text\n    in: body\n    name: a   # why", None),
    Case("a-comment-behind-a-text-in-a-field", MAKE + "  parameters:\n  - value:\n      c: >-\n        text\n    in: body\n    name: a   # why", None),
    Case("fields-beside-parameters", MAKE + "  parameters:\n    - name: a\n      in: body\n      value: 1\n    - name: q   # a query\n      in: query\n      value: x\n    - {name: b, in: body, value: {c: 2}}\n", MAKE + "  requestBody:\n    payload:\n      a: 1\n      b: {c: 2}\n  parameters:\n    - name: q   # a query\n      in: query\n      value: x\n"),
    Case("fields-first-in-their-step", "- parameters:\n  - name: a\n    in: body\n    value: >-\n      x\n      y\n  - {name: q, in: query, value: x}\n" + MAKE.replace("- ", "  ", 1), "- requestBody:\n    payload:\n      a: >-\n        x\n        y\n  parameters:\n  - {name: q, in: query, value: x}\n" + MAKE.replace("- ", "  ", 1)),
    Case("fields-in-flow", MAKE + "  parameters: [{name: a, in: body, value: $inputs.token}, {name: b, in: body, value: [1]}]  # all", MAKE + "  requestBody: {payload: {a: $inputs.token, b: [1]}}  # all"),
    Case("fields-written-properly", MAKE + "  parameters:\n  - name: a\n    in: body\n    value: Bearer $inputs.token", MAKE + "  requestBody:\n    payload:\n      a: Bearer {$inputs.token}"),
    Case("whole-body", MAKE + "  parameters:\n  - name: it\n    in: body\n    value:\n        a: 1\n\n        b: 2\n", MAKE + "  requestBody:\n    payload:\n        a: 1\n\n        b: 2\n"),
    Case("whole-body-in-flow", MAKE + "  parameters: [{in: body, name: it, value: {a: 1}}]", MAKE + "  requestBody: {payload: {a: 1}}"),
    Case("field-with-a-comment", MAKE + "  parameters:\n  - name: a  # it\n    in: body\n    value: 1", None),
    Case("field-with-more", MAKE + "  parameters:\n  - {name: a, in: body, value: 1, x-why: so}", None),
    Case("field-with-an-anchor", MAKE + "  parameters:\n  - {name: a, in: body, value: &it {c: 1}}\n  - {name: b, in: body, value: *it}", None),
    Case("field-beside-a-body", MAKE + "  parameters: [{name: a, in: body, value: 1}]\n  requestBody: {payload: {b: 2}}", None),
    Case("field-among-others-in-flow", MAKE + "  parameters: [{name: a, in: body, value: 1}, {name: q, in: query, value: x}, {name: b, in: body, value: '{2}'}]  # all", MAKE + "  requestBody: {payload: {a: 1, b: '{2}'}}\n  parameters: [{name: q, in: query, value: x}]  # all"),
    Case("field-of-a-step-in-flow", "- {stepId: a, operationId: $sourceDescriptions.api.make, parameters: [{name: a, in: body, value: 1}, {name: q, in: query, value: x}]}", "- {stepId: a, operationId: $sourceDescriptions.api.make, requestBody: {payload: {a: 1}}, parameters: [{name: q, in: query, value: x}]}"),
    # what stays
    Case("anchored", STEP + "  outputs:\n    o: &it $response.body.a\n    p: *it", None),
    Case("proper", criterion("- condition: $response.body#/a == 'x'"), None),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_it_is_written_properly(case: Case, tmp_path: Path) -> None:
    """And everything around it stays as it was."""
    before = steps(case.before)
    after = before if case.after is None else steps(case.after)
    assert fixed(tmp_path, before) == after


def test_json_keeps_its_layout(tmp_path: Path) -> None:
    """Each member on its line, commas in place."""
    text = json.dumps(load(steps(CASES[0].before).encode(), "x").value, indent=2)
    new = fixed(tmp_path, text)
    assert json.loads(new) == load(steps(str(CASES[0].after)).encode(), "x").value
    assert new == text.replace(
        '"context": "$response.body",\n              "condition": "$.S == \\"a\\"",\n              "type": "jsonpath"\n',
        '"condition": "$response.body#/S == \'a\'"\n',
    )


def test_parameters_move_in_json_too(tmp_path: Path) -> None:
    """Each member on its line, commas in place."""
    (case,) = (each for each in CASES if each.id == "fields-beside-parameters")
    new = fixed(tmp_path, json.dumps(load(steps(case.before).encode(), "x").value, indent=2))
    assert json.loads(new) == load(steps(str(case.after)).encode(), "x").value
    assert '          "requestBody": {"payload": {"a": 1, "b": {\n' in new
    assert '          "parameters": [\n            {\n              "name": "q",' in new


@pytest.mark.parametrize(
    "name", ["comparison-in-another-order", "implied-context", "fields", "fields-beside-parameters"]
)
def test_line_ends_stay(name: str, tmp_path: Path) -> None:
    """Those of the file."""
    (case,) = (each for each in CASES if each.id == name)
    assert fixed(tmp_path, steps(case.before).replace("\n", "\r\n")) == steps(str(case.after)).replace("\n", "\r\n")


def test_older_documents_point_into_bodies_only(tmp_path: Path) -> None:
    """Pointers into outputs came with 1.1."""
    text = steps(
        STEP + "  outputs: {o: $response.body.a.b}\n- stepId: b\n  operationId: $sourceDescriptions.api.job\n"
        "  outputs: {p: $steps.a.outputs.o.c}"
    ).replace("arazzo: 1.1.0", "arazzo: 1.0.1")
    assert fixed(tmp_path, text) == text.replace("$response.body.a.b", "$response.body#/a/b")


def test_a_component_of_two_workflows_is_rewritten_once(tmp_path: Path) -> None:
    """Where both read it the same way."""
    action = "  onFailure: [{reference: $components.failureActions.f}]\n"
    text = (
        steps(STEP + action)
        + "- workflowId: second\n  steps:\n"
        + "".join(f"  {line}\n" for line in (STEP + action).splitlines())
    )
    text += "components:\n  failureActions:\n    f:\n      name: f\n      type: end\n"
    text += '      criteria:\n      - condition: $response.body#/a == "x"\n'
    assert fixed(tmp_path, text) == text.replace('"x"', "'x'")


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_what_was_rewritten_is_not_reported_any_more(case: Case, tmp_path: Path) -> None:
    """By the rules whose rewriting it was."""
    setup = write(tmp_path, steps(case.before))
    found = fixed_text(setup)
    if found is None:
        return
    rules = {each.rule for each in found[2]}
    document = load(found[1].encode(), setup.document)
    assert not rules & {each.rule for each in check_document(setup, document=document).diagnostics}


# ---------------------------------------------------------------------------------------------------------------------
# Edits
# ---------------------------------------------------------------------------------------------------------------------

_NAMES = st.text(st.sampled_from("abcdefg"), min_size=1, max_size=3)
_TEXTS = st.text(st.sampled_from("ab $'\"\\:#{}[],&*!|>-é\t%@`"), max_size=12)


@st.composite
def documents(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """Give a mapping of mappings of texts, and one of the ways to write it."""
    value = draw(
        st.dictionaries(_NAMES, st.dictionaries(_NAMES, _TEXTS, min_size=2, max_size=4), min_size=1, max_size=3)
    )
    if draw(st.booleans()):
        return value, json.dumps(value, indent=draw(st.sampled_from([None, 2])), ensure_ascii=False)
    lines = []
    for name, members in value.items():
        lines.append(f"{name}:" + draw(st.sampled_from(["", "  # comment"])))
        for key, text in members.items():
            quoted = (
                json.dumps(text, ensure_ascii=False) if draw(st.booleans()) else "'" + text.replace("'", "''") + "'"
            )
            lines.append(f"  {key}: {quoted}" + draw(st.sampled_from(["", " # it's", "   "])))
    return value, "\n".join(lines) + draw(st.sampled_from(["\n", ""]))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_edits_do_what_they_say(data: st.DataObject) -> None:
    """Whatever the texts and however they are quoted, the edited document reads as the changed value."""
    value, text = data.draw(documents())
    document = load(text.encode(), "x.yaml")
    assert document.value == value
    changes: list[Change] = []
    for name, members in value.items():
        for key in members:
            wish = data.draw(st.sampled_from(["keep", "text", "remove"]))
            if wish == "text":
                changes.append(Change(f"/{name}/{key}", "r", data.draw(_TEXTS)))
            elif wish == "remove":
                changes.append(Change(f"/{name}/{key}", "r"))
    try:
        new = Editor(document).edited(changes)
    except CannotEdit:
        gone = {change.pointer.rpartition("/")[0] for change in changes if change.text is None}
        everything = [name for name in gone if all(_removed(f"{name}/{key}", changes) for key in value[name[1:]])]
        assert everything or "#" in text
        return
    assert load(new.encode(), "x.yaml").value == applied(value, changes)
    assert new.count("# comment") == text.count("# comment")


def _removed(pointer: str, changes: Sequence[Change]) -> bool:
    return any(change.pointer == pointer and change.text is None for change in changes)


# ---------------------------------------------------------------------------------------------------------------------
# Fixing is a projection
# ---------------------------------------------------------------------------------------------------------------------

_OPERANDS = st.sampled_from(["$.a", "$.b.c", "$.d[0]", "$['e']", "$.f-g", "$inputs.token", "$.n.length"])
_VALUES = st.sampled_from(['"x"', "'y'", "1", "true", "null", "word", '"it\'s"'])
_SIGNS = st.sampled_from(["==", "!=", "<", ">="])
_COMPARISONS = st.builds(lambda left, sign, right: f"{left} {sign} {right}", _OPERANDS, _SIGNS, _VALUES)
_CONDITIONS = st.recursive(
    _COMPARISONS,
    lambda inner: st.one_of(
        st.builds(lambda left, joint, right: f"{left} {joint} {right}", inner, st.sampled_from(["&&", "||"]), inner),
        st.builds(lambda each: f"!({each})", inner),
        st.builds(lambda each: f"({each})", inner),
    ),
    max_leaves=4,
)


@given(criteria=st.lists(st.tuples(_CONDITIONS, st.booleans()), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fixing_twice_is_fixing_once(criteria: list[tuple[str, bool]], tmp_path: Path) -> None:
    """And the meaning stays: `fixed_text` refuses what would not mean the same."""
    lines = []
    for condition, simple in criteria:
        if simple:
            condition = condition.replace("$.", "$response.body.").replace("$['e']", "$response.body['e']")  # noqa: PLW2901
            lines.append(f"- condition: {json.dumps(condition)}")
        else:
            lines.append(f"- context: $response.body\n  condition: {json.dumps(condition)}\n  type: jsonpath")
    with contextlib.suppress(DescriptionError):
        fixed(tmp_path, steps(criterion("\n".join(lines))))
