"""Building: a document becomes the model, and each problem of its structure a diagnostic at its place."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import treadle.arazzo.build as building
from treadle.arazzo import model
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.location import Document
from treadle.arazzo.model import Description, ExpressionType, Parameter, ReusableObject, Selector
from treadle.arazzo.slips import close_to
from treadle.errors import Diagnostic
from treadle.seams import MISSING, Json

HEAD = """\
arazzo: {version}
info: {{title: Test, version: 1.0.0}}
sourceDescriptions:
- {{name: api, url: ./api.yaml, type: openapi}}
"""
WORKFLOW = "workflows:\n- workflowId: main\n"
STEPS = WORKFLOW + "  steps:\n  - stepId: one\n    operationId: first\n"


def built(text: str, version: str = "1.0.1") -> tuple[Description | None, list[Diagnostic]]:
    return build(load((HEAD.format(version=version) + text).encode(), "test.yaml"))


def shown(found: list[Diagnostic]) -> list[str]:
    """What was found: line and column, severity, rule, message, hint."""
    return [f"{each.place} {each.severity} [{each.rule}] {each.message}; {each.hint}" for each in found]


WHOLE = """\
arazzo: 1.1.0
$self: https://example.com/flows/buy.yaml
info: {title: Buy, summary: S, description: D, version: 1.0.0, x-logo: a.png}
sourceDescriptions:
- {name: shop, url: ./shop.yaml, type: openapi}
- {name: events, url: ./events.yaml, type: asyncapi, x-team: t}
workflows:
- workflowId: buy
  summary: S
  description: D
  inputs: {type: object}
  dependsOn: [login]
  parameters:
  - reference: $components.parameters.page
    value: 2
  successActions: [{name: done, type: end}]
  failureActions: [{reference: $components.failureActions.again}]
  steps:
  - stepId: order
    description: D
    operationId: $sourceDescriptions.shop.order
    timeout: 5000
    parameters:
    - {name: id, in: path, value: $inputs.id}
    - name: q
      in: querystring
      value: {context: $inputs.q, selector: /a, type: jsonpointer}
    - {name: none, in: query, value: null}
    requestBody:
      contentType: application/json
      payload: {a: [1, $inputs.a]}
      replacements:
      - {target: /a/0, value: {context: $inputs.b, selector: $.c, type: {type: jsonpath, version: rfc9535}}}
      - {target: //x, targetSelectorType: xpath, value: 10}
    successCriteria:
    - condition: $statusCode == 200
    - {context: $response.body, condition: $.a, type: {type: xpath, version: xpath-20, x-a: b}}
    onSuccess:
    - {name: next, type: goto, stepId: wait, criteria: [{condition: $statusCode == 202}]}
    - {name: other, type: goto, workflowId: login, parameters: [{name: user, value: u}]}
    onFailure:
    - {name: again, type: retry, retryAfter: 1.5, retryLimit: 3}
    outputs: {id: $response.body#/id, all: {context: $response.body, selector: "$..id", type: jsonpath}}
    x-note: n
  - stepId: wait
    channelPath: '{$sourceDescriptions.events.url}#/channels/orders'
    action: receive
    correlationId: $steps.order.outputs.id
    dependsOn: [order]
  outputs: {id: $steps.order.outputs.id}
- workflowId: login
  steps: [{stepId: in, workflowId: $sourceDescriptions.shop.login}]
components:
  inputs: {user: {type: string}}
  parameters: {page: {name: page, in: query, value: 1}}
  successActions: {}
  failureActions: {again: {name: again, type: retry}}
  x-any: 1
"""


def test_everything_that_a_description_can_have() -> None:
    """Every field of every object of 1.1 arrives under its name, with the place where it stands."""
    document = load(WHOLE.encode(), "test.yaml")
    description, found = build(document)
    assert shown(found) == []
    assert description is not None
    assert (description.arazzo, description.version) == ("1.1.0", (1, 1))
    assert description.self_uri == "https://example.com/flows/buy.yaml"
    assert description.info.extensions == {"x-logo": "a.png"}
    assert description.source("events") == model.SourceDescription(
        pointer="/sourceDescriptions/1", extensions={"x-team": "t"}, name="events", url="./events.yaml", type="asyncapi"
    )
    workflow = description.workflow("buy")
    assert workflow is not None
    assert (workflow.depends_on, workflow.inputs) == (("login",), {"type": "object"})
    assert workflow.parameters == (
        ReusableObject(pointer="/workflows/0/parameters/0", reference="$components.parameters.page", value=2),
    )
    assert workflow.failure_actions == (
        ReusableObject(pointer="/workflows/0/failureActions/0", reference="$components.failureActions.again"),
    )
    order, wait = workflow.steps
    assert workflow.step("order") is order
    assert (order.timeout, order.extensions) == (5000, {"x-note": "n"})
    path, query, none = order.parameters
    assert path == Parameter(pointer="/workflows/0/steps/0/parameters/0", name="id", in_="path", value="$inputs.id")
    assert isinstance(query, Parameter)
    assert isinstance(query.value, Selector)
    assert (query.value.kind, query.value.version) == ("jsonpointer", "rfc6901")
    assert isinstance(none, Parameter)
    assert none.value is None
    assert order.request_body is not None
    assert order.request_body.payload == {"a": [1, "$inputs.a"]}
    first, second = order.request_body.replacements
    assert isinstance(first.value, Selector)
    assert (first.value.kind, first.value.version) == ("jsonpath", "rfc9535")
    assert (second.target_selector_type, second.value) == ("xpath", 10)
    simple, xpath = order.success_criteria
    assert (simple.kind, simple.version, simple.type) == ("simple", "", None)
    assert (xpath.kind, xpath.version) == ("xpath", "xpath-20")
    assert isinstance(xpath.type, ExpressionType)
    assert xpath.type.extensions == {"x-a": "b"}
    goto = order.on_success[0]
    assert isinstance(goto, model.SuccessAction)
    assert (goto.step_id, goto.criteria[0].condition) == ("wait", "$statusCode == 202")
    retry = order.on_failure[0]
    assert isinstance(retry, model.FailureAction)
    assert (retry.retry_after, retry.retry_limit) == (1.5, 3)
    assert order.outputs["id"] == "$response.body#/id"
    assert isinstance(order.outputs["all"], Selector)
    assert (wait.action, wait.correlation_id, wait.depends_on) == ("receive", "$steps.order.outputs.id", ("order",))
    assert wait.request_body is None
    assert description.components.inputs == {"user": {"type": "string"}}
    assert set(description.components.failure_actions) == {"again"}


def test_an_absent_payload_is_missing_and_null_is_null() -> None:
    """Missing is not null."""
    description, found = built(STEPS + "    requestBody: {contentType: text/plain}\n")
    assert found == []
    assert description is not None
    body = description.workflows[0].steps[0].request_body
    assert body is not None
    assert body.payload is MISSING
    description, _ = built(STEPS + "    requestBody: {payload: null}\n")
    assert description is not None
    body = description.workflows[0].steps[0].request_body
    assert body is not None
    assert body.payload is None


def test_every_pointer_leads_to_its_object() -> None:
    """So that later findings can point there."""
    document = load(WHOLE.encode(), "test.yaml")
    description, _ = build(document)
    seen = 0
    waiting: list[Any] = [description]
    while waiting:
        each = waiting.pop()
        if hasattr(each, "pointer"):
            seen += 1
            assert document.find(each.pointer) is not MISSING, each
            waiting += [getattr(each, name) for name in each.__struct_fields__]
        elif isinstance(each, tuple):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
    assert seen > 30


@dataclass
class Case:
    """A document after its head, and what is found: line and column, severity, rule, words of message and hint."""

    id: str
    text: str
    at: str
    severity: str
    rule: str
    message: str
    hint: str = ""
    version: str = "1.0.1"


MISSPELLED = "    successCriterion:\n    - condition: $statusCode == 200\n"
CASES = [
    Case("misspelled", STEPS + MISSPELLED, "10:5", "error", "unknown-field", "Step Object", "`successCriteria`"),
    Case("wrong-case", STEPS + "    OnSuccess: []\n", "10:5", "error", "unknown-field", "`OnSuccess`", "`onSuccess`"),
    Case("snake-case", STEPS + "    request_body: {}\n", "10:5", "error", "unknown-field", "", "`requestBody`"),
    Case("unknown", STEPS + "    tags: [a]\n", "10:5", "warning", "unknown-field", "`tags`", "ignored"),
    Case("no-workflows", "", "1:1", "error", "missing-field", "`workflows`"),
    Case("no-items", "workflows: []\n", "5:1", "error", "wrong-value", "at least one item"),
    Case("no-steps", WORKFLOW, "6:3", "error", "missing-field", "`steps`"),
    Case("no-step-id", WORKFLOW + "  steps:\n  - operationId: x\n", "8:5", "error", "missing-field", "`stepId`"),
    Case("misplaced-id", WORKFLOW + "  steps:\n  - {id: x, operationId: x}\n", "8:5", "error", "missing-field", ""),
    Case("step-is-text", WORKFLOW + "  steps: [one]\n", "7:11", "error", "wrong-type", "a Step Object"),
    Case("steps-is-object", WORKFLOW + "  steps: {a: {}}\n", "7:10", "error", "wrong-type", "a list", "`- stepId: a`"),
    Case("number-as-id", WORKFLOW + "  steps: [{stepId: 1, operationId: x}]\n", "7:20", "error", "wrong-type", "a text", '"1"'),
    Case("truth-as-condition", STEPS + "    successCriteria: [{condition: true}]\n", "10:35", "error", "wrong-type", ""),
    Case("empty-reference", STEPS + "    parameters: [{name: a, in: query, value: 1, reference: ''}]\n", "10:49", "warning", "empty-field", "refers to nothing", "leave it out"),
    Case("empty-name", STEPS + "    workflowId: ''\n", "10:5", "warning", "empty-field", "is empty", "leave it out"),
    Case("empty-field", STEPS + "    outputs:\n", "10:5", "warning", "empty-field", "is empty", "leave it out"),
    Case("empty-required", WORKFLOW + "  steps:\n", "7:3", "error", "wrong-type", "empty"),
    Case("unknown-word", STEPS + "    onSuccess: [{name: a, type: go}]\n", "10:33", "error", "wrong-value", "`goto`"),
    Case("word-of-another-language", STEPS + "    onSuccess: [{name: a, type: continue}]\n", "10:33", "error", "wrong-value", "`goto`", "leave it out"),
    Case("reference-as-name", STEPS + "    onSuccess: [{name: $components.successActions.a}]\n", "10:17", "error", "missing-field", "`type`", "write `reference: $components.successActions.a`"),
    Case("close-word", STEPS + "    onFailure: [{name: a, type: Retry}]\n", "10:33", "error", "wrong-value", "", "`retry`"),
    Case("bad-place", STEPS + "    parameters: [{name: a, in: headers, value: 1}]\n", "10:32", "error", "wrong-value", "", "`header`"),
    Case("no-value", STEPS + "    parameters: [{name: a, in: query}]\n", "10:18", "error", "missing-field", "`value`"),
    Case("quoted-number", STEPS + "    onFailure: [{name: a, type: retry, retryAfter: '5'}]\n", "10:52", "error", "wrong-type", "a number", "quotes"),
    Case("broken-number", STEPS + "    onFailure: [{name: a, type: retry, retryLimit: 1.5}]\n", "10:52", "error", "wrong-type", "a whole number"),
    Case("criteria-is-text", STEPS + "    successCriteria: $statusCode == 200\n", "10:22", "error", "wrong-type", "a list"),
    Case("output-is-empty", STEPS + "    outputs: {a: }\n", "10:15", "error", "wrong-type", "Selector Object"),
    Case("schema-is-text", WORKFLOW + "  inputs: object\n  steps: [{stepId: a, operationId: b}]\n", "7:11", "error", "wrong-type", "JSON Schema"),
    Case("newer-field", STEPS + "    timeout: 5\n", "10:5", "warning", "newer-feature", "1.0.1", "1.1.0"),
    Case("newer-place", STEPS + "    parameters: [{name: a, in: querystring, value: b}]\n", "10:32", "warning", "newer-feature", "`querystring`"),
    Case("newer-object", STEPS + "    outputs: {a: {context: $response.body, selector: /a, type: jsonpath}}\n", "10:18", "warning", "newer-feature", "Selector Object"),
    Case("no-criteria-then", STEPS + "    successCriteria: []\n", "10:5", "warning", "wrong-value", "at least one item"),
    Case("no-criteria-now", STEPS + "    successCriteria: []\n", "10:5", "error", "wrong-value", "at least one item", version="1.1.0"),
    Case("self-fragment", STEPS + "$self: https://example.com/a#b\n", "10:8", "error", "wrong-value", "fragment", "/a", version="1.1.0"),
    Case("wrong-version", STEPS + "    successCriteria: [{context: $url, condition: a, type: {type: jsonpath, version: rfc1}}]\n", "10:85", "error", "wrong-value", "`rfc9535`"),
    Case("no-version", STEPS + "    successCriteria: [{context: $url, condition: a, type: {type: xpath}}]\n", "10:59", "error", "missing-field", "`version`"),
    Case("criteria-without-dash", STEPS + "    successCriteria:\n      condition: $url\n", "11:7", "error", "wrong-type", "a list, not an object", "put `- ` before `condition`"),
    Case("criterion-is-text", STEPS + "    successCriteria: [$statusCode == 200]\n", "10:23", "error", "wrong-type", "a Criterion Object", "write `condition: $statusCode == 200`"),
    Case("outputs-with-dashes", STEPS + "    outputs:\n    - id: $url\n    - b: $method\n", "11:5", "error", "wrong-type", "not a list", "`id: $url`"),
    Case("outputs-with-names", STEPS + "    outputs: [{name: id, value: $url}]\n", "10:14", "error", "wrong-type", "not a list", "`id: $url`"),
    Case("outputs-without-names", STEPS + "    outputs: [$url]\n", "10:14", "error", "wrong-type", "not a list", "give each a name"),
    Case("parameters-by-name", STEPS + "    parameters: {limit: 5}\n", "10:17", "error", "wrong-type", "a list", "`- name: limit`"),
    Case("reference-is-text", STEPS + "    parameters: [$components.parameters.a]\n", "10:18", "error", "wrong-type", "a Parameter Object", "reference: $components.parameters.a"),
    Case("body-with-dash", STEPS + "    requestBody:\n    - payload: 1\n", "11:5", "error", "wrong-type", "a Request Body Object", "leave out the dash before `payload`"),
    Case("braces-of-yaml", STEPS + "    outputs: {a: {$url}}\n", "10:18", "error", "wrong-type", "an object", "write $url"),
    Case("depends-on-text", STEPS + "  dependsOn: other\n", "10:14", "error", "wrong-type", "a list", "`- other`"),
    Case("dash-too-many", STEPS + "    successCriteria:\n    - context: $url\n    - condition: a\n", "11:7", "error", "missing-field", "`condition`", "a dash too many"),
    Case("empty-condition", STEPS + "    successCriteria: [{condition: ''}]\n", "10:35", "error", "wrong-value", "must say something"),
    Case("payload-of-step", STEPS + "    payload: 1\n", "10:5", "error", "unknown-field", "`payload`", "under `requestBody`"),
    Case("outputs-of-body", STEPS + "    requestBody: {payload: 1, outputs: {}}\n", "10:31", "warning", "unknown-field", "`outputs`", "indented too far"),
    Case("actions-of-workflow", STEPS + "  onFailure: []\n", "10:3", "warning", "unknown-field", "`onFailure`", "`failureActions`"),
    Case("duplicate-type", STEPS + "    outputs: {a: {context: $url, selector: /a, type: regex}}\n", "10:54", "error", "wrong-value", "`jsonpointer`", version="1.1.0"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_a_problem_of_structure_is_found_at_its_place(case: Case) -> None:
    """One problem, one diagnostic (where there are more the first counts)."""
    _, found = built(case.text, case.version)
    assert found, "nothing was found"
    first = next(each for each in found if each.rule == case.rule)
    assert f"{first.place}" == f"test.yaml:{case.at}"
    assert first.severity == case.severity
    assert case.message in first.message
    assert case.hint in first.hint


def test_all_problems_are_found_at_once() -> None:
    """One look at the document is enough to mend it."""
    text = """\
    workflows:
    - workflowId: main
      step: []
      steps:
      - stepID: one
        operationId: 5
        onSucess: [{name: a, type: end}]
      - just text
    """
    description, found = built(dedent(text))
    assert [(each.rule, each.severity) for each in found] == [
        ("unknown-field", "warning"),
        ("unknown-field", "error"),
        ("unknown-field", "error"),
        ("wrong-type", "error"),
        ("wrong-type", "error"),
    ]
    assert description is not None
    assert len(description.workflows[0].steps) == 1


@pytest.mark.parametrize(
    ("value", "severity", "message"),
    [
        ("1.0.0", "", ""),
        ("1.0.1-rc1", "", ""),
        ("1.1.7", "", ""),
        ("1.0", "warning", "1.0.0"),
        ("'1.1'", "warning", "1.1.0"),
        ("1.2.0", "warning", "newer"),
        ("2.0.0", "error", "not supported"),
        ("2", "error", "not supported"),
        ("1", "error", "1.0.1 or 1.1.0"),
        ("one", "error", "1.0.1 or 1.1.0"),
        ("true", "error", "1.0.1 or 1.1.0"),
        ("[1]", "error", "1.0.1 or 1.1.0"),
        ("", "error", "empty"),
        ("1.0.1.2.3x", "error", "1.0.1 or 1.1.0"),
    ],
)
def test_versions(value: str, severity: str, message: str) -> None:
    """1.0 and 1.1 are read, whatever the patch; later ones of major version 1 with a warning; others are refused."""
    description, found = built(STEPS, value)
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(message in each.message and each.place and each.place.line == 1 for each in found)
    assert (description is None) == (severity == "error")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("openapi: 3.1.0\n", "OpenAPI description", "sourceDescriptions"),
        ("swagger: '2.0'\n", "Swagger", "sourceDescriptions"),
        ("asyncapi: 3.0.0\n", "AsyncAPI", "sourceDescriptions"),
        ("arrazo: 1.0.1\n", "no version", "`arrazo`"),
        ("workflowsSpec: 1.0.0-prerelease\n", "no version", "`workflowsSpec`"),
        ("a: 1\n", "no Arazzo description", "1.1.0"),
        ("- a\n", "not a list", ""),
        ("just text\n", "not the text", ""),
    ],
)
def test_what_is_no_arazzo_description_says_what_it_is(text: str, message: str, hint: str) -> None:
    """An OpenAPI description given by mistake is the commonest."""
    description, (found,) = build(load(text.encode(), "test.yaml"))
    assert description is None
    assert message in found.message
    assert hint in found.hint
    assert found.place is not None
    assert found.place.line == 1


def test_reusable_objects_ignore_what_else_they_have() -> None:
    """§1.1: a Reusable Object cannot be extended, additional properties are ignored."""
    reusable = "    parameters: [{reference: $components.parameters.a, name: b, x-c: d}]\n"
    description, found = built(STEPS + reusable)
    assert found == []
    assert description is not None
    (parameter,) = description.workflows[0].steps[0].parameters
    assert isinstance(parameter, ReusableObject)
    assert parameter.value is MISSING


def test_an_object_as_value_is_data_unless_it_is_a_selector() -> None:
    """A parameter may be any value."""
    text = "    parameters: [{name: a, in: query, value: {context: x, selector: y, type: other}}]\n"
    description, found = built(STEPS + text)
    assert found == []
    assert description is not None
    (parameter,) = description.workflows[0].steps[0].parameters
    assert isinstance(parameter, Parameter)
    assert parameter.value == {"context": "x", "selector": "y", "type": "other"}


def test_the_likely_name_is_found() -> None:
    """Case, dashes and underscores first, then likeness."""
    names = ["operationId", "operationPath", "onSuccess"]
    assert close_to("operation_id", names) == "operationId"
    assert close_to("ONSUCCESS", names) == "onSuccess"
    assert close_to("operatonId", names) == "operationId"
    assert close_to("entirely", names) == ""


SHAPES = (building._DESCRIPTION, building._WORKFLOW, building._STEP, building._PARAMETER, building._CRITERION)
MORE_SHAPES = (building._FAILURE_ACTION, building._REQUEST_BODY, building._SELECTOR, building._REUSABLE)
KNOWN_WORDS = {word for shape in (*SHAPES, *MORE_SHAPES) for word in shape.names} | {"x-a", "replacements"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted(KNOWN_WORDS)),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(
    st.fixed_dictionaries(
        {"arazzo": st.sampled_from(["1.0.1", "1.1.0"])},
        optional={"workflows": VALUES, "components": VALUES, "info": VALUES},
    )
)
@settings(max_examples=200, deadline=2000)
def test_any_value_is_built_or_explained(value: Json) -> None:
    """No document makes the builder fail."""
    description, found = build(Document("fuzz", value))
    assert description is not None
    assert all(each.render() for each in found)
