"""Ways of writing that public documents share, run as their authors mean them (`rules.dialect`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.arazzo.shelf import Shelf
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.rules import check

API: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/pets/{petId}": {
            "get": {
                "operationId": "get",
                "parameters": [{"name": "petId", "in": "path", "required": True}, {"name": "size", "in": "query"}],
            }
        }
    },
}
TOP = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  steps: [{{stepId: s, operationId: get, parameters: [{0}]}}]
"""


@pytest.mark.parametrize(
    ("parameters", "rules"),
    [
        pytest.param("{name: pet_id, in: path, value: 1}", ["path-parameter"], id="spelt otherwise"),
        pytest.param("{name: petId, in: query, value: 1}", ["path-parameter"], id="in another place"),
        pytest.param("{name: petId, in: path, value: 1}", [], id="as it is described"),
        pytest.param("{name: id, in: path, value: 1}", ["missing-parameter", "unknown-parameter"], id="another name"),
        pytest.param(
            "{name: pet_id, in: path, value: 1}, {name: petid, in: query, value: 1}",
            ["missing-parameter", "unknown-parameter", "unknown-parameter"],
            id="two that could be meant",
        ),
        pytest.param("{name: size, in: query, value: 1}", ["missing-parameter"], id="one that is described itself"),
    ],
)
def test_a_path_parameter_is_taken_from_the_only_one_that_can_be_meant(
    parameters: str, rules: list[str], tmp_path: Path
) -> None:
    """The spelling and the place of a parameter that nothing fills are mended; whatever is doubtful is an error."""
    found = Shelf(tmp_path, {"main.yaml": TOP.format(parameters), "api.json": API}).check()
    about = {"path-parameter", "missing-parameter", "unknown-parameter"}
    assert sorted(each.rule for each in found if each.rule in about) == rules


SPLIT = """\
arazzo: 1.0.1
info: {{title: t, version: '1'}}
sourceDescriptions: [{{name: api, url: api.json}}]
workflows: [{{workflowId: w, steps: [{{stepId: s, operationId: get, successCriteria: [{0}]}}]}}]
"""


@pytest.mark.parametrize(
    ("criterion", "condition"),
    [
        ("{context: $statusCode, condition: '==', value: 200}", "$statusCode == 200"),
        ("{context: $response.body.name, condition: '!=', value: it's}", "$response.body.name != 'it''s'"),
        ("{context: $response.body.id, condition: '==', value: $inputs.id}", "$response.body.id == $inputs.id"),
        ("{context: $response.body.ok, condition: '==', value: true, type: simple}", "$response.body.ok == true"),
        ("{context: $response.body.gone, condition: '==', value: null}", "$response.body.gone == null"),
    ],
)
def test_a_condition_in_three_members_is_put_together(criterion: str, condition: str) -> None:
    """Context, operator and value are one simple condition, said under the name of its rule."""
    document = load(SPLIT.format(criterion).encode(), "test.yaml")
    description, found = build(document)
    assert description is not None
    assert not found
    made = description.workflows[0].steps[0].success_criteria[0]
    assert (made.condition, made.context, made.type, made.split) == (condition, None, None, True)
    assert [(each.rule, each.severity) for each in check(description, document)] == [("split-condition", "warning")]
    assert [each.severity for each in check(description, document, strict=True)] == ["error"]


@pytest.mark.parametrize(
    "criterion",
    [
        "{context: $statusCode, condition: '=='}",
        "{context: $statusCode, condition: '==', value: [1]}",
        "{context: $response.body, condition: '==', value: 1, type: jsonpath}",
        "{condition: '==', value: 200}",
        "{condition: $statusCode == 200, value: 200}",
    ],
)
def test_nothing_else_is_put_together(criterion: str) -> None:
    """What lacks a part, or has a type of its own, stays as it is written."""
    description, _ = build(load(SPLIT.format(criterion).encode(), "test.yaml"))
    assert description is not None
    assert not description.workflows[0].steps[0].success_criteria[0].split


NESTED = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: outer
  steps: [{stepId: call, workflowId: middle, successCriteria: [{condition: $statusCode == 201}]}]
- workflowId: middle
  steps: [{stepId: call, workflowId: inner}]
- workflowId: inner
  steps:
  - {stepId: a, operationId: one}
  - {stepId: b, operationId: two}
"""


@pytest.mark.parametrize(("answers", "status"), [([200, 201], "succeeded"), ([201, 200], "failed")])
def test_the_status_of_a_workflow_step_is_that_of_its_last_answer(
    answers: list[int], status: str, tmp_path: Path
) -> None:
    """`$statusCode` at a step that calls a workflow: the last answer in it, however deep."""
    shelf = Shelf(tmp_path, {"main.yaml": NESTED})
    story = shelf.tell(answers, workflow="outer")
    assert story.end.status == status
    assert "workflow-step-status" in {each.rule for each in shelf.check()}


def test_strict_refuses_the_status_of_a_workflow_step(tmp_path: Path) -> None:
    """By the letter such a step has no answer, and so no status."""
    found = Shelf(tmp_path, {"main.yaml": NESTED}).check(strict=True)
    assert [each.severity for each in found if each.rule == "workflow-step-status"] == ["error"]


UNREAD = """
sourceDescriptions: [{name: a, url: nowhere.yml, type: openapi}, {name: b, url: gone.yml, type: openapi}]
workflows:
- workflowId: w
  steps:
  - stepId: s
    operationId: DescribeModel
    parameters: [{name: X-Amz-Target, in: header, value: SageMaker.DescribeModel}]
"""


@pytest.mark.parametrize(
    ("other", "errors"), [("http://127.0.0.1:9", []), ("http://127.0.0.1:8", ["ambiguous-operation"])]
)
def test_unread_sources_at_one_place_are_one(other: str, errors: list[str], tmp_path: Path) -> None:
    """Which of several unread sources has an operation matters only where they are called at different places."""
    servers = {"a": "http://127.0.0.1:9", "b": other}
    found = Shelf(tmp_path, {"main.yaml": UNREAD}).check(servers=servers)
    assert [each.rule for each in found if each.severity == "error"] == errors


USES = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  steps:
  - {{stepId: find, operationId: one, requestBody: {{payload: {{}}}}{0}}}
  - {{stepId: use, operationId: two, requestBody: {{payload: {{got: {1}}}}}}}
  outputs: {{end: {1}}}
"""


@pytest.mark.parametrize(
    ("declares", "written", "got", "rules"),
    [
        pytest.param("", "$steps.find.outputs.id", 7, {"undeclared-output"}, id="nothing declared"),
        pytest.param("", "$steps.find.id", 7, {"undeclared-output", "implied-outputs"}, id="without outputs"),
        pytest.param("", "$steps.find.outputs.deep#/a", 1, {"undeclared-output"}, id="into it"),
        pytest.param("", "$steps.find.outputs.gone", None, {"undeclared-output"}, id="not in the answer"),
        pytest.param(", outputs: {id: $response.body#/other}", "$steps.find.outputs.id", 8, set(), id="declared"),
        pytest.param(", outputs: {ident: $response.body#/id}", "$steps.find.outputs.idnet", None, {"unknown-output"}, id="misspelt"),
    ],
)  # fmt: skip
def test_an_output_that_no_step_declares_is_a_member_of_its_answer(
    declares: str, written: str, got: object, rules: set[str], tmp_path: Path
) -> None:
    """A misspelt name of a declared one is no such thing."""
    shelf = Shelf(tmp_path, {"main.yaml": USES.format(declares, written)})
    assert {each.rule for each in shelf.check() if each.severity == "warning"} == rules
    story = shelf.tell([(200, {"id": 7, "other": 8, "deep": {"a": 1}}), 200])
    assert story.requests[1] == ("two", {} if got is None else {"got": got})
    assert story.end.outputs == ({} if got is None else {"end": got})


def test_strict_refuses_an_output_that_is_not_declared(tmp_path: Path) -> None:
    """By the letter there is no such output."""
    shelf = Shelf(tmp_path, {"main.yaml": USES.format("", "$steps.find.outputs.id")})
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"undeclared-output"}


@pytest.mark.parametrize(
    ("output", "made"),
    [
        pytest.param("true", True, id="a truth value"),
        pytest.param("7.5", 7.5, id="a number"),
        pytest.param("[$response.body#/id, none]", [7, "none"], id="a list"),
        pytest.param("{id: $response.body#/id, as: 'pet {$response.body#/id}'}", {"id": 7, "as": "pet 7"}, id="object"),
    ],
)
def test_an_output_that_is_a_value_is_that_value(output: str, made: object, tmp_path: Path) -> None:
    """And not an error: everybody sees what is meant."""
    shelf = Shelf(tmp_path, {"main.yaml": USES.format(f", outputs: {{made: {output}}}", "$steps.find.outputs.made")})
    assert {each.rule for each in shelf.check() if each.severity == "warning"} == {"output-value"}
    assert shelf.tell([(200, {"id": 7}), 200]).end.outputs == {"end": made}
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"output-value"}


PATHS = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {"/pets": {"get": {"operationId": "list"}, "post": {}}, "/pets/{petId}/photo": {"get": {}}},
}
TARGET = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  steps: [{{stepId: s, {0}, parameters: [{{name: petId, in: path, value: 1}}]}}]
"""
PHOTO = "loose-operation-path", "write {$sourceDescriptions.api.url}#/paths/~1pets~1{petId}~1photo/get"
LIST = "loose-operation-path", "write {$sourceDescriptions.api.url}#/paths/~1pets/get"
TWO = "operation-path", "write one of "


@pytest.mark.parametrize(
    ("target", "rule", "hint"),
    [
        pytest.param("operationPath: GET /pets", *LIST, id="a line"),
        pytest.param("operationPath: get /pets", *LIST, id="a line in lower case"),
        pytest.param("operationPath: '/pets/{petId}/photo'", *PHOTO, id="the path alone"),
        pytest.param("operationPath: /pets", *TWO, id="the path alone, of two operations"),
        pytest.param("operationPath: DELETE /pets", "operation-path", "the form is", id="a line of none"),
        pytest.param("operationPath: '{$sourceDescriptions.api.url}#/paths/pets/get'", *LIST, id="bare slashes"),
        pytest.param("operationPath: '{$sourceDescriptions.api.url}#/pets/get'", *LIST, id="bare slashes, no paths"),
        pytest.param("operationPath: '$sourceDescriptions.api.url#GET /pets'", *LIST, id="a line behind the source"),
        pytest.param("operationPath: '{$sourceDescriptions.api.url}/pets/get'", *LIST, id="no number sign"),
        pytest.param("operationPath: '{api}./pets/{petId}/photo'", *PHOTO, id="the name of the source alone"),
        pytest.param("operationPath: 'GET {api}./pets'", *LIST, id="the name of the source behind the method"),
        pytest.param(
            "operationPath: '{$sourceDescriptions.api.url}#/paths/~1pets~1{petId}~1photo'", *PHOTO, id="no method"
        ),
        pytest.param(
            "operationPath: '{$sourceDescriptions.api.url}#/paths/pets'", "unknown-operation", TWO[1], id="which of two"
        ),
        pytest.param("operationId: LIST", "operation-id-case", "write list", id="in another case"),
        pytest.param("operationId: $sourceDescriptions.api.List", "operation-id-case", "write list", id="qualified"),
    ],
)
def test_an_operation_is_found_by_the_only_thing_that_can_be_meant(
    target: str, rule: str, hint: str, tmp_path: Path
) -> None:
    """What names one operation and is no JSON Pointer is taken for it; what could be two is not."""
    found = Shelf(tmp_path, {"main.yaml": TARGET.format(target), "api.json": PATHS}).check()
    about = [each for each in found if each.rule not in {"unknown-parameter", "prefer-operation-id"}]
    assert [each.rule for each in about] == [rule]
    assert about[0].hint.startswith(hint)
    assert about[0].severity == ("error" if rule in {"operation-path", "unknown-operation"} else "warning")


CALLS = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}, {name: shop, url: shop.yaml, type: arazzo}]
workflows:
- workflowId: w
  steps: [{stepId: s, workflowId: $sourceDescriptions.shop.workflows.refund, outputs: {paid: $outputs.sum}}]
  outputs: {paid: $steps.s.outputs.paid}
"""
SHOP = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: refund
  steps: [{stepId: r, operationId: one, outputs: {sum: $response.body#/sum}}]
  outputs: {sum: $steps.r.outputs.sum}
"""


def test_a_workflow_of_another_document_may_be_spelled_out(tmp_path: Path) -> None:
    """With `workflows` in it, as another engine for Arazzo once wrote it."""
    shelf = Shelf(tmp_path, {"main.yaml": CALLS, "shop.yaml": SHOP})
    found = {each.rule: each for each in shelf.check() if each.severity == "warning"}
    assert found["spelled-out-workflow"].hint == "write $sourceDescriptions.shop.refund"
    assert shelf.tell([(200, {"sum": 5})]).end.outputs == {"paid": 5}
    assert "spelled-out-workflow" in {each.rule for each in shelf.check(strict=True) if each.severity == "error"}


@pytest.mark.parametrize(
    ("declares", "got", "rules"),
    [
        pytest.param("{token: $response.body#/t}", "a", {"implied-step"}, id="declared by one step"),
        pytest.param("{other: $response.body#/t}", None, set(), id="declared by none"),
    ],
)
def test_outputs_of_no_workflow_are_those_of_the_step_that_has_them(
    declares: str, got: str | None, rules: set[str], tmp_path: Path
) -> None:
    """`$outputs.token` where no workflow is called: an output that one step alone declares."""
    shelf = Shelf(tmp_path, {"main.yaml": USES.format(f", outputs: {declares}", "$outputs.token")})
    assert {each.rule for each in shelf.check() if each.severity == "warning"} == rules
    story = shelf.tell([(200, {"t": "a"}), 200])
    assert story.requests[1] == ("two", {} if got is None else {"got": got})


OWN = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: w
  steps:
  - stepId: s
    operationId: one
    successCriteria: [{condition: $steps.s.outputs.state == 'done'}]
    outputs: {state: $response.body#/state}
    onFailure: [{name: again, type: retry, retryLimit: 3}]
"""


@pytest.mark.parametrize(
    ("answers", "end"),
    [
        ([{"state": "busy"}, {"state": "done"}], "succeeded"),
        ([{"state": "done"}], "succeeded"),
        ([{"state": "busy"}] * 4, "failed"),
    ],
)
def test_a_criterion_may_look_at_the_outputs_of_its_own_step(answers: list[object], end: str, tmp_path: Path) -> None:
    """They are those of the answer that is judged, never those of the attempt before."""
    shelf = Shelf(tmp_path, {"main.yaml": OWN})
    story = shelf.tell([(200, each) for each in answers])
    assert (story.end.status, len(story.requests)) == (end, len(answers))


TARGETED = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: w
  steps:
  - stepId: s
    operationId: one
    requestBody: {payload: {order: {sku: x}, n: 1}, replacements: [{target: $.order.sku, value: A-1}]}
"""


def test_a_target_that_begins_with_a_dollar_sign_is_a_query(tmp_path: Path) -> None:
    """It can be no JSON Pointer."""
    shelf = Shelf(tmp_path, {"main.yaml": TARGETED})
    assert {each.rule for each in shelf.check() if each.severity == "warning"} == {"untyped-target"}
    assert shelf.tell([200]).requests == [("one", {"order": {"sku": "A-1"}, "n": 1})]
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"untyped-target"}


@pytest.mark.parametrize(
    ("output", "words"),
    [
        pytest.param("$response.body#id", "did you mean $response.body#/id?", id="no slash"),
        pytest.param("$response.body.$.id", "did you mean $response.body#/id?", id="a query in it"),
        pytest.param("$response.body['x-id'].n()", "cannot follow", id="a call"),
        pytest.param("$response.body.tags.length()", "did you mean $response.body.tags.length?", id="a length"),
        pytest.param("$response.body.total > 0", "compare in a condition", id="a comparison"),
        pytest.param("$statusCode == 201", "compare in a condition", id="a comparison of the status"),
        pytest.param("$response.body#/a || 'none'", "compare in a condition", id="another value"),
        pytest.param("$response.body.tags[?(@.k=='a')].v", "needs a Selector Object", id="a filter"),
        pytest.param("$response.body.tags[-1]", "needs a Selector Object", id="from the end"),
        pytest.param("$find.outputs.id", "did you mean $steps.find.outputs.id?", id="a step without steps"),
        pytest.param("$steps['find'].outputs.id", "did you mean $steps.find.outputs.id?", id="a step in brackets"),
        pytest.param("$steps.find.outputs['id']", "did you mean $steps.find.outputs.id?", id="brackets"),
    ],
)
def test_an_output_that_goes_on_behind_its_expression_is_no_text(output: str, words: str, tmp_path: Path) -> None:
    """Else a text that nobody means would be the output."""
    text = USES.format(f", outputs: {{id: $response.body#/id, made: {json.dumps(output)}}}", "$steps.find.outputs.made")
    found = [each for each in Shelf(tmp_path, {"main.yaml": text}).check() if each.severity == "error"]
    assert [each.rule for each in found] == ["bad-expression"]
    assert words in f"{found[0].message} {found[0].hint}"


@pytest.mark.parametrize(
    ("output", "words"),
    [("$response.body#/tags[0]/id", "write /0 for an element"), ("$response.body#/tags/*/id", "give the index")],
)
def test_a_pointer_with_brackets_is_told(output: str, words: str, tmp_path: Path) -> None:
    """They are a part of the name for it."""
    text = USES.format(f", outputs: {{made: {json.dumps(output)}}}", "$steps.find.outputs.made")
    found = [each for each in Shelf(tmp_path, {"main.yaml": text}).check() if each.rule == "bad-expression"]
    assert [each.severity for each in found] == ["warning"]
    assert words in found[0].hint


GIVEN = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  inputs: {0}
  steps: [{{stepId: s, operationId: one, requestBody: {{payload: {{id: $inputs.petId}}}}}}]
components: {{inputs: {{petId: {{type: integer}}, pets: {{type: object, properties: {{petId: {{type: integer}}}}}}}}}}
"""


def test_a_shared_input_that_is_no_object_is_the_only_one(tmp_path: Path) -> None:
    """It goes by its name among the components."""
    shelf = Shelf(tmp_path, {"main.yaml": GIVEN.format("{$ref: '#/components/inputs/petId'}")})
    assert {each.rule for each in shelf.check()} == {"input-by-reference"}
    assert shelf.tell([200], {"petId": 3}).requests == [("one", {"id": 3})]
    assert [each.message for each in shelf.open().plan.workflows["w"].inputs.prepare({"petId": "x"})[1]]
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"input-by-reference"}


@pytest.mark.parametrize(
    ("inputs", "errors"),
    [
        ("{$ref: '#/components/inputs/pets'}", []),
        ("{type: [object, 'null'], properties: {petId: {}}}", []),
        ("{type: integer}", ["input-schema"]),
    ],
)
def test_inputs_that_are_no_object_can_never_be_given(inputs: str, errors: list[str], tmp_path: Path) -> None:
    """So nothing could be run."""
    found = Shelf(tmp_path, {"main.yaml": GIVEN.format(inputs)}).check()
    assert [each.rule for each in found if each.severity == "error"] == errors


def test_an_output_that_is_an_xpath_looks_at_the_answer(tmp_path: Path) -> None:
    """It could be nothing else, and XML that is honest is read although the description promises JSON."""
    made = {"made": "//pet[@id = '1']/name"}
    text = USES.format(f", outputs: {json.dumps(made)}", "$steps.find.outputs.made")
    shelf = Shelf(tmp_path, {"main.yaml": text})
    assert {each.rule for each in shelf.check() if each.severity == "warning"} == {"xpath-output", "newer-feature"}
    xml = "<pets><pet id='1'><name>Rex</name></pet></pets>"
    assert shelf.tell([(200, xml, {"Content-Type": "application/xml"}), 200]).end.outputs == {"end": "Rex"}
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"xpath-output"}


MESSAGES = {
    "asyncapi": "3.0.0",
    "channels": {"orders": {"address": "orders"}},
    "operations": {"place": {"action": "send", "channel": {"$ref": "#/channels/orders"}}},
}
SENDS = """
sourceDescriptions: [{{name: bus, url: bus.json, type: asyncapi}}, {{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  steps: [{{stepId: s, {0}, requestBody: {{payload: x}}}}]
"""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("operationId: place", "does not say whether it sends or receives"),
        ("operationPath: 'bus#/operations/place'", "does not say whether it sends or receives"),
        ("operationPath: '{$sourceDescriptions.bus.url}#/operations/gone', action: send", "no channel at"),
    ],
)
def test_a_channel_that_is_found_by_any_name_needs_its_action(target: str, words: str, tmp_path: Path) -> None:
    """A plan never has a step that calls nothing."""
    shelf = Shelf(tmp_path, {"main.yaml": SENDS.format(target), "bus.json": MESSAGES}, version="1.1.0")
    errors = [each.message for each in shelf.check() if each.severity == "error"]
    assert len(errors) == 1
    assert words in errors[0]


def test_an_operation_of_no_api_is_told(tmp_path: Path) -> None:
    """An operationPath into another Arazzo document."""
    text = """
    sourceDescriptions: [{name: other, url: shop.yaml, type: arazzo}]
    workflows: [{workflowId: w, steps: [{stepId: s, operationPath: '{$sourceDescriptions.other.url}#/workflows/0'}]}]
    """
    found = Shelf(tmp_path, {"main.yaml": text, "shop.yaml": SHOP}).check()
    assert [each.message for each in found if each.severity == "error"] == [
        "the source 'other' describes no operations over HTTP"
    ]


HANDED_UP = """
sourceDescriptions: [{name: api, url: api.json, type: openapi}]
workflows:
- workflowId: outer
  steps:
  - {stepId: call, workflowId: inner, outputs: {again: $outputs.o}}
  - {stepId: s, operationId: get, parameters: [{name: petId, in: path, value: 1}, {name: size, in: query, value: VALUE}]}
- workflowId: inner
  steps: [{stepId: s, operationId: get, parameters: [{name: petId, in: path, value: 2}], outputs: {o: $method}}]
  outputs: {o: $steps.s.outputs.o}
"""


@pytest.mark.parametrize(
    ("value", "severities"),
    [
        pytest.param("$steps.call.outputs.o", ["note"], id="not declared again"),
        pytest.param("$steps.call.outputs.again", [], id="declared"),
    ],
)
def test_outputs_of_a_called_workflow_are_the_step_s(value: str, severities: list[str], tmp_path: Path) -> None:
    """Without being declared at the step, which is told; by the letter it is an error."""
    shelf = Shelf(tmp_path, {"main.yaml": HANDED_UP.replace("VALUE", value), "api.json": API})
    found = [each for each in shelf.check() if each.rule == "legacy-nested-outputs"]
    assert [each.severity for each in found] == severities
    strict = [each for each in shelf.check(strict=True) if each.rule == "legacy-nested-outputs"]
    assert [each.severity for each in strict] == ["error"] * len(severities)
    assert "size=GET" in shelf.tell([(200, {}), (200, {})], workflow="outer").urls[1]


@pytest.mark.parametrize(
    ("path", "rule", "strict"),
    [
        pytest.param("/pets#{petId}", "path-key-fragment", "note", id="fragment"),
        pytest.param("/pets/{petId}?acl", "path-key-fragment", "note", id="query"),
        pytest.param("/pets/{petId+}", "greedy-path-parameter", "error", id="greedy"),
    ],
)
def test_paths_that_openapi_does_not_have_are_told_once(path: str, rule: str, strict: str, tmp_path: Path) -> None:
    """For each source; what can be written in no other way is no error by the letter, but by its name."""
    api = {**API, "paths": {path: API["paths"]["/pets/{petId}"]}}
    parameters = "{name: petId, in: path, value: 1}"
    text = TOP.format(parameters).replace("]}]", "]}, {stepId: t, operationId: get, parameters: [" + parameters + "]}]")
    shelf = Shelf(tmp_path, {"main.yaml": text, "api.json": api})
    for settings, severity in (({}, "note"), ({"strict": True}, strict), ({"off": [rule]}, "error")):
        found = shelf.check(**settings)
        assert [(each.severity, each.place and each.place.pointer) for each in found if each.rule == rule] == [
            (severity, "/sourceDescriptions/0/url")
        ]


BODY = """
sourceDescriptions: [{{name: api, url: api.json, type: openapi}}]
workflows:
- workflowId: w
  inputs: {{type: object, required: [x], properties: {{x: {{type: string}}}}}}
  steps: [{{stepId: s, operationId: {0}, parameters: [{1}]{2}}}]
"""
TAKES_KIND = {"application/json": {"schema": {"properties": {"kind": {"type": "string"}}}}}
TAKING: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://127.0.0.1:9"}],
    "paths": {
        "/free": {"post": {"operationId": "free", "requestBody": {"required": True, "content": {}}}},
        "/new": {"post": {"operationId": "new", "requestBody": {"required": True, "content": TAKES_KIND}}},
    },
}


@pytest.mark.parametrize(
    ("operation", "more", "sent"),
    [
        ("free", "{name: a, in: body, value: 1}, {name: b, in: body, value: $inputs.x}", {"a": 1, "b": "X"}),
        ("free", "{name: a, in: body, value: $inputs.x}", {"a": "X"}),
        ("free", "{name: body, in: body, value: {a: $inputs.x}}", {"a": "X"}),
        ("new", "{name: kind, in: body, value: $inputs.x}", {"kind": "X"}),
        ("new", "{name: pet, in: body, value: {kind: $inputs.x}}", {"kind": "X"}),
        ("free", "{name: a, in: body, value: $inputs.x}", {"a": "X", "b": 2}),
    ],
)
def test_parameters_in_the_body_are_its_fields(operation: str, more: str, sent: Any, tmp_path: Path) -> None:
    """Arazzo 1.0.0 had `in: body`; a single one that the operation does not describe is all of it, as in Swagger 2.0."""
    body = ", requestBody: {payload: {b: 2}}" if sent == {"a": "X", "b": 2} else ""
    text = BODY.format(operation, more, body)
    shelf = Shelf(tmp_path, {"main.yaml": text, "api.json": TAKING})
    assert {each.rule for each in shelf.check()} == {"body-parameter"}
    assert shelf.tell([200], {"x": "X"}).requests == [(operation, sent)]
    assert {each.rule for each in shelf.check(strict=True) if each.severity == "error"} == {"body-parameter"}
