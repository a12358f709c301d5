"""The mock: requests in, the answers that documents ask for out.

It serves the operations that some plans use. A request does not say which run it belongs to, so the mock follows the
runs that it serves: a `_Session` holds the positions where a run may be, each a state of the real machine in which a
request is due. A request goes to the session that expects it, else begins a new one, else (somebody tries an operation
by hand) is taken as a step in the middle of a workflow. Each answer moves the session on. What the mock does not know,
the inputs of the run, it guesses, and learns from the requests (`learning`).

Nothing here waits or does I/O: `respond` is a function of what was sent so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from treadle.arazzo import events
from treadle.arazzo.plan import Plan
from treadle.mock.answers import Answered, Answerer
from treadle.mock.hopes import hopes_of
from treadle.mock.inputs import sample_inputs, variants
from treadle.mock.learning import Fit, fit
from treadle.mock.needs import needs_of
from treadle.mock.play import Ended, Play, Position
from treadle.mock.routes import Route, Routes
from treadle.seams import Json, Request, Response

__all__ = ["Exchange", "Mock", "Rehearsal", "Visit"]

MOST_SESSIONS: Final = 256
MOST_VISITS: Final = 200
"""Requests of one rehearsal: a document that asks for more goes in circles."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was answered to a request, and as which step ("" when it was none)."""

    request: Request
    response: Response
    workflow_id: str = ""
    step_id: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """A step of a rehearsal."""

    workflow_id: str
    step_id: str
    status: int
    goal: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A workflow played against the mock, without a run: what would happen, and how it would end."""

    workflow_id: str
    inputs: dict[str, Json]
    visits: tuple[Visit, ...]
    result: events.RunFinished | None

    @property
    def problems(self) -> list[str]:
        """What could not be satisfied."""
        found = [f"{each.workflow_id}: {each.problem}" for each in self.visits if each.problem]
        if not found and self.result is None:
            found = [f"{self.workflow_id}: the workflow goes in circles without an end"]
        elif not found and self.result is not None and self.result.status != "succeeded":
            found = [f"{self.workflow_id}: {self.result.reason}"]
        return list(dict.fromkeys(found))


@dataclass(slots=True)
class _Session:
    positions: list[Position] = field(default_factory=list)


class Mock:
    """Answers for some plans. `bases` are the URLs that their sources are served at, by name.

    `visits` is how often a step that goes back, a poll, goes round before it leads on; `takes` names the action that a
    step's answer is to lead to. `exchanges` keeps what was answered, the latest last.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        bases: Mapping[str, str] | None = None,
        *,
        visits: int = 2,
        takes: Mapping[str, str] | None = None,
    ) -> None:
        self.plays = [Play.of(plan) for plan in plans]
        self.routes = Routes(plans, bases or {})
        self.exchanges: list[Exchange] = []
        needs = {(plan.entry, *place): each for plan in plans for place, each in needs_of(plan).items()}
        hopes = {(plan.entry, *place): each for plan in plans for place, each in hopes_of(plan, takes or {}).items()}
        self._answerer = Answerer(needs, hopes, visits, takes or {})
        self._sessions: list[_Session] = []
        self._starts: list[Position] | None = None

    def respond(self, request: Request) -> Response:
        """Answer a request."""
        exchange = self._exchange(request)
        self.exchanges.append(exchange)
        del self.exchanges[:-10_000]
        return exchange.response

    def _exchange(self, request: Request) -> Exchange:
        found = self.routes.find(request)
        if not found:
            return self._unknown(request)
        problems = [each.problem(request) for each in found]
        if all(problems):
            return Exchange(request, _refusal(400, problems[0], request, found[0]), problem=problems[0])
        routes = [each for each, problem in zip(found, problems, strict=True) if not problem]
        session, fits = self._expected(routes, request)
        if not fits:
            # No inputs lead to a step that calls the operation: there is no more to it than its description.
            plain = self._answerer.plain(routes[0].operation, request)
            return Exchange(request, plain)
        primary = fits[0].position
        answered = self._answerer.answer(primary, request, [each.position for each in fits[1:]])
        following = [primary.after(answered.turn)]
        for each in fits[1:]:
            # Other runs that may have sent the same: where the answer suits them too they stay possible.
            turn = each.position.answered(request, answered.response)
            if any(isinstance(fact, events.StepSucceeded) for fact in turn.facts):
                following.append(each.position.after(turn))
        self._remember(session, [each for each in following if isinstance(each, Position)])
        return Exchange(
            request, answered.response, primary.workflow.workflow_id, primary.step.step_id, answered.problem
        )

    # -- whose request it is ------------------------------------------------------------------------------------------

    def _expected(self, routes: Sequence[Route], request: Request) -> tuple[_Session | None, list[Fit]]:
        """Find the session that expects the request, and its positions that fit, the best first."""
        loose: list[tuple[_Session | None, list[Fit]]] = []
        for session in reversed(self._sessions):
            fits = self._fits(session.positions, routes, request)
            exact = [each for each in fits if not each.conflicts]
            if exact:
                return session, exact
            if fits:
                loose.append((session, fits[:1]))
        fits = self._fits(self._beginnings(), routes, request)
        exact = [each for each in fits if not each.conflicts]
        if exact:
            return None, exact
        middle = self._fits(self._middles(routes), routes, request)
        exact = [each for each in middle if not each.conflicts]
        if exact and not loose:
            return None, exact[:1]
        loose += [(None, each[:1]) for each in (fits, middle) if each]
        if not loose:
            return None, []
        return min(loose, key=lambda each: each[1][0].conflicts)

    def _fits(self, positions: Iterable[Position], routes: Sequence[Route], request: Request) -> list[Fit]:
        keys = {Routes.key(each.operation) for each in routes}
        fits = [fit(each, request) for each in positions if Routes.key(each.step.bound) in keys]
        takes = self._answerer.takes
        return sorted(fits, key=lambda each: (each.conflicts, each.extras, each.position.step.step_id not in takes))

    def _beginnings(self) -> list[Position]:
        """Give the first request of every workflow, for each guess of its inputs."""
        if self._starts is None:
            made = [play.start(inputs) for play in self.plays for inputs in variants(play.plan)]
            self._starts = [each for each in made if isinstance(each, Position)]
        return self._starts

    def _middles(self, routes: Sequence[Route]) -> list[Position]:
        """Give every step that calls one of the operations, as if a run had just come there."""
        keys = {Routes.key(each.operation) for each in routes}
        found = []
        for play in self.plays:
            for key, workflow in play.plan.workflows.items():
                for step in workflow.steps:
                    if step.operation is not None and Routes.key(step.operation) in keys:
                        made = play.within(key, step.step_id, sample_inputs(workflow, optional=True))
                        found += [made] if isinstance(made, Position) and made.step is step else []
        return found

    def _remember(self, session: _Session | None, positions: list[Position]) -> None:
        if session is not None:
            self._sessions.remove(session)
        if positions:
            self._sessions.append(_Session(positions))
            del self._sessions[:-MOST_SESSIONS]

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _unknown(self, request: Request) -> Exchange:
        methods = self.routes.methods(request)
        if methods and request.method not in methods:
            problem = f"{request.method} is not served here, but {', '.join(methods)}"
            response = _json(405, {"error": problem, "served": self.routes.labels}, request)
            allow = (("Allow", ", ".join(methods)),)
            response = Response(response.status, (*response.headers, *allow), response.body, request.url)
        else:
            problem = f"nothing is served at {request.method} {_path(request)}"
            response = _json(404, {"error": problem, "served": self.routes.labels}, request)
        return Exchange(request, response, problem=problem)

    # -- rehearsals ---------------------------------------------------------------------------------------------------

    def rehearse(self, plan: Plan) -> Rehearsal:
        """Play a workflow to its end against the answers that its runs will get; nothing is remembered of it."""
        play = next(each for each in self.plays if each.plan is plan)
        workflow = plan.workflows[plan.entry]
        given, _ = workflow.prepare(sample_inputs(workflow))
        at = play.start(given)
        visits: list[Visit] = []
        while isinstance(at, Position) and len(visits) < MOST_VISITS:
            answered = self._answerer.answer(at, at.request)
            visits.append(_visit(at, answered))
            at = at.after(answered.turn)
        result = at.result if isinstance(at, Ended) else None
        return Rehearsal(workflow.workflow_id, given, tuple(visits), result)


def _visit(at: Position, answered: Answered) -> Visit:
    return Visit(
        at.workflow.workflow_id, at.step.step_id, answered.response.status, str(answered.goal or ""), answered.problem
    )


def _path(request: Request) -> str:
    from urllib.parse import urlsplit

    return urlsplit(request.url).path or "/"


def _refusal(status: int, problem: str, request: Request, route: Route) -> Response:
    if route.amz_target:
        data = {"__type": "ValidationException", "message": problem}
        return _json(status, data, request, "application/x-amz-json-1.1")
    return _json(status, {"error": problem, "operation": route.label}, request)


def _json(status: int, data: Json, request: Request, media_type: str = "application/json") -> Response:
    return Response(status, (("Content-Type", media_type),), msgspec.json.encode(data), request.url)
