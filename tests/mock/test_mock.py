"""Requests in, answers out: whose request it is, what is refused, what is learned from it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.mock.shelf import api, asked, body_of, operation, plans, ran, step_of
from treadle.mock import Mock
from treadle.seams import Json, Request

PETS = {
    "list": ("GET /pets", operation({"type": "array", "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}}, parameters=[{"name": "limit", "in": "query", "required": True}, {"name": "X-Trace", "in": "header", "required": True}])),
    "mine": ("GET /pets/mine", operation({"const": "mine"})),
    "one": ("GET /pets/{petId}", operation({"type": "object", "properties": {"name": {"example": "Rex"}}}, parameters=[{"name": "petId", "in": "path", "required": True}])),
    "add": ("POST /pets", operation({"type": "object"}, status=201, requestBody={"required": True, "content": {"application/json": {}}})),
    "acl": ("GET /pets/{petId}?acl", operation({"const": "acl"}, parameters=[{"name": "petId", "in": "path", "required": True}])),
}  # fmt: skip

FLOW = """
- workflowId: adopt
  inputs: {type: object, required: [name], properties: {name: {type: string}, limit: {type: integer, default: 5}, note: {type: string}}}
  steps:
  - stepId: list
    operationId: list
    parameters: [{name: limit, in: query, value: $inputs.limit}]
    outputs: {id: '$response.body#/0/id'}
  - stepId: one
    operationId: one
    parameters: [{name: petId, in: path, value: $steps.list.outputs.id}]
  - stepId: add
    operationId: add
    requestBody: {payload: {name: $inputs.name, note: $inputs.note, kind: cat}}
    successCriteria: [{condition: $statusCode == 201}, {condition: $response.body#/name == $inputs.name}]
  - {stepId: mine, operationId: mine}
  - {stepId: acl, operationId: acl, parameters: [{name: petId, in: path, value: 7}]}
"""  # fmt: skip


def pets(workflows: str = FLOW, **options: Any) -> Mock:
    return Mock(plans(workflows, api(PETS)), {"api": "http://mock.example"}, **options)


async def test_a_run_is_followed_to_its_end() -> None:
    """Each request is known for its step's, and what the document asks for is what it gets."""
    mock = pets()
    outcome, listing = await ran(mock, mock.plays[0].plan, {"name": "Mia"})
    assert outcome.status == "succeeded", outcome.reason
    assert [each.step_id for each in mock.exchanges] == listing.steps == ["list", "one", "add", "mine", "acl"]
    assert [each.problem for each in mock.exchanges] == [""] * 5
    assert body_of(mock.exchanges[2].response)["name"] == "Mia", "it was learned from the request"
    assert [body_of(each.response) for each in mock.exchanges[3:]] == ["mine", "acl"]
    assert mock._sessions == []


REFUSED = [
    ("nothing there", asked("GET /cats"), 404, "nothing is served at GET /cats"),
    ("another method", asked("DELETE /pets"), 405, "DELETE is not served here, but GET, POST"),
    ("a parameter is missing", asked("GET /pets"), 400, "the required query parameter 'limit' is missing"),
    ("the body is missing", asked("POST /pets"), 400, "the request body is missing"),
    ("the body is no JSON", asked("POST /pets", b"{"), 400, "the request body is no JSON"),
    ("another media type", asked("POST /pets", b"a=1", media_type="text/csv"), 400, "the media type text/csv is not accepted here; accepted are application/json"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status", "said"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_what_the_description_forbids_is_refused_with_its_name(request_: Any, status: int, said: str) -> None:
    """The answer says what is wrong with the request; an unknown path lists what is served."""
    mock = pets()
    response = mock.respond(request_)
    assert response.status == status
    assert said in body_of(response)["error"]
    assert said in mock.exchanges[-1].problem
    if status in {404, 405}:
        assert "GET /pets/{petId}" in body_of(response)["served"]


def test_what_no_step_gives_is_not_insisted_upon() -> None:
    """The description requires a header that the document never gives: that is for `treadle check` to say."""
    assert pets().respond(asked("GET /pets?limit=5")).status == 200


def test_an_operation_can_be_tried_by_hand() -> None:
    """A request out of any order is taken as a step in the middle, with the description's example."""
    mock = pets()
    assert body_of(mock.respond(asked("GET /pets/7"))) == {"name": "Rex"}
    assert mock.exchanges[-1].step_id == "one"
    assert body_of(mock.respond(asked("POST /pets", {"name": "Tom", "kind": "cat"}))) == {"name": "Tom"}


TWO = """
- workflowId: first
  steps:
  - {stepId: a, operationId: mine}
  - {stepId: b, operationId: one, parameters: [{name: petId, in: path, value: 1}], successCriteria: [{condition: $statusCode == 404}]}
- workflowId: second
  steps:
  - {stepId: a, operationId: mine, outputs: {x: $response.body#/x/y}}
  - {stepId: b, operationId: one, parameters: [{name: petId, in: path, value: 2}], successCriteria: [{condition: $statusCode == 200}]}
  outputs: {x: $steps.a.outputs.x}
"""  # fmt: skip


@pytest.mark.parametrize(("index", "status"), [(0, 404), (1, 200)])
async def test_workflows_that_begin_alike_are_told_apart_by_what_follows(index: int, status: int) -> None:
    """The first answer suits both workflows; the second request says which one it was."""
    described = {**PETS, "mine": ("GET /pets/mine", operation({"type": "object"}))}
    mock = Mock(plans(TWO, api(described)))
    outcome, _ = await ran(mock, mock.plays[index].plan)
    assert outcome.status == "succeeded", outcome.reason
    assert mock.exchanges[-1].response.status == status
    assert outcome.outputs == ({"x": "y-1"} if index else {})


POLL = """
- workflowId: w
  inputs: {type: object, required: [job], properties: {job: {type: string}}}
  steps:
  - stepId: create
    operationId: Create
    parameters: [{name: X-Amz-Target, in: header, value: Svc.Create}]
    requestBody: {contentType: application/x-amz-json-1.1, payload: {Name: $inputs.job}}
  - stepId: poll
    operationId: Describe
    parameters: [{name: X-Amz-Target, in: header, value: Svc.Describe}]
    requestBody: {contentType: application/x-amz-json-1.1, payload: {Name: $inputs.job}}
    successCriteria: [{condition: $response.body#/Name == $inputs.job}]
    onSuccess:
    - {name: again, type: goto, stepId: poll, criteria: [{context: $response.body, type: jsonpath, condition: '$.Status == "InProgress"'}]}
    outputs: {status: $response.body#/Status}
  outputs: {status: $steps.poll.outputs.status}
"""  # fmt: skip
AWS = {
    "Create": ("POST /#Create", operation({"type": "object"}, parameters=[{"name": "X-Amz-Target", "in": "header", "required": True, "schema": {"enum": ["Svc.Create"]}}])),
    "Describe": ("POST /#Describe", operation({"type": "object", "properties": {"Status": {"enum": ["InProgress", "Failed", "Completed"]}}})),
}  # fmt: skip


@pytest.mark.parametrize("base", ["http://mock.example", "http://mock.example/v1"])
@pytest.mark.parametrize("key", ["", "?acl", "#root", "/"])
def test_an_operation_of_the_server_itself(key: str, base: str) -> None:
    """A key without a path means the server's own address, which on the wire has "/" for a path."""
    made = plans(step_of(), api({"get": (f"GET {key}", operation({"const": "root"}))}))
    mock = Mock(made, {"api": base})
    for at in {base, f"{base}/"}:
        answer = mock.respond(Request("GET", at + ("?acl" if "?" in key else "")))
        assert (answer.status, body_of(answer)) == (200, "root"), at


async def test_operations_of_aws_are_told_apart_by_their_target() -> None:
    """They share `POST /`; what has another target is refused as AWS does."""
    mock = Mock(plans(POLL, api(AWS)))
    outcome, listing = await ran(mock, mock.plays[0].plan)
    assert outcome.outputs == {"status": "Completed"}
    assert listing.steps == ["create", "poll", "poll", "poll"]
    assert mock.respond(asked("POST /", {}, [("X-Amz-Target", "Svc.Other")])).status == 404
    refused = mock.respond(asked("POST /", b"{", [("X-Amz-Target", "Svc.Create")], "application/x-amz-json-1.1"))
    assert (refused.status, body_of(refused)["__type"]) == (400, "ValidationException")


async def test_runs_at_the_same_time_do_not_disturb_each_other() -> None:
    """Their requests are told apart by what was learned from them: each poll has rounds of its own."""
    mock = Mock(plans(POLL, api(AWS)), visits=3)
    runs = await asyncio.gather(*(ran(mock, mock.plays[0].plan, {"job": f"job-{number}"}) for number in range(5)))
    for outcome, listing in runs:
        assert outcome.outputs == {"status": "Completed"}
        assert listing.steps == ["create", *["poll"] * 4]


async def test_one_run_after_the_other_gets_the_same() -> None:
    """A run that is over leaves nothing behind."""
    mock = Mock(plans(POLL, api(AWS)))
    first = await ran(mock, mock.plays[0].plan)
    second = await ran(mock, mock.plays[0].plan)
    assert first[1].steps == second[1].steps


BY_INPUTS = """
- workflowId: w
  inputs: {type: object, properties: {keep: {type: boolean}, files: {type: array, items: {type: string}}, kind: {type: string}}}
  steps:
  - stepId: a
    operationId: mine
    onSuccess:
    - {name: kept, type: goto, stepId: c, criteria: [{condition: $inputs.keep == true}]}
    - {name: some, type: goto, stepId: d, criteria: [{context: $inputs, type: jsonpath, condition: $.files.length > 0}]}
    - {name: odd, type: end, criteria: [{condition: $inputs.kind == 'odd'}]}
  - {stepId: b, operationId: one, parameters: [{name: petId, in: path, value: 1}], successCriteria: [{condition: $statusCode == 410}]}
  - {stepId: c, operationId: one, parameters: [{name: petId, in: path, value: 2}], successCriteria: [{condition: $statusCode == 404}]}
  - {stepId: d, operationId: one, parameters: [{name: petId, in: path, value: 3}], successCriteria: [{condition: $statusCode == 200}]}
"""  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "statuses"),
    [({}, [410, 404, 200]), ({"keep": True}, [404, 200]), ({"files": ["x"]}, [200]), ({"kind": "odd"}, [])],
)
async def test_ways_that_inputs_decide_are_all_possible(inputs: dict[str, Json], statuses: list[int]) -> None:
    """The mock does not see the inputs that decide: it goes along with whatever request comes."""
    mock = Mock(plans(BY_INPUTS, api(PETS)))
    outcome, _ = await ran(mock, mock.plays[0].plan, inputs)
    assert outcome.status == "succeeded", outcome.reason
    assert [each.response.status for each in mock.exchanges[1:]] == statuses


NESTED = """
- workflowId: outer
  inputs: {type: object, required: [user], properties: {user: {type: string}}}
  dependsOn: [before]
  steps:
  - {stepId: call, workflowId: inner, parameters: [{name: who, value: $inputs.user}], outputs: {id: $outputs.id}}
  - {stepId: use, operationId: one, parameters: [{name: petId, in: path, value: $steps.call.outputs.id}]}
- workflowId: inner
  inputs: {type: object, required: [who], properties: {who: {type: string}}}
  steps:
  - stepId: add
    operationId: add
    requestBody: {payload: {name: $inputs.who}}
    successCriteria: [{condition: $response.body#/owner == $inputs.who}]
    outputs: {id: $response.body#/deep/id}
  outputs: {id: $steps.add.outputs.id}
- workflowId: before
  steps: [{stepId: first, operationId: mine}]
"""


async def test_workflows_that_call_each_other_are_followed() -> None:
    """Dependencies, nested workflows, their inputs and outputs."""
    mock = Mock(plans(NESTED, api(PETS)))
    outcome, listing = await ran(mock, mock.plays[0].plan, {"user": "Eve"})
    assert outcome.status == "succeeded", outcome.reason
    assert [each.step_id for each in mock.exchanges] == ["first", "add", "use"]
    assert body_of(mock.exchanges[1].response)["owner"] == "Eve"
    assert mock.exchanges[2].request.url.endswith("/pets/id-1")
    del listing


def test_a_rehearsal_says_what_a_run_would_meet() -> None:
    """Steps, statuses and goals, without a run, and nothing is remembered of it."""
    mock = Mock(plans(POLL, api(AWS)))
    rehearsal = mock.rehearse(mock.plays[0].plan)
    assert [(each.step_id, each.status, each.goal) for each in rehearsal.visits] == [
        ("create", 200, "success"),
        ("poll", 200, "success, goto 'again'"),
        ("poll", 200, "success, goto 'again'"),
        ("poll", 200, "success"),
    ]
    assert rehearsal.problems == []
    assert rehearsal.inputs == {"job": "job-1"}
    assert mock.exchanges == []


ENDLESS = """
- workflowId: w
  steps: [{stepId: s, operationId: mine, onSuccess: [{name: again, type: goto, stepId: s}]}]
"""


def test_a_document_without_an_end_is_said() -> None:
    """A loop whose way back has no condition cannot be left by any answer."""
    mock = Mock(plans(ENDLESS, api(PETS)))
    assert mock.rehearse(mock.plays[0].plan).problems == [
        "w: the workflow goes in circles: no answer leads out of the loop at the step 's'"
    ]


async def test_a_run_without_an_end_is_ended() -> None:
    """After the rounds that were asked for: a mock that went on would keep the run for ever."""
    mock = Mock(plans(ENDLESS, api(PETS)), visits=3)
    outcome, listing = await ran(mock, mock.plays[0].plan)
    assert outcome.status == "failed"
    assert "508" in outcome.reason
    assert listing.steps == ["s"] * 4


DOOMED = """
- workflowId: w
  steps:
  - stepId: s
    operationId: mine
    outputs: {all: $response.body}
    onSuccess: [{name: again, type: goto, stepId: s, criteria: [{condition: $response.body#/kind == 'busy'}]}]
  - {stepId: t, operationId: mine, requestBody: {contentType: image/png, payload: $steps.s.outputs.all}}
"""


async def test_a_loop_before_something_that_cannot_work_is_left_all_the_same() -> None:
    """What follows fails with its own reason; going round once more would not mend it."""
    mock = Mock(plans(DOOMED, api(PETS)))
    outcome, listing = await ran(mock, mock.plays[0].plan)
    assert "image/png" in outcome.reason
    assert listing.steps == ["s", "s", "s", "t"]


@pytest.mark.parametrize(
    ("workflows", "path"),
    [
        pytest.param(
            "- workflowId: w\n  inputs: {type: object, properties: {x: {type: string}}}\n  steps:\n"
            + "".join(
                f"  - {{stepId: {name}, operationId: put, requestBody: {{payload: {{text: '{'{$inputs.x}a' * 24}{end}'}}}}}}\n"
                for name, end in (("s", ""), ("t", "b"))
            ),
            "/text",
            id="a text of many inputs",
        ),
        pytest.param(
            "- workflowId: w\n  inputs: {type: object, properties: {x: {type: string}}}\n  steps:\n"
            "  - {stepId: s, operationId: put, requestBody: {payload: {}}, parameters: ["
            + ", ".join(f"{{name: p{n}, in: path, value: $inputs.x}}" for n in range(24))
            + "]}\n",
            "/" + "".join(f"{{p{n}}}a" for n in range(24)) + "b",
            id="a path of many parameters",
        ),
    ],
)  # fmt: skip
async def test_no_document_keeps_the_mock_busy(workflows: str, path: str) -> None:
    """Texts of documents become patterns; with an engine that tries every way these would take hours."""
    described = operation({"type": "object"}, requestBody={"content": {"application/json": {}}})
    mock = Mock(plans(workflows, api({"put": (f"PUT {path}", described)})), {"api": "http://mock.example"})
    outcome, _ = await ran(mock, mock.plays[0].plan, {"x": "a" * 200})
    assert outcome.status == "succeeded", outcome.reason
    assert mock.respond(asked("PUT /" + "a" * 5000)).status == 404


ITSELF = """
- workflowId: w
  steps:
  - {stepId: a, operationId: mine, outputs: {x: $steps.a.outputs.x, z: '$steps.a.outputs.z#/d'}}
  - {stepId: b, operationId: one, parameters: [{name: petId, in: path, value: $steps.a.outputs.NAME}]}
"""  # fmt: skip


@pytest.mark.parametrize("name", ["x", "z"])
def test_an_output_that_comes_from_itself_is_not_followed_for_ever(name: str) -> None:
    """A path needs the output: what a request needs is followed further than what nobody asks for."""
    mock = pets(ITSELF.replace("NAME", name))
    rehearsal = mock.rehearse(mock.plays[0].plan)
    assert rehearsal.result is not None
    assert rehearsal.result.status == "failed"
