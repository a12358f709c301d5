"""Positions in a run, played by the machine itself.

A mock must know what a document will do with an answer. It does not guess: it plays the run that it serves with the
same machine that a run uses. A `Position` is a state of that machine in which a request is due; `after` gives what an
answer leads to. Waits are over at once. States are values, so playing an answer and then another one costs nothing
but the two turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from treadle.arazzo import events
from treadle.arazzo.expressions import Context, EvaluationError
from treadle.arazzo.machine import (
    Answered,
    Begin,
    Due,
    Finish,
    Frame,
    Machine,
    MachineOptions,
    Publish,
    Published,
    Receive,
    Send,
    State,
    Turn,
    Wait,
)
from treadle.arazzo.plan import Plan, PlannedStep, PlannedWorkflow
from treadle.mock.samples import plausible
from treadle.seams import Answer, Call, Json, Request, Response

__all__ = ["Ended", "Play", "Position"]

_MOST_WAITS: Final = 1000
"""Waits that may follow each other without a request: a document that goes in circles sends nothing more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """There is no next request: how the run ended."""

    result: events.RunFinished | None
    facts: tuple[events.Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """A step whose request is due. `facts` are what led here since the last answer."""

    play: Play
    state: State
    request: Request
    now: float
    facts: tuple[events.Event, ...] = ()

    @property
    def frame(self) -> Frame:
        """The workflow that the step belongs to, with what it knows."""
        return self.state.frames[-1]

    @property
    def workflow(self) -> PlannedWorkflow:
        """The same, as planned."""
        return self.play.plan.workflows[self.frame.workflow]

    @property
    def step(self) -> PlannedStep:
        """The step."""
        return self.workflow.steps[self.workflow.index[self.frame.step]]

    @property
    def visit(self) -> int:
        """How often the step was entered, this time included."""
        return self.frame.visits.get(self.frame.step, 1)

    def answered(self, request: Request, response: Response) -> Turn:
        """Give the machine's turn for an answer; nothing is changed by it."""
        event = Answered(self.now, request, response, 0.0)
        return self.play.machine.advance(self.state, event)

    def after(self, turn: Turn) -> Position | Ended:
        """Give where a turn leads."""
        return self.play.settled(turn, self.now)

    def context(self, request: Request) -> Context:
        """Give all that the step's criteria see besides the answer."""
        call = self.call()
        return msgspec.structs.replace(
            self._known(self.frame.inputs),
            request=request,
            response=Answer(0),
            request_body=call.payload,
            path_parameters={each.name: each.value for each in call.arguments if each.location == "path"},
        )

    def call(self, inputs: Mapping[str, Json] | None = None) -> Call:
        """Give what the step asks of its operation, with other inputs if some are given."""
        try:
            return self.step.call(self._known(self.frame.inputs if inputs is None else inputs), [])
        except EvaluationError:
            return Call()

    def _known(self, inputs: Mapping[str, Json]) -> Context:
        """Give what is known before there is a request."""
        workflows = self.play.plan.workflows
        return Context(
            inputs=inputs,
            steps=self.frame.outputs,
            workflows={
                workflows[key].workflow_id: {"inputs": each.inputs, "outputs": each.outputs}
                for key, each in self.state.finished.items()
            },
            sources=self.workflow.sources,
            components=self.workflow.components,
            self_uri=self.workflow.self_uri,
        )

    def with_inputs(self, inputs: dict[str, Json]) -> Position:
        """Give the same position of a run with other inputs of the workflow at hand."""
        frames = [*self.state.frames[:-1], msgspec.structs.replace(self.frame, inputs=inputs)]
        return replace(self, state=msgspec.structs.replace(self.state, frames=frames))


@dataclass(frozen=True, slots=True)
class Play:
    """Plays the runs of one plan."""

    plan: Plan
    machine: Machine

    @classmethod
    def of(cls, plan: Plan) -> Play:
        """Give the play of a plan; loops are not paced."""
        return cls(plan, Machine(plan, MachineOptions(poll=0.0)))

    def start(self, inputs: dict[str, Json]) -> Position | Ended:
        """Give the first request of a run."""
        return self.settled(self.machine.begin(Begin(0.0, "mock", inputs)), 0.0)

    def within(self, workflow: str, step_id: str, inputs: dict[str, Json]) -> Position | Ended:
        """Give a step in the middle of a workflow, as if the steps before it had given outputs of their names' kind."""
        steps = self.plan.workflows[workflow].steps
        outputs = {step.step_id: {name: plausible(name) for name in step.outputs} for step in steps}
        frame = Frame(workflow=workflow, inputs=inputs, step=step_id, outputs=outputs)
        deadline = self.machine.options.timeout
        state = State(run_id="mock", started_at=0.0, deadline=deadline, frames=[frame], next="visit")
        return self.settled(self.machine.advance(state, Due(0.0)), 0.0)

    def settled(self, turn: Turn, now: float) -> Position | Ended:
        """Go on until a request is due or everything is over."""
        facts = turn.facts
        for _ in range(_MOST_WAITS):
            match turn.effect:
                case Send(request=request):
                    return Position(self, turn.state, request, now, facts)
                case Finish(result=result):
                    return Ended(result, facts)
                case Receive():
                    # What other programs send is not this mock's to say: a run goes on from there by itself.
                    return Ended(None, facts)
                case Publish():
                    turn = self.machine.advance(turn.state, Published(now))
                case Wait(until=until):
                    now = max(now, until)
                    turn = self.machine.advance(turn.state, Due(now))
            facts = (*facts, *turn.facts)
        return Ended(None, facts)
