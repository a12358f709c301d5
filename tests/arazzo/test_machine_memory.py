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
    large = answered(msgspec.json.encode({"n": "x" * 100_000}))
    assert visit.answer(large).body is not visit.answer(large).body


def test_the_same_answer_is_looked_at_once(visit: Visit) -> None:
    """A look holds while the answer and what else the step looks at are the same."""
    looks: list[Look] = []

    def anew() -> tuple[Look, list[object]]:
        looks.append(Look(passed=True))
        return looks[-1], []

    body = {"n": 1}
    for context, answer, expected in [
        (Context(inputs={"id": "a"}), Answer(200, body=body), 1),
        (Context(inputs={"id": "a"}, steps={"other": {"x": 1}}), Answer(200, (("X", "y"),), body), 1),
        (Context(inputs={"id": "b"}), Answer(200, body=body), 2),
        (Context(inputs={"id": "b"}), Answer(200, body=dict(body)), 3),
        (Context(inputs={"id": "b"}), Answer(500, body=MISSING, problem="it is HTML"), 4),
    ]:
        visit.look(context, answer, anew)  # type: ignore[arg-type]
        assert len(looks) == expected


def test_a_poll_sees_every_change(tell: Callable[..., Story]) -> None:
    """Answers that come again and change again lead to the outputs that each of them has."""
    story = tell(POLL, [(200, {"n": n}) for n in (1, 1, 2, 2, 1, 1, 3)], {"id": "a"})

    assert story.end.status == "succeeded"
    assert [body.get("last") for _, body in story.requests] == [None, 1, 1, 2, 2, 1, 1]
