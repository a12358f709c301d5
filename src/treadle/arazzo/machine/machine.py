"""The machine: one for each plan, and any number of runs."""

from __future__ import annotations

from collections.abc import Mapping

from treadle.arazzo import events
from treadle.arazzo.machine.effects import (
    Answered,
    Begin,
    Continue,
    Due,
    Faulted,
    Interrupt,
    MachineEvent,
    MachineOptions,
    Published,
    Received,
    Turn,
    Watched,
)
from treadle.arazzo.machine.moves import Move
from treadle.arazzo.machine.state import Frame, State, copied
from treadle.arazzo.plan import Plan
from treadle.masking import MASK
from treadle.seams import Json

__all__ = ["Machine", "masked_inputs"]


class Machine:
    """The machine for one plan. It holds no state of a run: one machine serves any number of them."""

    def __init__(self, plan: Plan, options: MachineOptions | None = None) -> None:
        self.plan = plan
        self.options = options or MachineOptions()

    def begin(self, event: Begin) -> Turn:
        """Start a run: a state with the entry workflow's frame."""
        frame = Frame(workflow=self.plan.entry, inputs=event.inputs)
        state = State(
            run_id=event.run_id,
            started_at=event.now,
            deadline=event.now + self.options.timeout,
            frames=[frame],
            references=list(event.references),
        )
        move = Move(self.plan, self.options, state, event.now)
        entry = self.plan.workflows[self.plan.entry]
        move.say(
            events.RunStarted(
                **move.about(),
                document=self.plan.document,
                workflow_id=entry.workflow_id,
                inputs=masked_inputs(event.inputs, entry.secrets),
            )
        )
        move.durable = True
        return move.play(move.enter)

    def advance(self, state: State, event: MachineEvent) -> Turn:
        """Give what the event leads to; `state` itself is not changed."""
        if isinstance(event, Begin):
            return self.begin(event)
        move = Move(self.plan, self.options, copied(state), event.now)
        match event:
            case Due():
                return move.play(move.due)
            case Answered():
                return move.play(lambda: move.answered(event))
            case Published():
                return move.play(lambda: move.published(event))
            case Received():
                return move.play(lambda: move.received(event))
            case Faulted():
                return move.play(lambda: move.faulted(event))
            case Continue():
                return move.play(lambda: move.resumed(resend=event.resend, took_effect=event.took_effect))
            case Interrupt():
                return move.play(move.interrupted)
            case Watched():
                return move.play(lambda: move.watched(event))


def masked_inputs(inputs: Mapping[str, Json], secrets: frozenset[str]) -> dict[str, Json]:
    """Give the inputs with the values of secret ones hidden."""
    return {name: MASK if name in secrets else value for name, value in inputs.items()}
