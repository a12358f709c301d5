"""Visits of a poll that change nothing: made without the machine, counted, and told in one fact each.

That they come to what the machine itself would come to is held by every story that the tests tell
(`conftest.Teller`). Here: which polls are watched, and whole runs through them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.arazzo.conftest import Story, Teller, make_plan
from treadle.arazzo import events
from treadle.arazzo.machine import MachineOptions, Wait, Watch
from treadle.arazzo.plan import Plan
from treadle.arazzo.run import Clock, Interruption, Outcome, RunOptions, resume, run
from treadle.arazzo.secrecy import Secrets
from treadle.errors import TransportError
from treadle.http import ScriptedTransport
from treadle.seams import Json, Request, Response, RunRecord
from treadle.sources.security import NoAuthoriser
from treadle.stores.memory import MemoryRunStore

POLL = """
- workflowId: w
  inputs: {{type: object, properties: {{id: {{}}, token: {{type: string, format: password}}}}}}
  steps:
  - {{stepId: before, operationId: read, outputs: {{n: $response.body#/n}}}}
  - stepId: poll
    operationId: {operation}
    parameters: [{{name: id, in: query, value: $inputs.id}}, {{name: token, in: query, value: $inputs.token}}]
    outputs: {{n: {output}, status: $response.body#/status}}
    {more}
    onSuccess:
    - {{name: again, type: goto, stepId: poll, criteria: [{{condition: {condition}}}]}}
  outputs: {{n: $steps.poll.outputs.n, status: $steps.poll.outputs.status}}
"""


def poll(
    *,
    operation: str = "poll",
    output: str = "$response.body#/n",
    condition: str = "$response.body#/status == 'busy'",
    more: str = "",
) -> str:
    return POLL.format(operation=operation, output=output, condition=condition, more=more)


def planned(workflows: str) -> Plan:
    made, found = make_plan(workflows)
    assert made is not None, found
    return made


BUSY = (200, {"status": "busy", "n": 1})
LARGE = (200, {"status": "busy", "text": "x" * 70_000})


@pytest.mark.parametrize(
    ("document", "answer", "watched"),
    [
        (poll(), BUSY, True),
        (poll(output="$inputs.id"), BUSY, True),
        (poll(output="$steps.before.outputs.n"), BUSY, True),
        (poll(output="$url"), BUSY, True),
        (poll(output="$response.header.X-Count"), BUSY, False),
        (poll(output="$steps.poll.outputs.status"), BUSY, False),
        (poll(output="$request.query.id"), BUSY, False),
        (poll(condition="$response.header.X-Count != 7"), BUSY, False),
        (poll(operation="one"), BUSY, False),
        (poll(), LARGE, False),
        (poll(more="onFailure: [{name: f, type: goto, stepId: poll}]"), 404, False),
    ],
    ids=[
        "body",
        "input",
        "another step",
        "url",
        "header in an output",
        "own output",
        "request",
        "header in a criterion",
        "not a read",
        "large answer",
        "a failure that goes back",
    ],
)
def test_which_polls_are_watched(document: str, answer: Any, watched: bool) -> None:
    """A poll is watched where the same answer is certain to lead to the same, and asking again does no harm."""
    story = Teller(planned(document)).begin([BUSY, answer], {"id": "a"}, stop_after=6)
    waits = [effect for effect in story.effects if isinstance(effect, Wait)]

    assert waits
    assert {wait.watch is not None for wait in waits} == {watched}


JSON = (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    ("response", "same"),
    [
        (Response(200, (("Date", "later"), *JSON), b"{}", "http://x/"), True),
        (Response(200, JSON, b"[]", "http://x/"), False),
        (Response(202, JSON, b"{}", "http://x/"), False),
        (Response(200, (("Content-Type", "text/plain"),), b"{}", "http://x/"), False),
        (Response(200, JSON, b"{}", "http://y/"), False),
    ],
    ids=["another header", "another body", "another status", "another type", "from elsewhere"],
)
def test_what_is_the_same(response: Response, same: bool) -> None:
    """Everything counts that decides what an answer means to a steady step."""
    known = Response(200, JSON, b"{}", "http://x/")
    about: dict[str, Any] = {"at": 0.0, "run_id": "r", "step_id": "s"}
    watch = Watch(
        request=Request("GET", "http://x/"),
        timeout=1.0,
        known=known,
        visits=1,
        since=0.0,
        deadline=9.0,
        poll=None,
        started=events.StepStarted(**about, visit=1),
        sent=events.RequestSent(**about, method="GET", url="http://x/"),
    )
    assert watch.same(response) == same


def test_headers_that_are_looked_at_count(tell: Callable[..., Story]) -> None:
    """The same body with another header is another answer for a step that looks at it."""
    answers = [BUSY, *((200, {"status": "busy"}, {"X-Count": str(n)}) for n in (1, 1, 2)), (200, {"status": "over"})]
    story = tell(poll(output="$response.header.X-Count"), [*answers[:-1], (200, {}, {"X-Count": "3"})], {"id": "a"})

    assert [each.outputs.get("n") for each in story.of(events.StepSucceeded)] == [1, "1", "1", "2", "3"]


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


class Jumping(Clock):
    """A clock that jumps to where it is to wait for."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def jitter(self) -> float:
        return 0.0

    async def sleep_until(self, until: float) -> None:
        self.time = max(self.time, until)
        await asyncio.sleep(0)


class Counting(MemoryRunStore):
    saves = 0

    async def save(self, record: RunRecord, events: Any = ()) -> None:
        self.saves += 1
        await super().save(record, events)


class World:
    def __init__(self, document: str, answers: list[Any], **options: Any) -> None:
        self.plan = planned(document)
        self.answers = answers
        self.http = ScriptedTransport(self.answer)
        self.store = Counting()
        self.clock = Jumping()
        self.interruption = Interruption()
        self.facts: list[events.Event] = []
        self.options = RunOptions(run_id="r", **options)

    def answer(self, request: Request) -> Response | TransportError:
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(found):
            found = found()
        if isinstance(found, TransportError):
            return found
        status, body, *headers = found
        fields = {"Content-Type": "application/json", **(headers[0] if headers else {})}
        return Response(status, tuple(fields.items()), msgspec.json.encode(body), request.url)

    def report(self, event: events.Event) -> None:
        self.facts.append(event)

    async def run(self, inputs: dict[str, Json] | None = None) -> Outcome:
        return await run(self.plan, inputs or {"id": "a"}, options=self.options, **self.parts())

    async def resume(self) -> Outcome:
        record = await self.store.load("r")
        assert record is not None
        self.interruption = Interruption()
        return await resume(record, self.plan, **self.parts())

    def parts(self) -> dict[str, Any]:
        return {
            "transport": self.http,
            "authoriser": NoAuthoriser(),
            "store": self.store,
            "reporter": self,
            "clock": self.clock,
            "interruption": self.interruption,
        }

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def visits(self) -> list[int]:
        return [fact.visit for fact in self.of(events.StepStarted) if fact.step_id == "poll"]


OVER = (200, {"status": "over", "n": 2})


async def test_what_does_not_change_is_only_counted() -> None:
    """A visit more costs three facts and nothing else: no turn of the machine, nothing on the disk."""
    few = World(poll(), [BUSY, *[BUSY] * 10, OVER])
    many = World(poll(), [BUSY, *[BUSY] * 300, OVER])
    for each in (few, many):
        outcome = await each.run()
        assert (outcome.status, outcome.outputs) == ("succeeded", {"n": 2, "status": "over"})

    assert few.store.saves == many.store.saves
    assert many.visits == list(range(1, 302))
    more = Counter(type(fact).__name__ for fact in many.facts)
    more.subtract(Counter(type(fact).__name__ for fact in few.facts))
    assert {kind: count for kind, count in more.items() if count} == {
        "StepStarted": 290,
        "RequestSent": 290,
        "Unchanged": 290,
        "Waiting": 290,
    }


async def test_a_watched_poll_is_paced() -> None:
    """The pauses grow with the time in the loop, and `Retry-After` overrules them, as without the watch."""
    world = World(poll(), [BUSY, *[BUSY] * 40, (200, BUSY[1], {"Retry-After": "7"}), BUSY, OVER])
    await world.run()

    pauses = [round(each.until - each.at, 3) for each in world.of(events.Waiting)]
    assert pauses[0] == 0.2
    assert pauses[39] > pauses[30] > 0.2
    assert pauses[40] == 7.0
    assert [each.why for each in world.of(events.Waiting)][40:42] == ["Retry-After", "poll"]


async def test_a_change_back_is_a_change() -> None:
    """What is compared is the last answer that the machine saw."""
    answers = [BUSY, BUSY, BUSY, (200, {"status": "busy", "n": 5}), (200, {"status": "busy", "n": 5}), BUSY, BUSY, OVER]
    world = World(poll(), answers)
    await world.run()

    assert [each.outputs["n"] for each in world.of(events.StepSucceeded) if each.step_id == "poll"] == [1, 5, 1, 2]
    assert len(world.of(events.Unchanged)) == 3
    assert world.visits == list(range(1, 8))


async def test_a_fault_in_the_middle_passes() -> None:
    """A connection that breaks in a watched visit is tried again below it, and the poll goes on."""
    fault = TransportError("reset", "the connection broke", sent=True)
    world = World(poll(), [BUSY, BUSY, BUSY, fault, fault, BUSY, BUSY, OVER])
    outcome = await world.run()

    assert (outcome.status, outcome.outputs["n"]) == ("succeeded", 2)
    assert [each.tries for each in world.of(events.Trouble)] == [1, 2]
    assert world.visits == [1, 2, 3, 4, 5]


async def test_an_interruption_keeps_the_count() -> None:
    """A run that is stopped while it watches goes on where it was, and knows how often it had looked."""
    world = World(poll(), [])

    def stopped() -> Any:
        world.interruption.interrupt()
        return BUSY

    world.answers = [BUSY, *[BUSY] * 5, stopped, BUSY]
    assert (await world.run()).status == "interrupted"
    before = world.visits
    world.answers = [BUSY, BUSY, OVER]
    outcome = await world.resume()

    assert (outcome.status, outcome.outputs["n"]) == ("succeeded", 2)
    assert before == [1, 2, 3, 4, 5, 6]
    assert world.visits[len(before) :] == [7, 8, 9]  # the answer of the sixth had come


async def test_an_interruption_from_a_reporter() -> None:
    """Whoever listens may stop the run, too."""
    world = World(poll(), [BUSY])

    class Stopping:
        def report(self, event: events.Event) -> None:
            world.report(event)
            if len(world.of(events.Unchanged)) == 3:
                world.interruption.interrupt()

    outcome = await run(world.plan, {}, options=world.options, **world.parts() | {"reporter": Stopping()})

    assert (outcome.status, world.visits) == ("interrupted", [1, 2, 3, 4])


async def test_time_that_is_over_suspends() -> None:
    """The deadline of a run holds while it watches."""
    world = World(poll(), [BUSY], machine=MachineOptions(timeout=60.0))
    outcome = await world.run()

    assert (outcome.status, outcome.reason) == ("suspended", "the time for the run is over (--timeout)")
    assert world.clock.time == 1060.0


async def test_secrets_are_masked() -> None:
    """What is told of a watched visit shows no more than what the machine tells."""
    world = World(poll(), [BUSY, *[BUSY] * 5, OVER], secrets=Secrets(frozenset({"s3cret-value"})))
    await world.run({"id": "a", "token": "s3cret-value"})

    assert "s3cret-value" in world.http.requests[-1].url
    assert len(world.of(events.Unchanged)) == 4
    assert b"s3cret" not in b"".join(map(events.encode, world.facts))
