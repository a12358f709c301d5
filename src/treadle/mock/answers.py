"""The answer that a document asks for: for one step at one moment of a run.

A document says what it hopes to see: its success criteria, the criteria of the action that leads on, the places that
its outputs name. `Answerer.answer` takes the ways that a step can end in the order of `goals` (a poll goes round a few
times, then whatever leads forward, then whatever ends), has the criteria of each solved into drafts over what the
description says of the answer, and plays every draft on the real machine. The first one after which the machine does
what was meant is the answer; so an answer is never merely plausible.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from treadle.arazzo import events
from treadle.arazzo.criteria import Criterion
from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.outline import Outline, outline
from treadle.arazzo.expressions import Context
from treadle.arazzo.machine import Turn
from treadle.arazzo.plan import PlannedAction, PlannedStep
from treadle.mock import xml
from treadle.mock.described import Content, Described, described
from treadle.mock.described import Response as DescribedResponse
from treadle.mock.drafts import Draft, Solver
from treadle.mock.hopes import Hopes, of_answer
from treadle.mock.needs import Need
from treadle.mock.paths import forced
from treadle.mock.places import mentioned, reads_body
from treadle.mock.play import Ended, Position
from treadle.mock.samples import Sampler, plausible
from treadle.mock.values import is_bad
from treadle.seams import MISSING, Json, Missing, Operation, Request, Response
from treadle.sources.bodies import is_json
from treadle.sources.walk import Node

__all__ = ["Answered", "Answerer", "Goal"]

MOST_TRIES: Final = 96
"""Drafts for one goal that are played before it counts as one that cannot be reached."""
LOOKAHEAD: Final = 60
"""Turns that are played to see whether a choice ends well; after as many, it is taken to."""

_BODILESS: Final = frozenset({204, 205, 304})
_LOOP_DETECTED: Final = 508


@dataclass(frozen=True, slots=True)
class Goal:
    """A way that a step can end: it succeeds or fails, and an action is taken or none."""

    success: bool
    action: PlannedAction | None = None

    def __str__(self) -> str:
        what = "success" if self.success else "failure"
        return f"{what}, {self.action.type} {self.action.name!r}" if self.action else what


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with the machine's turn for it. `problem` says why it is not what the document asks for."""

    response: Response
    turn: Turn
    goal: Goal | None
    problem: str = ""


@dataclass(slots=True)
class Answerer:
    """Makes answers. `visits`: how often a step goes round before it leads on; `takes`: step → name of an action."""

    needs: Mapping[tuple[str, str, str], tuple[Need, ...]]
    """(entry of the plan, workflow, step) → what the step's outputs need."""
    hopes: Mapping[tuple[str, str, str], Hopes] = field(default_factory=dict)
    """The same → what later steps ask of the answer."""
    visits: int = 2
    takes: Mapping[str, str] = field(default_factory=dict)
    sampler: Sampler = field(default_factory=Sampler)
    _described: dict[int, Described] = field(default_factory=dict)

    def answer(self, position: Position, request: Request, others: Sequence[Position] = ()) -> Answered:
        """Give the answer to the request that is due at a position: the first that leads to a good end of the run.

        `others` are further positions that the same request may have come from: if it can be, the answer has what
        their steps need, too.
        """
        needs, hopes = self.needs_at(position), self.hopes_at(position)
        more = tuple(need for each in others for need in self.needs_at(each) if need not in needs)
        hoped = tuple(hope for each in others for hope in self.hopes_at(each) if hope not in hopes)
        circles = False
        tries = [((*needs, *more), (*hopes, *hoped)), (needs, hopes)]
        for wanted, asked in tries if more or hoped else tries[1:]:
            chosen = self._chosen(position, self._options(position, request, wanted, asked))
            circles = chosen is not None and self._goes_round(position, chosen.goal)
            if chosen is not None and not circles:
                return chosen
        return self._stopped(position, request) if circles else self._unsatisfied(position, request)

    def _chosen(self, position: Position, options: Iterator[Answered]) -> Answered | None:
        """Give the first option that leads to a good end; without a choice there is nothing to look ahead for."""
        first = next(options, None)
        if first is None or not position.step.on_success or self._is_wanted(position, first.goal):
            return first
        second = next(options, None)
        if second is None:
            return first
        for option in itertools.chain((first, second), options):
            if not self._goes_round(position, option.goal) and self._ends_well(
                position.after(option.turn), [LOOKAHEAD]
            ):
                return option
        return first

    def _goes_round(self, position: Position, goal: Goal | None) -> bool:
        """Tell whether a goal is one more round of a loop that has been gone round often enough."""
        action = goal.action if goal is not None else None
        if action is None or position.visit <= self.visits or action.name == self.takes.get(position.step.step_id):
            return False
        return position.workflow.leads_back(position.step.step_id, action)

    def _is_wanted(self, position: Position, goal: Goal | None) -> bool:
        """Tell whether the user asked for a goal: then it does not matter how the run ends."""
        wanted = self.takes.get(position.step.step_id)
        return wanted is not None and goal is not None and goal.action is not None and goal.action.name == wanted

    def needs_at(self, position: Position) -> tuple[Need, ...]:
        """Give what the outputs of a step need."""
        return self.needs.get((position.play.plan.entry, position.frame.workflow, position.step.step_id), ())

    def hopes_at(self, position: Position) -> tuple[Outline, ...]:
        """Give what later steps ask of the answer to a step."""
        found = self.hopes.get((position.play.plan.entry, position.frame.workflow, position.step.step_id))
        return found.at(round_again=position.visit <= self.visits) if found is not None else ()

    def plain(self, operation: Operation, request: Request) -> Response:
        """Give the answer that the description itself leads to expect."""
        about = self.described(operation)
        status = next(iter(about.successes), 200)
        return _written(next(self._bases(status, about, (), asks.All(()), request)), request)

    def _options(
        self, position: Position, request: Request, needs: Sequence[Need], hopes: Sequence[Outline]
    ) -> Iterator[Answered]:
        """Give an answer for each goal that can be reached, one that has what later steps hope for if there is one."""
        step = position.step
        place = position.frame.workflow, step.step_id
        context = position.context(request)
        about = self.described(step.bound)
        for goal in self.goals(position):
            condition = of_answer(position.play.plan, place, _condition(goal, step, context))
            drafts = self._drafts(goal, condition, about, needs, step, context, request)
            if hopes:
                hoped = asks.All((condition, *hopes))
                drafts = itertools.chain(self._drafts(goal, hoped, about, needs, step, context, request), drafts)
            tried: set[Response] = set()
            for draft in itertools.islice(drafts, MOST_TRIES):
                response = _written(draft, request)
                if response in tried:
                    continue
                tried.add(response)
                turn = position.answered(request, response)
                if _reached(goal, position, turn):
                    yield Answered(response, turn, goal)
                    break

    def _stopped(self, position: Position, request: Request) -> Answered:
        """Give an answer that ends a loop which nothing leads out of: a run would go round for ever."""
        problem = f"the workflow goes in circles: no answer leads out of the loop at the step {position.step.step_id!r}"
        body = msgspec.json.encode({"error": problem})
        response = Response(_LOOP_DETECTED, (("Content-Type", "application/json"),), body, request.url)
        return Answered(response, position.answered(request, response), None, problem)

    def _unsatisfied(self, position: Position, request: Request) -> Answered:
        """Give the answer that satisfies most, and say what it lacks."""
        goal = self.goals(position)[0]
        step, context = position.step, position.context(request)
        about = self.described(step.bound)
        needs = self.needs_at(position)
        condition = _condition(goal, step, context)
        drafts = self._drafts(goal, condition, about, needs, step, context, request)
        draft = next(drafts, None) or Draft(next(iter(about.successes), 200), body={})
        response = _written(draft, request)
        turn = position.answered(request, response)
        return Answered(response, turn, None, _why(position, turn))

    def _ends_well(self, at: Position | Ended, budget: list[int]) -> bool:
        """Tell whether a run can come to a good end from here, as far as the budget of turns shows."""
        if isinstance(at, Ended):
            return at.result is not None and at.result.status == "succeeded"
        for option in self._options(at, at.request, self.needs_at(at), self.hopes_at(at)):
            if self._goes_round(at, option.goal):
                continue  # a loop that leads nowhere else ends nowhere
            budget[0] -= 1
            if budget[0] < 0 or self._ends_well(at.after(option.turn), budget):
                return True
        return False

    def described(self, operation: Operation) -> Described:
        """Give what the description says of an operation's answers."""
        if id(operation) not in self._described:
            self._described[id(operation)] = described(operation)
        return self._described[id(operation)]

    # -- goals --------------------------------------------------------------------------------------------------------

    def goals(self, position: Position) -> list[Goal]:
        """Give the ways that a step can end, the one that the document hopes for first.

        A way back is wanted for the first visits. Forward is better than the end of the workflow; going on to the next
        step without an action is better than `end`, unless there is no next step. What asks for a failure comes last.
        """
        step, frame = position.step, position.frame
        here = position.workflow.index[step.step_id]
        back = [each for each in step.on_success if position.workflow.leads_back(step.step_id, each)]
        ahead = [each for each in step.on_success if each.type == "goto" and each not in back]
        ends = [Goal(success=True, action=each) for each in step.on_success if each.type == "end"]
        onward = [Goal(success=True, action=each) for each in ahead]
        none = [Goal(success=True)]
        is_last = here + 1 == len(position.workflow.steps)
        forward = [*onward, *ends, *none] if is_last else [*onward, *none, *ends]
        forward.sort(key=lambda each: each.action is not None and is_bad(_all(each.action.criteria, Context())))
        around = [Goal(success=True, action=each) for each in back]
        ordered = [*around, *forward] if position.visit <= self.visits else [*forward, *around]
        wanted = self.takes.get(step.step_id)
        if wanted is not None and (position.visit == 1 or not back):
            chosen = [each for each in ordered if each.action is not None and each.action.name == wanted]
            fails = [each for each in step.on_failure if each.name == wanted]
            if fails and frame.attempt == 1 and position.visit == 1:
                chosen = [Goal(success=False, action=fails[0])]
            ordered = [*chosen, *(each for each in ordered if each not in chosen)]
        return ordered

    # -- drafts -------------------------------------------------------------------------------------------------------

    def _drafts(
        self,
        goal: Goal,
        condition: Outline,
        about: Described,
        needs: Sequence[Need],
        step: PlannedStep,
        context: Context,
        request: Request,
    ) -> Iterator[Draft]:
        statuses = about.successes or [200]
        if not goal.success:
            statuses = [*(about.failures or [400]), 500, 404, 409, 401]
        solver = Solver(self.sampler, context, statuses, literals=_literals(step))
        allowed = solver.statuses_for(condition)
        if step.success and not goal.success:
            # Without success the description's failures come first, but a success may be what fails.
            allowed = [*allowed, *(each for each in about.successes if each not in allowed)]
        elif not step.success:
            allowed = [each for each in allowed if (200 <= each < 300) is goal.success]
        for status in allowed[:6]:
            for base in self._bases(status, about, needs, condition, request):
                yield from solver.solve(condition, base)

    def _bases(
        self, status: int, about: Described, needs: Sequence[Need], condition: Outline, request: Request
    ) -> Iterator[Draft]:
        """Give the drafts to start from: what the description's example shows, then what its schema allows."""
        response = about.response(status)
        wanted = [each for each in needs if not each.header]
        structured = reads_body(condition) or any(each.path for each in wanted)
        content = _chosen(response.contents if response else (), request, condition, structured=structured)
        draft = Draft(status, self._headers(response, needs), MISSING, content.schema if content else None)
        if status in _BODILESS or request.method == "HEAD":
            yield draft
            return
        if content is None and not structured and not wanted:
            yield draft
            return
        draft = replace(draft, media_type=content.media_type if content else "application/json")
        for body in self._bodies(content, draft.media_type, wanted):
            made = body
            if is_json(draft.media_type) or isinstance(made, (dict, list)):
                made = self._having(made, wanted, draft.schema)
                compared = made
                for path in mentioned(condition):
                    compared = self.sampler.ensure(compared, draft.schema, path)
                if compared != made:
                    yield replace(draft, body=compared)
            yield replace(draft, body=made)

    def _bodies(self, content: Content | None, media_type: str, wanted: Sequence[Need]) -> list[Json]:
        """Give the bodies to start from; there is at least one."""
        bodies: list[Json] = []
        if content is not None and content.example is not MISSING and _carries(media_type, content.example):
            bodies.append(content.example)
        if content is not None and content.schema is not None:
            names = {each.path[0] for each in wanted if each.path and isinstance(each.path[0], str)}
            bodies.append(self.sampler.sample(content.schema, "body", wanted=names))
        return bodies or [{} if is_json(media_type) else "text"]

    def _having(self, body: Json, wanted: Sequence[Need], schema: Node | None) -> Json:
        """Give a body that has what outputs need to find in it."""
        for need in sorted(wanted, key=lambda each: len(each.path)):
            body = self.sampler.ensure(body, schema, need.path, hint=need.hint)
        for need in wanted:
            if need.must:
                body = forced(body, need.path)
        return body

    def _headers(self, response: DescribedResponse | None, needs: Sequence[Need]) -> dict[str, str]:
        """Give the headers that the description requires, and those that outputs need to find."""
        known = response.headers if response else {}
        headers = {
            name: _header_text(self.sampler.sample(schema, name))
            for name, schema in known.items()
            if response and name in response.required_headers and name.lower() != "content-type"
        }
        for need in needs:
            if need.header and need.header.lower() not in {each.lower() for each in headers}:
                headers[need.header] = self._header(need, known)
        return headers

    def _header(self, need: Need, known: Mapping[str, object]) -> str:
        name = next((each for each in known if each.lower() == need.header.lower()), "")
        schema = known.get(name)
        if need.header.lower() == "location":
            return "https://example.com/1"
        if need.header.lower() == "retry-after":
            return "0"
        made = self.sampler.sample(schema, need.header) if schema is not None else plausible(need.header)  # type: ignore[arg-type]
        return _header_text(made)


def _header_text(value: Json) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split()) or "text"


def _carries(media_type: str, example: Json) -> bool:
    """Tell whether an example is one of the body itself: under JSON a string often is JSON that was quoted."""
    return not (is_json(media_type) and isinstance(example, str) and example.lstrip()[:1] in {"{", "["})


def _chosen(contents: Sequence[Content], request: Request, condition: Outline, *, structured: bool) -> Content | None:
    """Choose the media type: XML where an XPath looks, JSON where a path leads into the body, else what is accepted."""
    if _has_xpath(condition):
        described_xml = next((each for each in contents if "xml" in each.media_type), None)
        return described_xml or Content("application/xml")
    json = next((each for each in contents if is_json(each.media_type)), None)
    wild = next((each for each in contents if "*" in each.media_type), None)
    if structured:
        chosen = json or wild
        if chosen is None:
            schema = next((each.schema for each in contents if each.schema is not None), None)
            return Content("application/json", schema) if contents else None
        return chosen if json else replace(chosen, media_type="application/json")
    accepted = request.header("accept") or ""
    preferred = json or next((each for each in contents if each.media_type in accepted), None)
    chosen = preferred or next(iter(contents), None)
    if chosen is not None and "*" in chosen.media_type:
        return replace(chosen, media_type="application/json")
    return chosen


def _has_xpath(condition: Outline) -> bool:
    match condition:
        case asks.XPath():
            return True
        case asks.All() | asks.Either():
            return any(map(_has_xpath, condition.parts))
        case asks.Not():
            return _has_xpath(condition.inner)
        case _:
            return False


def _literals(step: PlannedStep) -> list[Json]:
    """Give the constants that the step's conditions compare things with: values that the API is known to have."""
    empty = Context()
    found: list[Json] = []
    criteria = [*step.success, *(each for action in (*step.on_success, *step.on_failure) for each in action.criteria)]
    for criterion in criteria:
        made = outline(criterion, empty)
        found += _constants(made) if made is not None else ()
    return [each for index, each in enumerate(found) if each not in found[:index]]


def _constants(condition: Outline) -> Iterator[Json]:
    match condition:
        case asks.All() | asks.Either():
            for each in condition.parts:
                yield from _constants(each)
        case asks.Not():
            yield from _constants(condition.inner)
        case asks.Compare():
            yield from (each.value for each in (condition.left, condition.right) if isinstance(each, asks.Constant))


# ---------------------------------------------------------------------------------------------------------------------
# Conditions and verdicts
# ---------------------------------------------------------------------------------------------------------------------


def _condition(goal: Goal, step: PlannedStep, context: Context) -> Outline:
    """Give what must hold for a goal: the step's criteria, the action's, and of those before it that they do not."""
    parts: list[Outline] = []
    success = _all(step.success, context)
    if step.success:
        parts.append(success if goal.success else asks.Not(success))
    actions = step.on_success if goal.success else step.on_failure
    for action in actions:
        criteria = _all(action.criteria, context)
        if action is goal.action:
            parts.append(criteria)
            break
        if action.criteria:
            parts.append(asks.Not(criteria))
    return asks.All(tuple(parts))


def _all(criteria: Iterable[Criterion], context: Context) -> Outline:
    made = [outline(each, context) for each in criteria]
    return asks.All(tuple(each for each in made if each is not None))


def _reached(goal: Goal, position: Position, turn: Turn) -> bool:
    """Tell whether the machine did what was meant."""
    step_id, depth = position.step.step_id, len(position.state.frames) - 1
    mine = [each for each in turn.facts if len(each.path) == depth]
    succeeded = any(isinstance(each, events.StepSucceeded) and each.step_id == step_id for each in mine)
    failed = any(isinstance(each, events.StepFailed) and each.step_id == step_id for each in mine)
    if goal.success is not succeeded or failed is goal.success:
        return False
    taken = [each.name for each in mine if isinstance(each, events.ActionTaken) and each.step_id == step_id]
    return taken[:1] == ([] if goal.action is None else [goal.action.name])


def _why(position: Position, turn: Turn) -> str:
    """Say why a step could not be satisfied, in the machine's words."""
    step = position.step
    failed = next((each for each in turn.facts if isinstance(each, events.StepFailed)), None)
    if failed is not None:
        return f"no answer was found that satisfies the step {step.step_id!r}: {failed.reason}"
    return f"no answer was found that leads on from the step {step.step_id!r}"


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------


def _written(draft: Draft, request: Request) -> Response:
    """Write a draft as the response that goes out."""
    headers = dict(draft.headers)
    body = _bytes(draft)
    if draft.status in _BODILESS or request.method == "HEAD":
        body = b""
    if body and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = draft.media_type
    return Response(draft.status, tuple(headers.items()), body, request.url)


def _bytes(draft: Draft) -> bytes:
    body: Json | Missing = draft.body
    if body is MISSING:
        return b""
    if is_json(draft.media_type):
        return msgspec.json.encode(body)
    if "xml" in draft.media_type:
        return xml.written(body, draft.schema).encode()
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    return msgspec.json.encode(body)
