"""What a machine remembers of a step's last visit: as little work as possible, and never a stale answer.

That it changes nothing is held by every story that the tests tell (`conftest.Teller`): each turn is compared with that
of a machine which remembers nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.arazzo.conftest import Story, make_plan
from treadle.arazzo.expressions import Context
from treadle.arazzo.machine.memory import Look, Memory, Visit
from treadle.seams import MISSING, Answer, Request, Response

POLL = """
- workflowId: w
  inputs: {type: object, properties: {id: {}}}
  steps:
  - stepId: poll
    operationId: one
    requestBody: {payload: {id: $inputs.id, last: $steps.poll.outputs.n}}
    outputs: {n: $response.body#/n, id: $inputs.id}
    onSuccess:
    - {name: again, type: goto, stepId: poll, criteria: [{condition: $response.body#/n < 3}]}
"""


@pytest.fixture
def visit() -> Visit:
    made, found = make_plan(POLL)
    assert made is not None, found
    step = made.workflows["w"].steps[0]
    memory = Memory()
    assert memory.of(step) is memory.of(step)
    return memory.of(step)


def shown(request: Request) -> str:
    return request.url


def answered(body: bytes, status: int = 200, content_type: str = "application/json") -> Response:
    return Response(status, (("Date", "now"), ("Content-Type", content_type)), body, "http://x/")


def test_the_same_values_ask_the_same(visit: Visit) -> None:
    """While the values in a request are the same, so is the request; a new value makes a new one, be it equal in Python."""
    inputs = {"id": 1}
    first = visit.asked(Context(inputs=inputs), shown)
    assert visit.asked(Context(inputs=dict(inputs)), shown) is first
    bodies = [
        msgspec.json.decode(visit.asked(Context(inputs={"id": value}), shown).request.body)
        for value in (True, 1.5, None)
    ]
    assert bodies == [{"id": True}, {"id": 1.5}, {"id": None}]
    later = visit.asked(Context(inputs=inputs, steps={"poll": {"n": 2}}), shown)
    assert msgspec.json.decode(later.request.body) == {"id": 1, "last": 2}


@pytest.mark.parametrize(
    ("response", "same"),
    [
        (answered(b'{"n": 1}'), True),
        (answered(b'{"n": 2}'), False),
        (answered(b'{"n": 1}', status=201), False),
        (answered(b'{"n": 1}', content_type="text/plain"), False),
    ],
    ids=["same bytes", "other bytes", "other status", "other type"],
)
def test_the_same_answer_is_decoded_once(visit: Visit, response: Response, same: bool) -> None:
    """The same bytes give the same object; anything else about them is decoded anew, with its own headers always."""
    first = visit.answer(answered(b'{"n": 1}'))
    second = visit.answer(response)
    assert (second.body is first.body) == same
    assert (second.status, second.headers) == (response.status, response.headers)


def test_large_bodies_are_not_kept(visit: Visit) -> None:
    """Thousands of runs may wait at once: none of them holds a body of megabytes."""
    visit.answer(answered(b'{"n": 1}'))
    large = answered(msgspec.json.encode({"n": "x" * 100_000}))
    answer = visit.answer(large)
    sight = visit.sight(Context(), answer)
    visit.keep(sight, Look(passed=True), [])

    assert visit.answer(large).body is not answer.body
    assert visit.looked_at(sight) is None


BODY = {"n": 1}


@pytest.mark.parametrize(
    ("context", "answer", "same"),
    [
        (Context(inputs={"id": "a"}), Answer(200, body=BODY), True),
        (Context(inputs={"id": "a"}, steps={"other": {"x": 1}}), Answer(200, (("X", "y"),), BODY), True),
        (Context(inputs={"id": "b"}), Answer(200, body=BODY), False),
        (Context(inputs={"id": "a"}), Answer(200, body=dict(BODY)), False),
        (Context(inputs={"id": "a"}), Answer(201, body=BODY), False),
        (Context(inputs={"id": "a"}), Answer(200, body=MISSING, problem="it is HTML"), False),
    ],
    ids=["same", "what nothing looks at", "another input", "another body", "another status", "no body"],
)
def test_the_same_answer_is_looked_at_once(visit: Visit, context: Context, answer: Answer, same: bool) -> None:
    """A look holds while the answer and what else the step looks at are the same."""
    look = Look(passed=True)
    visit.answer(answered(b'{"n": 1}'))
    visit.keep(visit.sight(Context(inputs={"id": "a"}), Answer(200, body=BODY)), look, [])

    assert visit.looked_at(visit.sight(context, answer)) == ((look, []) if same else None)


def test_a_poll_sees_every_change(tell: Callable[..., Story]) -> None:
    """Answers that come again and change again lead to the outputs that each of them has."""
    story = tell(POLL, [(200, {"n": n}) for n in (1, 1, 2, 2, 1, 1, 3)], {"id": "a"})

    assert story.end.status == "succeeded"
    assert [body.get("last") for _, body in story.requests] == [None, 1, 1, 2, 2, 1, 1]
