"""All control flow of a run: `advance(state, event) → state, effect, facts`. Nothing here waits, sends or stores.

The state is a plain value (`State`): a stack of frames, one per workflow that has begun and not ended, and how far
the top one is. A workflow that is called is a frame, not an effect, and so is a workflow that a retry runs first; a
`goto` to a workflow replaces the frame. Every call of `advance` ends with exactly one effect:

=========  ====================================================================================================
`Send`     perform this request and come back with `Answered` or `Faulted`
`Wait`     come back with `Due` when the time has come
`Finish`   nothing more to do, for now or for ever
=========  ====================================================================================================

Two rules hold. First, whatever leads back to a step that was visited before goes through a `Wait`, be it of no length,
so no document can keep `advance` from returning. Second, a request that is not known to be a read is announced by a
state that says so (`intent`) and that must be saved before the request is sent; the flag goes when the outcome is
known. A state that is found with it is *in doubt*, and is not repeated unless somebody says so.

Time and chance come in with the events. Deliberately elsewhere: what is resolved before the run (`plan`), how long to
wait (`pacing`), performing effects (`run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import msgspec

from treadle.arazzo import events, pacing
from treadle.arazzo.criteria import Verdict
from treadle.arazzo.expressions import Context, EvaluationError
from treadle.arazzo.plan import Plan, PlannedAction, PlannedStep, PlannedWorkflow
from treadle.errors import CallError, TransportFault, TreadleError
from treadle.seams import MISSING, Answer, Call, Json, Missing, Request, Response

__all__ = [
    "Answered",
    "Begin",
    "Continue",
    "Due",
    "Effect",
    "Faulted",
    "Finish",
    "Frame",
    "Interrupt",
    "Machine",
    "MachineEvent",
    "MachineOptions",
    "Send",
    "State",
    "Turn",
    "Wait",
]

MAX_DEPTH: Final = 64
"""Workflows that call each other deeper than this are taken for a recursion without end."""

_LARGEST_LAST_BODY: Final = 64 * 1024


# ---------------------------------------------------------------------------------------------------------------------
# State: plain, serialisable
# ---------------------------------------------------------------------------------------------------------------------


class Held(msgspec.Struct, kw_only=True):
    """The answer of a step that waits while its retry runs something else: later actions may be judged on it."""

    status: int
    headers: list[tuple[str, str]]
    body: Json = None
    has_body: bool = False
    url: str = ""


class Detour(msgspec.Struct, kw_only=True):
    """A retry that runs a step (`step`) or a workflow (a frame on top) before it tries `origin` again."""

    origin: str
    action: str
    step: str = ""
    reason: str = ""
    held: Held | None = None


class Frame(msgspec.Struct, kw_only=True):
    """One workflow that has begun: which step it is at, what its steps gave, how often they were visited."""

    workflow: str
    inputs: dict[str, Json]
    purpose: Literal["entry", "call", "detour", "dependency"] = "entry"
    step: str = ""
    outputs: dict[str, dict[str, Json]] = {}
    visits: dict[str, int] = {}
    entered: dict[str, float] = {}
    """Step → when it was last entered by going forward: what a loop that comes back to it counts its time from."""
    attempt: int = 1
    retries: dict[str, int] = {}
    """Action name → retries made in this visit."""
    detour: Detour | None = None
    recovered: bool = False


class Finished(msgspec.Struct, kw_only=True):
    """A workflow that has ended: what `$workflows.<id>` refers to."""

    inputs: dict[str, Json]
    outputs: dict[str, Json]
    succeeded: bool


class State(msgspec.Struct, kw_only=True):
    """Where a run is. Everything that `resume` needs besides the plan."""

    run_id: str
    started_at: float
    deadline: float
    frames: list[Frame]
    finished: dict[str, Finished] = {}
    next: Literal["enter", "visit", "attempt", "send", ""] = "enter"
    """What `Due` does: enter the top frame, visit its step anew, try the step again, or send again."""
    due: float | None = None
    intent: bool = False
    tries: int = 0
    trouble_since: float | None = None
    effects: bool = False
    """Whether a request that may have changed something was answered."""
    recovered: bool = False
    status: str = ""
    version: int = 1


# ---------------------------------------------------------------------------------------------------------------------
# Events in, effects out
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """A new run starts."""

    now: float
    run_id: str
    inputs: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Continue:
    """A stored run goes on. `resend` allows to repeat a request whose outcome is not known."""

    now: float
    resend: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """The time of the last `Wait` has come."""

    now: float


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to the last `Send`. `request` is what was really sent."""

    now: float
    request: Request
    response: Response
    seconds: float
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Faulted:
    """No answer to the last `Send`; `sent` is False when the server certainly did not get it."""

    now: float
    fault: TransportFault
    message: str
    sent: bool
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The user wants to stop; never given while a request with effects is out, at most before one is sent."""

    now: float


MachineEvent: TypeAlias = Begin | Continue | Due | Answered | Faulted | Interrupt


@dataclass(frozen=True, slots=True)
class Send:
    """Perform a request within `timeout` seconds. `intent`: the state must be on the disk before it goes out."""

    step_id: str
    request: Request
    intent: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Come back at `until`, a Unix time, possibly past."""

    until: float
    why: Literal["poll", "retry", "Retry-After", "trouble", "resumed"]


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over, or goes no further without help."""

    result: events.RunFinished


Effect: TypeAlias = Send | Wait | Finish


@dataclass(frozen=True, slots=True)
class Turn:
    """What one event led to. `durable`: something changed that a resumed run must know, so save before going on."""

    state: State
    effect: Effect
    facts: tuple[events.Event, ...]
    durable: bool


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What the caller decides: times in seconds. `poll` None means paced, else the exact wait between polls."""

    poll: float | None = None
    timeout: float = 31 * 24 * 3600.0
    request_timeout: float = 60.0


class Machine:
    """The machine for one plan. It holds no state of a run: one machine serves any number of them."""

    def __init__(self, plan: Plan, options: MachineOptions | None = None) -> None:
        self.plan = plan
        self.options = options or MachineOptions()

    def begin(self, event: Begin) -> Turn:
        """Start a run: a state with the entry workflow's frame."""
        frame = Frame(workflow=self.plan.entry, inputs=event.inputs)
        deadline = event.now + self.options.timeout
        state = State(run_id=event.run_id, started_at=event.now, deadline=deadline, frames=[frame])
        move = _Move(self, state, event.now)
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
        move = _Move(self, _copied(state), event.now)
        match event:
            case Due():
                return move.play(move.due)
            case Answered():
                return move.play(lambda: move.answered(event))
            case Faulted():
                return move.play(lambda: move.faulted(event))
            case Continue():
                return move.play(lambda: move.resumed(resend=event.resend))
            case Interrupt():
                return move.play(move.interrupted)


def masked_inputs(inputs: Mapping[str, Json], secrets: frozenset[str]) -> dict[str, Json]:
    """Give the inputs with the values of secret ones hidden."""
    return {name: "•••" if name in secrets else value for name, value in inputs.items()}


def _copied(state: State) -> State:
    """Copy what a turn may change: the state, and the top frame with its maps. Values in outputs are never changed."""
    frames = list(state.frames)
    if frames:
        top = frames[-1]
        frames[-1] = msgspec.structs.replace(
            top,
            outputs=dict(top.outputs),
            visits=dict(top.visits),
            entered=dict(top.entered),
            retries=dict(top.retries),
        )
    return msgspec.structs.replace(state, frames=frames, finished=dict(state.finished))


# ---------------------------------------------------------------------------------------------------------------------
# One turn
# ---------------------------------------------------------------------------------------------------------------------

_Next: TypeAlias = "Callable[[], _Next] | None"


@dataclass(slots=True)
class _Seen:
    """What a step's criteria, actions and outputs can look at."""

    context: Context
    answer: Answer | None = None
    url: str = ""


@dataclass(slots=True)
class _Choice:
    action: PlannedAction | None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Failure:
    """Why a step failed, and what is known about the request that failed with it."""

    reason: str
    seen: _Seen
    fault: TransportFault | None = None
    sent: bool = True
    read_only: bool = True
    jitter: float = 0.0
    outputs: dict[str, Json] = field(default_factory=dict)


class _Move:
    """The working copy of one turn. Its methods are the moves; each gives the next, or sets the effect and None."""

    def __init__(self, machine: Machine, state: State, now: float) -> None:
        self.plan = machine.plan
        self.options = machine.options
        self.state = state
        self.now = now
        self.facts: list[events.Event] = []
        self.durable = False
        self.effect: Effect | None = None
        self.last_body: Json = None

    def play(self, first: Callable[[], _Next]) -> Turn:
        """Make moves until there is an effect."""
        following: _Next = first
        while following is not None:
            following = following()
        if self.effect is None:
            msg = "a turn of the machine ended without an effect"
            raise AssertionError(msg)
        return Turn(self.state, self.effect, tuple(self.facts), self.durable)

    # -- small helpers ------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        return self.state.frames[-1]

    @property
    def workflow(self) -> PlannedWorkflow:
        return self.plan.workflows[self.frame.workflow]

    @property
    def step(self) -> PlannedStep:
        return self.workflow.steps[self.workflow.index[self.frame.step]]

    def say(self, event: events.Event) -> None:
        self.facts.append(event)

    def about(self) -> dict[str, Json]:
        path = tuple(self.plan.workflows[frame.workflow].workflow_id for frame in self.state.frames[:-1])
        return {"at": self.now, "run_id": self.state.run_id, "path": path}

    def context(self, **seen: Json) -> Context:
        frame, workflow = self.frame, self.workflow
        finished = {
            self.plan.workflows[key].workflow_id: {"inputs": each.inputs, "outputs": each.outputs}
            for key, each in self.state.finished.items()
        }
        return Context(
            inputs=frame.inputs,
            steps=frame.outputs,
            workflows=finished,
            outputs=seen.pop("outputs", {}),
            sources=workflow.sources,
            components=workflow.components,
            self_uri=workflow.self_uri,
            **seen,
        )

    # -- beginning, resuming, ending ----------------------------------------------------------------------------------

    def due(self) -> _Next:
        """Go on after a wait."""
        if self.now >= self.state.deadline:
            return self.end("suspended", reason="the time for the run is over (--timeout)")
        self.state.due = None
        moves: dict[str, Callable[[], _Next]] = {
            "enter": self.enter,
            "visit": self.visit,
            "attempt": self.attempt,
            "send": self.send,
        }
        return moves[self.state.next]

    def resumed(self, *, resend: bool) -> _Next:
        """Go on with a stored state: in doubt when a request with effects is out, else what was due is due."""
        self.say(events.Resumed(**self.about(), step_id=self.frame.step if self.state.frames else ""))
        self.state.status = ""
        self.state.deadline = max(self.state.deadline, self.now + self.options.timeout)
        self.state.trouble_since = None
        self.state.tries = 0
        self.durable = True
        if self.state.intent and not resend:
            return self.in_doubt("the run was stopped after the request went out and before its answer was seen")
        self.state.intent = False
        return self.wait(self.state.due or self.now, "resumed")

    def interrupted(self) -> _Next:
        """Stop where the run is. A request that was announced has not gone out, or this event would not come."""
        self.state.intent = False
        return self.end("interrupted", reason="interrupted")

    def in_doubt(self, reason: str) -> _Next:
        """Stop: a request that may have changed something has no known outcome, and is not repeated blindly."""
        self.state.intent = True
        self.state.next = "send"
        return self.end("in-doubt", reason=reason)

    def end(
        self,
        status: Literal["succeeded", "failed", "suspended", "in-doubt", "interrupted"],
        *,
        reason: str = "",
        outputs: Mapping[str, Json] | None = None,
        handled: bool = False,
    ) -> _Next:
        """Finish. A run that can be resumed keeps its frames."""
        self.state.status = status
        self.durable = True
        self.effect = Finish(
            events.RunFinished(
                at=self.now,
                run_id=self.state.run_id,
                status=status,
                outputs=dict(outputs or {}),
                reason=reason,
                step_id=self.frame.step if self.state.frames else "",
                handled=handled,
                recovered=self.state.recovered,
                last_body=self.last_body,
            )
        )
        return None

    def wait(self, until: float, why: Literal["poll", "retry", "Retry-After", "trouble", "resumed"]) -> _Next:
        """Wait, but never beyond the deadline."""
        until = min(until, self.state.deadline)
        self.state.due = until
        if why != "resumed" and until > self.now:
            visit = self.frame.visits.get(self.frame.step, 0) + (self.state.next == "visit")
            self.say(events.Waiting(**self.about(), step_id=self.frame.step, until=until, why=why, visit=visit))
        self.effect = Wait(until, why)
        return None

    # -- frames -------------------------------------------------------------------------------------------------------

    def enter(self) -> _Next:
        """Begin the top frame: first the workflows that it depends on, each once per run, then its first step."""
        for key in self.workflow.depends_on:
            done = self.state.finished.get(key)
            if done is None:
                return self.call(key, self._dependency_inputs(key), "dependency")
            if not done.succeeded:
                name = self.plan.workflows[key].workflow_id
                return lambda: self.leave(succeeded=False, reason=f"the workflow {name!r} that it depends on failed")
        return self.forward(self.workflow.steps[0].step_id)

    def _dependency_inputs(self, key: str) -> dict[str, Json]:
        declared = self.plan.workflows[key].input_names
        return {name: value for name, value in self.frame.inputs.items() if name in declared}

    def call(self, key: str, inputs: dict[str, Json], purpose: Literal["call", "detour", "dependency"]) -> _Next:
        """Put a frame for another workflow on top. Its inputs are checked first."""
        self.durable = True
        target = self.plan.workflows[key]
        prepared, problems = target.prepare(inputs)
        if len(self.state.frames) >= MAX_DEPTH:
            problems = (f"workflows call each other more than {MAX_DEPTH} deep",)
        if problems:
            reason = f"the workflow {target.workflow_id!r} cannot be called: {'; '.join(problems)}"
            if purpose == "dependency":
                return lambda: self.leave(succeeded=False, reason=reason)
            if purpose == "detour":
                return lambda: self.detour_done(succeeded=False, reason=reason)
            return lambda: self.failed(_Failure(reason, _Seen(self.context())))
        self.state.frames.append(Frame(workflow=key, inputs=prepared, purpose=purpose))
        return self.enter

    def leave(self, *, succeeded: bool, reason: str = "", handled: bool = False) -> _Next:
        """End the top frame: evaluate its outputs and give them to whoever is below."""
        self.durable = True
        frame = self.frame
        outputs = self.evaluate_outputs(self.workflow.outputs, _Seen(self.context()), of_workflow=True)
        self.state.finished[frame.workflow] = Finished(inputs=frame.inputs, outputs=outputs, succeeded=succeeded)
        self.state.recovered = self.state.recovered or frame.recovered
        if len(self.state.frames) == 1:
            return self.end("succeeded" if succeeded else "failed", reason=reason, outputs=outputs, handled=handled)
        self.state.frames.pop()
        self.state.frames[-1] = _copied(self.state).frames[-1]
        match frame.purpose:
            case "dependency":
                return self.enter
            case "detour":
                return self.detour_done(succeeded=succeeded, reason=reason)
            case _:
                return self.returned(frame, outputs, succeeded=succeeded, reason=reason)

    def returned(self, callee: Frame, outputs: dict[str, Json], *, succeeded: bool, reason: str) -> _Next:
        """Take back what a called workflow gave: judge the step that called it. `$outputs` are the workflow's."""
        seen = _Seen(self.context(outputs=outputs))
        name = self.plan.workflows[callee.workflow].workflow_id
        passed, why = succeeded, reason and f"the workflow {name!r} failed: {reason}"
        if succeeded or self.step.success:
            passed, why = self.judge_success(seen, default=succeeded, otherwise=why)
        # Nested outputs are reachable without being declared again: what people write, see `legacy-nested-outputs`.
        if passed:
            return lambda: self.succeeded(seen, nested=outputs)
        return lambda: self.failed(_Failure(why, seen, outputs=outputs))

    # -- steps --------------------------------------------------------------------------------------------------------

    def forward(self, step_id: str) -> _Next:
        """Go to a step without closing a loop."""
        self.durable = True
        self.frame.step = step_id
        self.frame.entered[step_id] = self.now
        return self.visit

    def visit(self) -> _Next:
        """Enter the frame's step anew: attempts and retries start again."""
        frame = self.frame
        frame.visits[frame.step] = frame.visits.get(frame.step, 0) + 1
        frame.attempt = 1
        frame.retries = {}
        return self.attempt

    def attempt(self) -> _Next:
        """Try the step: call its workflow or send its request."""
        frame = self.frame
        self.say(
            events.StepStarted(
                **self.about(), step_id=frame.step, visit=frame.visits.get(frame.step, 1), attempt=frame.attempt
            )
        )
        self.state.tries = 0
        self.state.trouble_since = None
        return self.send

    def send(self) -> _Next:
        """Build the request of the step from what the run knows now."""
        step = self.step
        context = self.context()
        notes: list[str] = []
        try:
            if step.workflow is not None:
                given = {each.name: each.value.evaluate(context) for each in step.arguments}
                inputs = {name: value for name, value in given.items() if value is not MISSING}
                return self.call(step.workflow, inputs, "call")
            call = step.call(context, notes)
            request = step.bound.request(call)
        except (EvaluationError, CallError) as error:
            reason = _sentence(error)
            return lambda: self.failed(_Failure(reason, _Seen(context)))
        for note in notes:
            self.say(events.Warned(**self.about(), rule="missing", message=note, step_id=step.step_id, severity="note"))
        self.state.next = "send"
        read_only = step.bound.read_only(call)
        self.state.intent = not read_only
        self.durable = self.durable or not read_only
        self.say(
            events.RequestSent(
                **self.about(), step_id=step.step_id, method=request.method, url=self.plan.shown(request)
            )
        )
        timeout = min(step.timeout or self.options.request_timeout, max(0.001, self.state.deadline - self.now))
        self.effect = Send(step.step_id, request, not read_only, timeout)
        return None

    def answered(self, event: Answered) -> _Next:
        """Decode the answer and judge the success criteria."""
        step = self.step
        answer = step.bound.answer(event.response)
        if self.state.intent:
            self.state.intent = False
            self.state.effects = True
            self.durable = True
        if len(event.response.body) <= _LARGEST_LAST_BODY and answer.body is not MISSING:
            self.last_body = answer.body
        self.say(
            events.AnswerReceived(
                **self.about(),
                step_id=step.step_id,
                status=answer.status,
                seconds=event.seconds,
                size=len(event.response.body),
                problem=answer.problem,
            )
        )
        seen = _Seen(self.context_of(event.request, answer), answer, event.request.url)
        passed, reason = self.judge_success(seen, default=200 <= answer.status < 300, otherwise=_refusal(answer))
        if passed and answer.problem and step.reads_body:
            passed, reason = False, f"the answer cannot be used: {answer.problem}"
        if passed:
            self.state.tries = 0
            self.state.trouble_since = None
            return lambda: self.succeeded(seen, jitter=event.jitter)
        failure = _Failure(reason, seen, jitter=event.jitter)
        return lambda: self.failed(failure)

    def context_of(self, request: Request, answer: Answer | None) -> Context:
        """Give what expressions see after a request; the call is evaluated again only where `$request` is read."""
        step = self.step
        if not step.reads_request:
            return self.context(request=request, response=answer)
        try:
            call = step.call(self.context(), [])
        except EvaluationError:
            call = Call()
        path = {each.name: each.value for each in call.arguments if each.location == "path"}
        return self.context(request=request, response=answer, request_body=call.payload, path_parameters=path)

    def faulted(self, event: Faulted) -> _Next:
        """No answer came. The document's own failure actions decide first, then whether the fault is a passing one."""
        read_only = not self.state.intent
        if not event.sent:
            self.state.intent = False
        failure = _Failure(
            event.message,
            _Seen(self.context()),
            fault=event.fault,
            sent=event.sent,
            read_only=read_only,
            jitter=event.jitter,
        )
        return lambda: self.failed(failure)

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def judge_success(self, seen: _Seen, *, default: bool, otherwise: str) -> tuple[bool, str]:
        """Judge the step's success criteria; without any, `default` decides and `otherwise` is the reason."""
        if not self.step.success:
            return default, otherwise
        verdicts = tuple(criterion.judge(seen.context) for criterion in self.step.success)
        passed = all(verdict.passed for verdict in verdicts)
        self.say(self._judged(verdicts, passed=passed))
        if passed:
            return True, ""
        first = next(verdict for verdict in verdicts if not verdict.passed)
        why = first.problem or ", ".join(first.reasons)
        reason = f"the criterion {first.condition!r} does not hold" + (f": {why}" if why else "")
        return False, reason + _said_by(seen.answer)

    def _judged(self, verdicts: Sequence[Verdict], *, passed: bool, action: str = "") -> events.CriteriaJudged:
        facts = tuple(
            events.VerdictFact(
                condition=verdict.condition,
                passed=verdict.passed,
                reasons=tuple(verdict.reasons),
                problem=verdict.problem,
                rules=tuple(verdict.rules),
            )
            for verdict in verdicts
        )
        return events.CriteriaJudged(
            **self.about(), step_id=self.frame.step, action=action, passed=passed, verdicts=facts
        )

    def choose(self, actions: Sequence[PlannedAction], seen: _Seen) -> _Choice:
        """Give the first action whose criteria all hold; a retry that is used up is passed over (§1.7)."""
        problems: list[str] = []
        for action in actions:
            if action.type == "retry" and self.frame.retries.get(action.name, 0) >= action.retry_limit:
                continue
            verdicts = tuple(criterion.judge(seen.context) for criterion in action.criteria)
            passed = all(verdict.passed for verdict in verdicts)
            if verdicts:
                self.say(self._judged(verdicts, passed=passed, action=action.name))
            if passed:
                return _Choice(action)
            problems += [
                f"the criterion {verdict.condition!r} of the action {action.name!r} cannot be evaluated: "
                f"{verdict.problem}"
                for verdict in verdicts
                if verdict.problem
            ]
        return _Choice(None, tuple(problems))

    def evaluate_outputs(self, outputs: Mapping[str, Json], seen: _Seen, *, of_workflow: bool) -> dict[str, Json]:
        """Evaluate outputs; what resolves to nothing is left out, and said (for a step only to those who ask)."""
        values: dict[str, Json] = {}
        for name, template in outputs.items():
            try:
                value = template.evaluate(seen.context)
                why = ""
            except EvaluationError as error:
                value, why = MISSING, f": {_sentence(error)}"
            if value is not MISSING:
                values[name] = value
                continue
            message = f"the output {name!r} has no value{why or _what_there_is(seen.answer)}"
            severity: Literal["warning", "note"] = "warning" if of_workflow else "note"
            step_id = "" if of_workflow else self.frame.step
            self.say(
                events.Warned(
                    **self.about(), rule="output-missing", message=message, step_id=step_id, severity=severity
                )
            )
        return values

    # -- after a step -------------------------------------------------------------------------------------------------

    def succeeded(self, seen: _Seen, *, nested: Mapping[str, Json] | None = None, jitter: float = 0.0) -> _Next:
        """Keep the outputs of a step that succeeded, then do what its first matching action says."""
        frame, step = self.frame, self.step
        outputs = {**(nested or {}), **self.evaluate_outputs(step.outputs, seen, of_workflow=False)}
        if frame.detour is not None and frame.detour.step == step.step_id:
            self._keep(outputs)
            self.say(events.StepSucceeded(**self.about(), step_id=step.step_id, outputs=outputs))
            return lambda: self.detour_done(succeeded=True)
        seen.context.steps = {**frame.outputs, step.step_id: outputs}
        choice = self.choose(step.on_success, seen)
        undecided = choice.problems
        if step.chooses_by_body and seen.answer is not None and seen.answer.body is MISSING:
            undecided = (*undecided, "the answer has no body, and the criteria of the step's actions look at it")
        if choice.action is None and undecided:
            # Falling through here would report success for something that nobody could decide.
            failure = _Failure("; ".join(undecided), seen, outputs=outputs, jitter=jitter, read_only=False)
            return lambda: self.failed(failure)
        self._keep(outputs)
        status = seen.answer.status if seen.answer else None
        self.say(events.StepSucceeded(**self.about(), step_id=step.step_id, outputs=outputs, status=status))
        if choice.action is None:
            return self.following()
        return self.act(choice.action, seen, jitter)

    def _keep(self, outputs: dict[str, Json]) -> None:
        frame = self.frame
        if frame.outputs.get(frame.step) != outputs:
            frame.outputs[frame.step] = outputs
            self.durable = True

    def following(self) -> _Next:
        """Go to the next step of the list, or leave the workflow."""
        position = self.workflow.index[self.frame.step] + 1
        if position < len(self.workflow.steps):
            return self.forward(self.workflow.steps[position].step_id)
        return lambda: self.leave(succeeded=True)

    def failed(self, failure: _Failure) -> _Next:
        """Let the first matching action decide about a failed step, then whether the fault passes; else give up."""
        frame, step, seen = self.frame, self.step, failure.seen
        if frame.detour is not None and frame.detour.step == step.step_id:
            self._say_failed(failure, {})
            return lambda: self.detour_done(succeeded=False, reason=failure.reason)
        # Outputs of a failed step are evaluated too: recovery steps need them. `failure.outputs` are a callee's.
        outputs = {**failure.outputs, **(self.evaluate_outputs(step.outputs, seen, of_workflow=False))}
        seen.context.steps = {**frame.outputs, step.step_id: outputs}
        choice = self.choose(step.on_failure, seen)
        if choice.action is None and self._passing(failure):
            return lambda: self.trouble(failure)
        if choice.action is None and failure.fault and failure.sent and not failure.read_only:
            return self.in_doubt(f"{failure.reason}; the server may have carried out the request")
        self.state.intent = False
        self._keep(outputs)
        self._say_failed(failure, outputs)
        if choice.action is not None:
            return self.act(choice.action, seen, failure.jitter, failure=failure)
        if (failure.fault or _throttled(seen.answer)) and self._worth_resuming():
            self.state.next = "send"
            return self.end("suspended", reason=f"step {step.step_id!r}: {failure.reason}")
        return lambda: self.leave(succeeded=False, reason=_because(step.step_id, failure.reason, choice.problems))

    def _say_failed(self, failure: _Failure, outputs: dict[str, Json]) -> None:
        status = failure.seen.answer.status if failure.seen.answer else None
        self.say(
            events.StepFailed(
                **self.about(), step_id=self.frame.step, reason=failure.reason, outputs=outputs, status=status
            )
        )

    def _in_loop(self) -> bool:
        return self.frame.visits.get(self.frame.step, 0) > 1

    def _worth_resuming(self) -> bool:
        return self.state.effects or self._in_loop()

    def _passing(self, failure: _Failure) -> bool:
        """Tell whether the fault is one that passes, and patience is left for it."""
        throttled = _throttled(failure.seen.answer)
        # A certificate that is wrong, an answer that is too large or no HTTP at all will be so the next time too.
        broken = failure.fault in _PASSING and (failure.read_only or not failure.sent)
        if not throttled and not broken:
            return False
        since = self.state.trouble_since
        limit = pacing.patience(in_loop=self._in_loop(), throttled=throttled)
        return since is None or self.now - since < limit

    def trouble(self, failure: _Failure) -> _Next:
        """Send again after a while; this is below the document: no visit, no retry of it is counted."""
        if self.state.trouble_since is None:
            self.state.trouble_since = self.now
        self.state.tries += 1
        asked = pacing.retry_after(failure.seen.answer, self.now)
        again_at = self.now + (pacing.backoff(self.state.tries, failure.jitter) if asked is None else asked)
        self.state.intent = False
        self.state.next = "send"
        self.say(
            events.Trouble(
                **self.about(),
                step_id=self.frame.step,
                message=failure.reason,
                tries=self.state.tries,
                again_at=again_at,
            )
        )
        return self.wait(again_at, "trouble")

    # -- actions ------------------------------------------------------------------------------------------------------

    def act(self, action: PlannedAction, seen: _Seen, jitter: float, failure: _Failure | None = None) -> _Next:
        """Carry out an action (§1.7)."""
        target = action.step or (self.plan.workflows[action.workflow].workflow_id if action.workflow else "")
        self.say(
            events.ActionTaken(
                **self.about(), step_id=self.frame.step, name=action.name, type=action.type, target=target
            )
        )
        if failure is not None and action.type != "end":
            self.frame.recovered = True
        match action.type:
            case "end":
                reason = _because(self.frame.step, failure.reason) if failure else ""
                return lambda: self.leave(succeeded=failure is None, reason=reason, handled=failure is not None)
            case "goto" if action.workflow:
                return self.transfer(action, seen)
            case "goto":
                return self.go_to(action.step, seen, jitter)
            case _:
                return self.retry(action, seen, jitter, failure)

    def go_to(self, step_id: str, seen: _Seen, jitter: float) -> _Next:
        """Go to a step of this workflow; going back, or staying, closes a loop, which is paced."""
        frame, index = self.frame, self.workflow.index
        if index[step_id] > index[frame.step]:
            return self.forward(step_id)
        since = frame.entered.setdefault(step_id, self.now)
        if frame.step != step_id:
            self.durable = True
        frame.step = step_id
        self.state.next = "visit"
        asked = pacing.retry_after(seen.answer, self.now)
        if self.options.poll is not None:
            return self.wait(self.now + self.options.poll, "poll")
        if asked is not None:
            return self.wait(self.now + asked, "Retry-After")
        floor = pacing.poll_floor(seen.url) if seen.url else pacing.FLOOR_LOOPBACK
        return self.wait(self.now + pacing.poll_wait(self.now - since, floor, jitter), "poll")

    def transfer(self, action: PlannedAction, seen: _Seen) -> _Next:
        """Go to another workflow: this one ends here, and the other's outcome is its outcome (a tail call)."""
        inputs, reason = self._action_inputs(action, seen)
        target = self.plan.workflows[action.workflow]
        prepared, problems = target.prepare(inputs)
        problems = (*((reason,) if reason else ()), *problems)
        if problems:
            text = f"the workflow {target.workflow_id!r} cannot be entered: {'; '.join(problems)}"
            return lambda: self.leave(succeeded=False, reason=text)
        frame = self.frame
        self.state.recovered = self.state.recovered or frame.recovered
        self.state.finished[frame.workflow] = Finished(inputs=frame.inputs, outputs={}, succeeded=True)
        self.state.frames[-1] = Frame(
            workflow=action.workflow, inputs=prepared, purpose=frame.purpose, recovered=frame.recovered
        )
        self.durable = True
        # Workflows can go to each other for ever without a request in between: the wait lets the run loop in.
        self.state.next = "enter"
        return self.wait(self.now, "poll")

    def _action_inputs(self, action: PlannedAction, seen: _Seen) -> tuple[dict[str, Json], str]:
        """Give a target workflow's inputs: the action's parameters (1.1), else inputs of the same name (1.0)."""
        declared = self.plan.workflows[action.workflow].input_names
        inputs = {name: value for name, value in self.frame.inputs.items() if name in declared}
        try:
            given = {each.name: each.value.evaluate(seen.context) for each in action.parameters}
        except EvaluationError as error:
            return inputs, _sentence(error)
        return {**inputs, **{name: value for name, value in given.items() if value is not MISSING}}, ""

    def retry(self, action: PlannedAction, seen: _Seen, jitter: float, failure: _Failure | None) -> _Next:
        """Try the step again after a while, having run something else first where the action says so."""
        frame = self.frame
        count = frame.retries.get(action.name, 0) + 1
        frame.retries[action.name] = count
        self.durable = True
        if action.workflow or (action.step and action.step != frame.step):
            frame.detour = Detour(
                origin=frame.step,
                action=action.name,
                step=action.step,
                reason=failure.reason if failure else "",
                held=_held(seen.answer),
            )
            if action.workflow:
                inputs, reason = self._action_inputs(action, seen)
                if reason:
                    return lambda: self.detour_done(succeeded=False, reason=reason)
                return self.call(action.workflow, inputs, "detour")
            return self.forward(action.step)
        return self.again(action, seen, jitter)

    def again(self, action: PlannedAction, seen: _Seen, jitter: float) -> _Next:
        """Wait as long as the server or the action asks, then attempt the step anew."""
        self.frame.attempt += 1
        self.state.next = "attempt"
        asked = pacing.retry_after(seen.answer, self.now)
        if asked is not None:
            return self.wait(self.now + asked, "Retry-After")
        count = self.frame.retries.get(action.name, 1)
        pause = action.retry_after
        if pause is None:
            pause = 0.0 if count == 1 else pacing.backoff(count - 1, jitter)
        return self.wait(self.now + pause, "retry")

    def detour_done(self, *, succeeded: bool, reason: str = "") -> _Next:
        """Come back from what a retry had to run first: try the origin again, or go on to its next action."""
        frame = self.frame
        detour = frame.detour
        if detour is None:
            msg = "a detour ended that had not begun"
            raise AssertionError(msg)
        frame.detour = None
        frame.step = detour.origin
        self.durable = True
        action = next(each for each in self.step.on_failure if each.name == detour.action)
        answer = _released(detour.held)
        # A context needs a request only for $request, which a held answer no longer has: then it is missing.
        seen = _Seen(self.context(response=answer), answer)
        if succeeded:
            return self.again(action, seen, 0.0)
        frame.retries[action.name] = action.retry_limit
        why = f"{detour.reason}; what its retry {action.name!r} runs first failed too: {reason}"
        return lambda: self.failed(_Failure(why, seen, read_only=False))


_PASSING: Final = frozenset({"refused", "reset", "timeout", "dns", "credentials"})


def _throttled(answer: Answer | None) -> bool:
    return answer is not None and pacing.is_throttled(answer)


def _held(answer: Answer | None) -> Held | None:
    if answer is None:
        return None
    has_body = answer.body is not MISSING
    return Held(
        status=answer.status,
        headers=list(answer.headers),
        body=answer.body if has_body else None,
        has_body=has_body,
        url=answer.url,
    )


def _released(held: Held | None) -> Answer | None:
    if held is None:
        return None
    body: Json | Missing = held.body if held.has_body else MISSING
    return Answer(status=held.status, headers=tuple(held.headers), body=body, url=held.url)


# ---------------------------------------------------------------------------------------------------------------------
# Words
# ---------------------------------------------------------------------------------------------------------------------


def _sentence(error: TreadleError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _because(step_id: str, reason: str, problems: Sequence[str] = ()) -> str:
    return "; ".join([f"step {step_id!r} failed: {reason}", *problems])


def _refusal(answer: Answer) -> str:
    return f"the server answered {answer.status}" + _said_by(answer)


_MESSAGE_MEMBERS: Final = ("message", "Message", "detail", "error_description", "error", "title")
_LONGEST_SAYING: Final = 600


def _said_by(answer: Answer | None) -> str:
    """Give what the server said about its refusal, for people: AWS, problem+json and OAuth have a member for it."""
    if answer is None or answer.status < 400:
        return ""
    if answer.problem:
        return f"; {answer.problem}"
    body = answer.body
    if isinstance(body, str):
        return f"; it says: {body[:_LONGEST_SAYING]}"
    if not isinstance(body, dict):
        return ""
    code = body.get("__type", "")
    said = next((body[name] for name in _MESSAGE_MEMBERS if isinstance(body.get(name), str)), "")
    text = ": ".join(each for each in (str(code), said) if each)
    return f"; it says: {text[:_LONGEST_SAYING]}" if text else ""


_KEYS_NAMED: Final = 12


def _what_there_is(answer: Answer | None) -> str:
    """Say which members the answer has, so that a wrong path can be mended."""
    if answer is None:
        return ""
    if answer.problem:
        return f": {answer.problem}"
    if isinstance(answer.body, dict):
        keys = list(answer.body)[:_KEYS_NAMED]
        more = ", …" if len(answer.body) > _KEYS_NAMED else ""
        return f"; the answer ({answer.status}) has the members {', '.join(keys)}{more}" if keys else ""
    return f"; the answer ({answer.status}) has no body" if answer.body is MISSING else ""
