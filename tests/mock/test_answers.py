"""Answers that satisfy what a document asks for, found for conditions of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mock.shelf import api, asked, body_of, operation, plans, ran, step_of
from treadle.mock import Mock
from treadle.seams import Json

STATUS = {"type": "object", "properties": {"status": {"enum": ["Creating", "Failed", "InService", "Deleting"]}}}
LIST = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}}}}  # fmt: skip


def mock_of(workflows: str, described: dict[str, Any] | None = None, **options: Any) -> Mock:
    given = described or {"get": ("GET /x", operation({"type": "object"}))}
    return Mock(plans(workflows, api(given)), **options)


@dataclass(frozen=True)
class Case:
    name: str
    criteria: str
    want: Json = None
    """Members that the body must have; a text is the whole body."""
    status: int = 200
    schema: Json = field(default_factory=lambda: {"type": "object"})
    headers: tuple[str, ...] = ()


J = "{context: $response.body, type: jsonpath, condition: "
CASES = [
    Case("status", "[{condition: $statusCode == 201}]", status=201),
    Case("a status that the description lacks", "[{condition: $statusCode == 418}]", status=418),
    Case("one of two", "[{condition: $statusCode == 202 || $statusCode == 204}]", status=202),
    Case("a range of statuses", "[{condition: $statusCode >= 300 && $statusCode < 304}]", status=300),
    Case("status by pattern", "[{context: $statusCode, type: regex, condition: '^40[4-9]$'}]", status=404),
    Case("a text", "[{condition: $response.body#/state == 'ready'}]", {"state": "ready"}),
    Case("a number", "[{condition: $response.body#/a/b > 10}]", {"a": {"b": 11}}),
    Case("in a list", "[{condition: $response.body#/items/1/id == 7}]", schema=LIST, want={"items": [{}, {"id": 7}]}),
    Case("dots and brackets", "[{condition: \"$response.body.items[0].name == 'x'\"}]", {"items": [{"name": "x"}]}),
    Case("not this value of an enum", "[{condition: $response.body#/status != 'Creating'}]", {"status": "InService"}, schema=STATUS),
    Case("neither of two", "[{condition: $response.body#/status != 'Creating' && $response.body#/status != 'InService'}]", {"status": "Failed"}, schema=STATUS),
    Case("not this text", "[{condition: $response.body#/s != 'InProgress'}]", {"s": "Completed"}),
    Case("there", "[{condition: $response.body#/token != null}]", {"token": "token-1"}),
    Case("not there", "[{condition: $response.body#/token == null}]", {}),
    Case("truthy", "[{condition: $response.body#/ok}]", {"ok": True}),
    Case("negated", "[{condition: '!$response.body#/error'}]", {}),
    Case("a negated group", "[{condition: \"!($response.body#/a == 'x' || $response.body#/b == 'y')\"}]", {}),
    Case("two members alike", "[{condition: $response.body#/a == $response.body#/b}]"),
    Case("literal on the left", "[{condition: 3 < $response.body#/n}]", {"n": 4}),
    Case("a header", "[{condition: $response.header.X-State == 'on'}]", headers=("x-state",)),
    Case("a header that is there", "[{condition: $response.header.ETag != null}]", headers=("etag",)),
    Case("pattern", "[{context: $response.body#/id, type: regex, condition: '^[A-Z]{2}-\\d{3}$'}]", {"id": "AA-000"}),
    Case("pattern over a whole body", "[{context: $response.body, type: regex, condition: '(?i).*access_token.*'}]", {"access_token": "access_token-1"}),
    Case("query", "[" + J + "$.a.b}]", {"a": {"b": "b-1"}}),
    Case("comparison of a query", "[" + J + "'$.flag == false'}]", {"flag": False}),
    Case("a list that is not empty", "[" + J + "'$.items.length > 0'}]", schema=LIST, want={"items": [{}]}),
    Case("a list that is empty", "[" + J + "'$.items.length == 0'}]", {"items": []}, schema=LIST),
    Case("a list of five", "[" + J + "'$.links.length == 5'}]"),
    Case("the answer is a list", "[" + J + "'$.length > 1'}]", schema={"type": "array", "items": {"type": "integer"}}),
    Case("filter", "[" + J + "'$.data[?(@.price > 10 && @.brand.name == \"Forge\")]'}]", {"data": [{"price": 11, "brand": {"name": "Forge"}}]}),
    Case("filter with a function", "[" + J + "'$.data[?match(@.sku, \"[A-C]{3}\")]'}]", {"data": [{"sku": "AAA"}]}),
    Case("filter of the object itself", "[" + J + "'$[?count(@.pets) > 0]'}]"),
    Case("every element", "[" + J + "'$.data[*].brand.name'}]", {"data": [{"brand": {"name": "name-1"}}]}),
    Case("no element that fits", "[" + J + "'$.data[?(@.id == 3)].length == 0'}]"),
    Case("xpath", "[{context: $response.body, type: xpath, condition: \"/order/state = 'done'\"}]", "<order><state>done</state></order>", schema=None),
    Case("xpath anywhere", "[{context: $response.body, type: xpath, condition: 'count(//item[@kind = \"a\"]) > 0'}]", schema=None),
    Case("several xpaths", "[{context: $response.body, type: xpath, condition: \"//state = 'done'\"}, {context: $response.body, type: xpath, condition: //item/id}]", "<root><state>done</state><item><id>text</id></item></root>", schema=None),
    Case("xpaths with one root", "[{context: $response.body, type: xpath, condition: \"/a/b = 'x'\"}, {context: $response.body, type: xpath, condition: /a/c}]", "<a><b>x</b><c>text</c></a>", schema=None),
    Case("several together", "[{condition: $statusCode == 202}, {condition: $response.body#/a == 1}, " + J + "'$.b.length == 2'}]", status=202),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_answer_is_found_that_satisfies_the_criteria(case: Case) -> None:
    """The answer satisfies the real criteria, and where only one value can be meant it is that."""
    made = plans(step_of(case.criteria), api({"get": ("GET /x", operation(case.schema))}))
    mock = Mock(made)
    outcome, _ = await ran(mock, made[0])
    assert outcome.status == "succeeded", outcome.reason
    exchange = mock.exchanges[-1]
    assert not exchange.problem
    assert exchange.response.status == case.status
    assert all(exchange.response.header(name) for name in case.headers)
    if isinstance(case.want, str):
        assert exchange.response.body.decode() == case.want
        assert "xml" in (exchange.response.header("content-type") or "")
    elif case.want is not None:
        assert contains(body_of(exchange.response), case.want)


def contains(body: Json, want: Json) -> bool:
    if isinstance(want, dict):
        return isinstance(body, dict) and all(
            name in body and contains(body[name], each) for name, each in want.items()
        )
    if isinstance(want, list):
        return isinstance(body, list) and len(body) == len(want) and all(map(contains, body, want))
    return bool(body == want)


def test_what_cannot_be_satisfied_is_said() -> None:
    """Two criteria that exclude each other: an answer comes, and the mock says what is wrong with the step."""
    mock = mock_of(step_of("[{condition: $statusCode == 200}, {condition: $statusCode == 404}]"))
    rehearsal = mock.rehearse(mock.plays[0].plan)
    assert len(rehearsal.problems) == 1
    assert "no answer was found that satisfies the step 's'" in rehearsal.problems[0]
    assert mock.respond(asked("GET /x")).status == 200
    assert "no answer was found" in mock.exchanges[-1].problem


OUTPUTS = "{id: $response.body#/data/0/id, etag: $response.header.ETag, all: $response.body}"


async def test_outputs_have_values() -> None:
    """What outputs name is there, in the body and in the headers, though no criterion asks for it."""
    made = plans(step_of(outputs=OUTPUTS) + "\n  outputs: {id: $steps.s.outputs.id, etag: $steps.s.outputs.etag}", api({"get": ("GET /x", operation({"type": "object"}))}))  # fmt: skip
    outcome, _ = await ran(Mock(made), made[0])
    assert outcome.outputs == {"id": "id-1", "etag": "ETag-1"}


CHAIN = """
- workflowId: w
  steps:
  - stepId: list
    operationId: list
    outputs: {found: $response.body#/results}
  - stepId: one
    operationId: one
    parameters: [{name: id, in: path, value: '$steps.list.outputs.found[0].id'}]
    outputs: {deep: $response.body#/a}
  outputs: {x: $steps.one.outputs.deep#/b/c}
"""


async def test_what_later_steps_use_is_there_with_their_type() -> None:
    """`found[0].id` is an id of the type that the next operation wants, and deeper uses of an output exist."""
    parameter = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 40}}
    described = {
        "list": ("GET /things", operation({"type": "object"})),
        "one": ("GET /things/{id}", operation({"type": "object"}, parameters=[parameter])),
    }
    made = plans(CHAIN, api(described))
    mock = Mock(made)
    outcome, _ = await ran(mock, made[0])
    assert outcome.outputs == {"x": "c-1"}
    assert mock.exchanges[-1].request.url.endswith("/things/40")


async def test_a_path_that_contradicts_the_schema_is_forced_where_a_request_needs_it() -> None:
    """The description says a list, the document reads a member of it into a path: the document wins."""
    workflow = CHAIN.replace("found[0].id", "found.id")
    listed = {"type": "object", "properties": {"results": {"type": "array", "items": {"type": "object", "properties": {"id": {"const": 5}}}}}}  # fmt: skip
    described = {
        "list": ("GET /things", operation(listed)),
        "one": ("GET /things/{id}", operation({"type": "object"}, parameters=[{"name": "id", "in": "path", "required": True}])),
    }  # fmt: skip
    made = plans(workflow, api(described))
    mock = Mock(made)
    outcome, _ = await ran(mock, made[0])
    assert outcome.status == "succeeded"


POLL = """
- workflowId: w
  steps:
  - stepId: poll
    operationId: get
    successCriteria: [{condition: $statusCode == 200}]
    onSuccess:
    - {name: again, type: goto, stepId: poll, criteria: [{condition: $response.body#/status == 'Creating'}]}
    - {name: done, type: end, criteria: [{condition: $response.body#/status != 'Creating'}]}
    outputs: {status: $response.body#/status}
  outputs: {status: $steps.poll.outputs.status}
"""


@pytest.mark.parametrize("visits", [0, 1, 2, 5])
async def test_a_poll_goes_round_and_comes_out(visits: int) -> None:
    """The first answers keep the loop going, as often as is wanted; then comes an end that somebody hopes for."""
    made = plans(POLL, api({"get": ("GET /x", operation(STATUS))}))
    mock = Mock(made, visits=visits)
    outcome, listing = await ran(mock, made[0])
    assert outcome.outputs == {"status": "InService"}
    assert listing.steps == ["poll"] * (visits + 1)


BRANCHES = """
- workflowId: w
  steps:
  - stepId: find
    operationId: get
    onSuccess:
    - {name: none, type: end, criteria: [{context: $response.body, type: jsonpath, condition: '$.items.length == 0'}]}
    - {name: some, type: goto, stepId: last, criteria: [{context: $response.body, type: jsonpath, condition: '$.items.length > 0'}]}
    onFailure:
    - {name: retried, type: retry, retryLimit: 2, criteria: [{condition: $statusCode == 503}]}
    - {name: gone, type: goto, stepId: last, criteria: [{condition: $statusCode == 404}]}
  - {stepId: middle, operationId: get}
  - {stepId: last, operationId: get}
"""


@pytest.mark.parametrize(
    ("take", "steps"),
    [
        (None, ["find", "last"]),
        ("some", ["find", "last"]),
        ("none", ["find"]),
        ("gone", ["find", "last"]),
        ("retried", ["find", "find", "last"]),
    ],
)
async def test_a_branch_can_be_chosen(take: str | None, steps: list[str]) -> None:
    """Forward is preferred to the end; any other action, of a failure too, can be asked for."""
    made = plans(BRANCHES, api({"get": ("GET /x", operation(LIST))}))
    mock = Mock(made, takes={"find": take} if take else {})
    outcome, listing = await ran(mock, made[0])
    assert outcome.status == "succeeded"
    assert listing.steps == steps


async def test_a_way_that_ends_badly_is_not_taken() -> None:
    """The way forward leads to a request that cannot be built: the other action, which ends the workflow, is better."""
    workflow = BRANCHES.replace("{stepId: last, operationId: get}", "{stepId: last, operationId: one, parameters: [{name: id, in: path, value: $message.payload}]}")  # fmt: skip
    described = {
        "get": ("GET /x", operation(LIST)),
        "one": ("GET /y/{id}", operation({}, parameters=[{"name": "id", "in": "path", "required": True}])),
    }
    made = plans(workflow, api(described))
    outcome, listing = await ran(Mock(made), made[0])
    assert (outcome.status, listing.steps) == ("succeeded", ["find"])


# ---------------------------------------------------------------------------------------------------------------------
# Any condition that some answer satisfies
# ---------------------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "items"])
LITERALS = st.sampled_from(["'x'", "'Creating'", "1", "2.5", "true", "false", "null"])
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
SIMPLE = st.builds(
    lambda path, sign, value: f"$response.body#/{'/'.join(path)} {sign} {value}",
    st.lists(NAMES, min_size=1, max_size=2),
    OPERATORS,
    LITERALS,
).filter(lambda text: not (("null" in text or "true" in text or "false" in text) and ("<" in text or ">" in text)))


@settings(max_examples=120)
@given(st.lists(SIMPLE, min_size=1, max_size=2), st.sampled_from(["&&", "||"]), st.booleans())
def test_conditions_on_different_places_are_satisfied(parts: list[str], sign: str, negated: bool) -> None:
    """One condition for each place: there is always an answer, and it is found."""
    places = [part.split(" ")[0] for part in parts]
    if any(one != other and (one.startswith(other) or other.startswith(one)) for one in places for other in places):
        return
    if len(set(places)) < len(places):
        return
    condition = f" {sign} ".join(parts)
    condition = f"!({condition})" if negated else condition
    mock = mock_of(step_of('[{condition: "' + condition + '"}]'))
    assert mock.rehearse(mock.plays[0].plan).problems == [], condition


QUERIES = st.builds(
    lambda path, rest: f"$.{'.'.join(path)}{rest}",
    st.lists(NAMES, min_size=1, max_size=2, unique=True),
    st.sampled_from([" == 'x'", " != 'x'", ".length > 0", ".length == 0", ".length == 3", " > 5", "", "[*].c", "[?@.c == 1]", " == true", " != null", " == null"]),
)  # fmt: skip


@settings(max_examples=80)
@given(QUERIES)
def test_queries_are_satisfied(query: str) -> None:
    """Queries, comparisons of them and their lengths."""
    mock = mock_of(step_of('[{context: $response.body, type: jsonpath, condition: "' + query + '"}]'))
    assert mock.rehearse(mock.plays[0].plan).problems == [], query


SEVERAL = {name: (f"GET /{name}", operation({"type": "object"})) for name in ("first", "second", "third", "fourth")}
FIRST = "- {stepId: a, operationId: first, outputs: {s: $response.body#/state, n: $response.body#/n, ids: $response.body#/ids}}"
CHILD = """
- workflowId: child
  steps: [{stepId: g, operationId: second, outputs: {name: $response.body#/name}}]
  outputs: {name: $steps.g.outputs.name}
"""


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        pytest.param(
            FIRST + "\n  - {stepId: b, operationId: second, successCriteria: [{condition: $steps.a.outputs.s == 'ready'}, {condition: $steps.a.outputs.n > 3}]}",
            ["a", "b"],
            id="of an earlier step",
        ),
        pytest.param(
            FIRST + "\n  - {stepId: b, operationId: second, successCriteria: [{context: $steps.a.outputs.s, type: regex, condition: '^[A-Z]{3}$'}, {context: $steps.a.outputs.ids, type: jsonpath, condition: '$[0].id == 7'}]}",
            ["a", "b"],
            id="by pattern and by query",
        ),
        pytest.param(
            "- {stepId: a, operationId: first, successCriteria: [{condition: $steps.a.outputs.s == 'ready'}], outputs: {s: $response.body#/state}}",
            ["a"],
            id="of the step itself",
        ),
        pytest.param(
            FIRST + "\n  - {stepId: b, operationId: second, onSuccess: [{name: x, type: goto, stepId: d, criteria: [{condition: $steps.a.outputs.s == 'x'}]}]}\n  - {stepId: c, operationId: third}\n  - {stepId: d, operationId: fourth}",
            ["a", "b", "d"],
            id="of an action",
        ),
        pytest.param(
            FIRST + "\n  - {stepId: b, operationId: second, onSuccess: [{name: again, type: goto, stepId: a, criteria: [{condition: $steps.a.outputs.s == 'busy'}]}]}\n  - {stepId: c, operationId: third}",
            ["a", "b", "a", "b", "a", "b", "c"],
            id="of a poll of two steps",
        ),
        pytest.param("- {stepId: a, workflowId: child, successCriteria: [{condition: $outputs.name == 'Rex'}]}", ["a", "g"], id="of a called workflow"),
        pytest.param("- {stepId: a, workflowId: child, successCriteria: [{condition: $workflows.child.outputs.name == 'Rex'}]}", ["a", "g"], id="of a called workflow by name"),
        pytest.param("- {stepId: a, workflowId: child, successCriteria: [{condition: $steps.a.outputs.name == 'Rex'}]}", ["a", "g"], id="of the step that calls it"),
    ],
)  # fmt: skip
async def test_an_answer_has_what_a_later_step_asks_of_its_outputs(steps: str, wanted: list[str]) -> None:
    """Nothing that the later step is answered could change it."""
    made = plans(f"- workflowId: w\n  steps:\n  {steps}\n{CHILD}", api(SEVERAL))
    mock = Mock(made[:1])
    outcome, listing = await ran(mock, made[0])
    assert outcome.status == "succeeded", outcome.reason
    assert not [each.problem for each in mock.exchanges if each.problem]
    assert listing.steps == wanted


async def test_an_output_that_is_an_xpath_finds_something() -> None:
    """As one that is a path into JSON does."""
    outputs = "{id: {context: $response.body, selector: //order/id, type: xpath}, n: {context: $response.body, selector: //order/n, type: xpath}}"
    made = plans(step_of(outputs=outputs) + "\n  outputs: {id: $steps.s.outputs.id, n: $steps.s.outputs.n}", api({"get": ("GET /x", operation())}))  # fmt: skip
    outcome, _ = await ran(Mock(made), made[0])
    assert outcome.outputs == {"id": "text", "n": "text"}


async def test_inputs_that_criteria_compare_with_are_made_up() -> None:
    """Without them the step could not succeed, whatever it is answered."""
    criteria = "[{condition: $response.body#/n >= $inputs.least}, {condition: $response.body#/who == $inputs.who}]"
    made = plans(step_of(criteria) + "\n  inputs: {type: object, properties: {least: {type: integer}}}", api({"get": ("GET /x", operation({"type": "object"}))}))  # fmt: skip
    outcome, _ = await ran(Mock(made), made[0])
    assert outcome.status == "succeeded", outcome.reason
