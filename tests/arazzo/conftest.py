"""Stories: a document and scripted answers are played by the machine in virtual time, without any I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent, indent
from typing import Any

import msgspec
import pytest

from treadle.arazzo import events
from treadle.arazzo.build import build
from treadle.arazzo.load import load
from treadle.arazzo.machine import (
    Answered,
    Begin,
    Continue,
    Due,
    Effect,
    Faulted,
    Finish,
    Interrupt,
    Machine,
    MachineOptions,
    Send,
    State,
    Turn,
    Wait,
    Watched,
)
from treadle.arazzo.plan import OpenedSource, Plan, PlanOptions, plan
from treadle.errors import Diagnostic, TransportFault
from treadle.seams import Json, Response
from treadle.sources.openapi import OpenApiSource

HEAD = """\
arazzo: 1.0.1
info: {title: Test, version: 1.0.0}
sourceDescriptions:
- {name: api, url: ./api.yaml, type: openapi}
"""


@dataclass(frozen=True)
class Fault:
    """No answer."""

    kind: TransportFault = "reset"
    sent: bool = True


@dataclass
class Story:
    """What happened: requests as (operation, body), waits as (seconds, why), facts, and the end."""

    requests: list[tuple[str, Json]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    waits: list[tuple[float, str]] = field(default_factory=list)
    facts: list[events.Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    result: events.RunFinished | None = None
    state: State | None = None
    durable: int = 0
    turns: int = 0

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.requests]

    @property
    def end(self) -> events.RunFinished:
        assert self.result is not None, f"the story has not ended: {self.facts[-3:]}"
        return self.result

    def of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def api(operations: Mapping[str, str]) -> OpenApiSource:
    """Make a source whose operations are `{operationId: "METHOD /path"}`."""
    paths: dict[str, Any] = {}
    for operation_id, line in operations.items():
        method, path = line.split(" ")
        item = paths.setdefault(path, {})
        item[method.lower()] = {
            "operationId": operation_id,
            "requestBody": {"content": {"application/json": {}}},
            "parameters": [
                {"name": name[1:-1], "in": "path", "required": True} for name in path.split("/") if name.startswith("{")
            ],
            "responses": {"200": {"description": "ok", "content": {"application/json": {}}}},
        }
    document = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": paths}
    return OpenApiSource("api", document, uri="http://api.test/api.yaml", server="http://127.0.0.1:9")


OPERATIONS = {
    "one": "POST /one",
    "two": "POST /two",
    "three": "POST /three",
    "fix": "POST /fix",
    "read": "GET /read",
    "poll": "GET /poll",
    "item": "GET /items/{id}",
}


def make_plan(
    workflows: str, workflow_id: str | None = None, options: PlanOptions | None = None, head: str = HEAD
) -> tuple[Plan | None, list[Diagnostic]]:
    """Plan a document that is given by its `workflows` alone."""
    text = head + "workflows:\n" + indent(dedent(workflows).strip("\n"), "") + "\n"
    document = load(text.encode(), "test.arazzo.yaml")
    description, diagnostics = build(document)
    assert description is not None, [each.render() for each in diagnostics]
    made, found = plan(
        description, document, {"api": OpenedSource(api(OPERATIONS))}, workflow_id=workflow_id, options=options
    )
    return made, [*diagnostics, *found]


class Teller:
    """Plays a plan against answers, one after the other; the last one is repeated."""

    def __init__(self, made: Plan, options: MachineOptions | None = None) -> None:
        self.plan = made
        self.machine = Machine(made, options)
        self.now = 1000.0

    def begin(self, answers: Sequence[Any], inputs: dict[str, Json] | None = None, stop_after: int = 500) -> Story:
        values, problems = self.plan.workflows[self.plan.entry].prepare(inputs or {})
        assert not problems, problems
        return self._play(self.machine.begin(Begin(self.now, "run-1", values)), answers, stop_after)

    def resume(self, story: Story, answers: Sequence[Any], *, stop_after: int = 500, **doubt: bool) -> Story:
        assert story.state is not None
        state = msgspec.json.decode(msgspec.json.encode(story.state), type=State)
        return self._play(self.machine.advance(state, Continue(self.now, **doubt)), answers, stop_after)

    def _play(self, turn: Any, answers: Sequence[Any], stop_after: int) -> Story:
        story = Story()
        script = list(answers)
        waited = turn
        while True:
            story.turns += 1
            story.facts += turn.facts
            story.effects.append(turn.effect)
            story.state = turn.state
            story.durable += turn.durable
            # Whatever is a state must survive being stored.
            assert msgspec.json.decode(msgspec.json.encode(turn.state), type=State) is not None
            if story.turns > stop_after:
                return story
            match turn.effect:
                case Finish(result):
                    story.result = result
                    return story
                case Wait(until, why):
                    story.waits.append((round(until - self.now, 6), why))
                    self.now = max(self.now, until)
                    waited = turn
                    turn = self.machine.advance(turn.state, Due(self.now))
                case Send(_, request):
                    assert turn.durable or not turn.effect.intent
                    body = msgspec.json.decode(request.body) if request.body else None
                    story.requests.append((request.url.rpartition("/")[2], body))
                    story.urls.append(request.url)
                    answer = script.pop(0) if len(script) > 1 else script[0]
                    if answer == "kill":
                        return story
                    begun, self.now = self.now, self.now + 0.5
                    event = self._event(answer, request)
                    following = self.machine.advance(turn.state, event)
                    if isinstance(waited.effect, Wait) and waited.effect.watch is not None:
                        self._watched(waited, turn, begun, event, following)
                    waited = turn = following

    def _watched(self, waited: Turn, sent: Turn, begun: float, event: Answered | Faulted, following: Turn) -> None:
        """Hold a visit that was made with the machine against the same visit made without it, by the watch."""
        assert isinstance(waited.effect, Wait)
        assert isinstance(sent.effect, Send)
        watch = waited.effect.watch
        assert watch is not None
        assert tuple(fact for fact in sent.facts if not isinstance(fact, events.Warned)) == watch.begun(begun, 1)
        assert sent.effect.request == watch.request
        assert sent.effect.timeout == min(watch.timeout, watch.deadline - begun)
        if isinstance(event, Faulted) or not watch.same(event.response):
            alone = self.machine.advance(waited.state, Watched(0, begun, event))
            assert (alone.facts, alone.durable) == (following.facts, following.durable)
            assert msgspec.json.encode(alone.state) == msgspec.json.encode(following.state)
            return
        assert not following.durable
        assert isinstance(following.effect, Wait)
        pause = watch.pause(event.response, event.now, event.jitter)
        assert (following.effect.until, following.effect.why) == (min(pause.until, watch.deadline), pause.why)
        waiting = tuple(fact for fact in following.facts if isinstance(fact, events.Waiting))
        assert watch.ended(event.response, event.seconds, event.now, pause, 1)[1:] == waiting
        for last in (Due(pause.until), Interrupt(pause.until)):
            alone = self.machine.advance(waited.state, Watched(1, begun, last))
            again = self.machine.advance(following.state, last)
            assert (alone.facts, alone.durable) == (again.facts, again.durable)
            assert _comparable(alone.state) == _comparable(again.state)

    def _event(self, answer: Any, request: Any) -> Answered | Faulted:
        if isinstance(answer, Fault):
            return Faulted(self.now, answer.kind, f"the connection: {answer.kind}", sent=answer.sent)
        status, body, headers = (answer, {}, {}) if isinstance(answer, int) else (*answer, {}, {})[:3]
        if isinstance(body, str):
            content = body.encode()
            headers = {"Content-Type": "text/html", **headers}
        else:
            content = b"" if body is None else msgspec.json.encode(body)
            headers = {"Content-Type": "application/json", **headers}
        return Answered(self.now, request, Response(status, tuple(headers.items()), content, request.url), 0.5)


def _comparable(state: State) -> Any:
    """Give a state without what a visit that is over has left behind and nobody reads any more."""
    frames = [{**msgspec.to_builtins(frame), "attempt_at": 0} for frame in state.frames]
    return msgspec.to_builtins(state) | {"due": None, "frames": frames}


@pytest.fixture
def planned() -> Callable[..., tuple[Plan | None, list[Diagnostic]]]:
    """Plan workflows; give the plan and the diagnostics."""
    return make_plan


@pytest.fixture
def tell() -> Callable[..., Story]:
    """Plan workflows, play them against answers, give the story."""

    def told(
        workflows: str,
        answers: Sequence[Any] = (200,),
        inputs: dict[str, Json] | None = None,
        *,
        workflow_id: str | None = None,
        options: MachineOptions | None = None,
        head: str = HEAD,
        stop_after: int = 500,
    ) -> Story:
        made, diagnostics = make_plan(workflows, workflow_id, head=head)
        assert made is not None, "\n".join(each.render() for each in diagnostics)
        return Teller(made, options).begin(answers, inputs, stop_after)

    return told


@pytest.fixture
def teller() -> Callable[..., Teller]:
    """Plan workflows, and play them several times: to stop a story in the middle and resume it."""

    def made(workflows: str, options: MachineOptions | None = None, workflow_id: str | None = None) -> Teller:
        ready, diagnostics = make_plan(workflows, workflow_id)
        assert ready is not None, "\n".join(each.render() for each in diagnostics)
        return Teller(ready, options)

    return made
