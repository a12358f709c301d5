"""What a run remembers of the last visit of each step, so that what has not changed is not worked out again.

A poll asks the same every time, and mostly hears the same. What a step asks depends on the values of the expressions
in its request, and on nothing else; what it makes of an answer depends on the answer, and on the values of those
expressions that look elsewhere. So both are kept together with these values, and hold as long as each value is still
the same object: nothing in a run ever changes a value.

This is no part of the state. A machine that remembers nothing, as after a resume, comes to the same; the property tests
hold the two together. There is one entry a step, without bodies that are large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Final

import msgspec

from treadle.arazzo import events
from treadle.arazzo.expressions import Context, Expression
from treadle.arazzo.expressions.nodes import Plain
from treadle.arazzo.plan import PlannedAction, PlannedStep
from treadle.seams import Answer, Call, Json, Request, Response

__all__ = ["Asked", "Choice", "Look", "Memory", "Visit"]

_LARGEST: Final = 64 * 1024


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What a step asks: its call, the request, the URL as it may be shown, and remarks about what was left out."""

    call: Call
    request: Request
    read_only: bool
    shown: str
    notes: tuple[str, ...]


class Choice(msgspec.Struct, frozen=True, gc=False):
    """The action that matched, if one did, and those criteria that could not be evaluated."""

    action: PlannedAction | None
    problems: tuple[str, ...] = ()


class Look(msgspec.Struct, frozen=True, gc=False):
    """What a step makes of what it sees: why it failed; or that it succeeded, its outputs and what comes next."""

    passed: bool
    reason: str = ""
    outputs: dict[str, Json] = {}
    choice: Choice = Choice(None)


class Memory:
    """The last visits of steps."""

    def __init__(self) -> None:
        self._visits: dict[int, Visit] = {}

    def of(self, step: PlannedStep) -> Visit:
        """Give the last visit of a step. The plan holds the step as long as there is a machine."""
        return self._visits.get(id(step)) or self._visits.setdefault(id(step), Visit(step))

    def forget(self, step: PlannedStep) -> None:
        """Let go of a step that has been left: a run that waits for hours need not keep what came before."""
        self._visits.pop(id(step), None)


class Visit:
    """The last visit of one step."""

    def __init__(self, step: PlannedStep) -> None:
        self._step = step
        self._asking = tuple(step.asking)
        self._elsewhere = tuple(each for each in step.judging if not _of_answer(each))
        self._asked: tuple[Sequence[object], Asked] | None = None
        self._answered: tuple[Response, str | None, Answer] | None = None
        self._looked: tuple[Sequence[object], Look, Sequence[events.Event]] | None = None

    def asked(self, context: Context, shown: Callable[[Request], str]) -> Asked:
        """Give what the step asks. Raises `EvaluationError`, `CallError`."""
        values = [each.evaluate(context) for each in self._asking]
        if self._asked is None or not _same(self._asked[0], values):
            self._asked = values, _asked(self._step, context, shown)
        return self._asked[1]

    def answer(self, response: Response) -> Answer:
        """Give the decoded answer; for the same bytes it has the same body, decoded once."""
        content_type = response.header("content-type")
        if self._answered is not None:
            before, its_type, answer = self._answered
            if (response.body, response.status, content_type) == (before.body, before.status, its_type):
                return Answer(response.status, response.headers, answer.body, answer.problem, response.url)
        answer = self._step.bound.answer(response)
        self._answered = (response, content_type, answer) if len(response.body) <= _LARGEST else None
        return answer

    def sight(self, context: Context, answer: Answer) -> Sequence[object]:
        """Give all that decides what the step makes of an answer."""
        return [answer.status, answer.problem, answer.body, *[each.evaluate(context) for each in self._elsewhere]]

    def looked_at(self, sight: Sequence[object]) -> tuple[Look, Sequence[events.Event]] | None:
        """Give what the step made of the same sight at its last visit, and the facts that were said about it."""
        return self._looked[1:] if self._looked is not None and _same(self._looked[0], sight) else None

    def keep(self, sight: Sequence[object], look: Look, facts: Sequence[events.Event]) -> None:
        """Remember a look at an answer that is remembered."""
        self._looked = (sight, look, facts) if self._answered is not None else None


def _of_answer(expression: Expression) -> bool:
    return expression.reads_answer_body or expression == Plain("statusCode")


def _same(before: Sequence[object], now: Sequence[object]) -> bool:
    return all(map(is_, before, now))


def _asked(step: PlannedStep, context: Context, shown: Callable[[Request], str]) -> Asked:
    notes: list[str] = []
    call = step.call(context, notes)
    request = step.bound.request(call)
    return Asked(call, request, step.bound.read_only(call), shown(request), tuple(notes))
