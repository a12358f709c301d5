"""The moves of a turn: each does one thing and gives the next, or sets the effect that ends the turn.

Beginning and ending, frames, steps, what follows a step, actions: in this order, as a run goes through them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from treadle.arazzo import events, pacing
from treadle.arazzo.expressions import Context, EvaluationError
from treadle.arazzo.expressions.scope import Remarks
from treadle.arazzo.machine.effects import (
    Answered,
    Due,
    Effect,
    Faulted,
    Finish,
    Interrupt,
    MachineOptions,
    Publish,
    Published,
    Receive,
    Received,
    Send,
    Turn,
    Wait,
    Watched,
)
from treadle.arazzo.machine.judging import Choice, Failure, Look, Seen
from treadle.arazzo.machine.patience import Patience, throttled
from treadle.arazzo.machine.state import Detour, Finished, Frame, State, held, released, with_own_top
from treadle.arazzo.machine.watch import LARGEST, Watch
from treadle.arazzo.machine.words import because, refusal, sentence
from treadle.arazzo.plan import Plan, PlannedAction, PlannedChannel, StepKey
from treadle.errors import CallError
from treadle.seams import MISSING, Answer, Json, Message, Request

__all__ = ["MAX_DEPTH", "Move"]

MAX_DEPTH: Final = 64
"""Workflows that call each other deeper than this are taken for a recursion without end."""

_LARGEST_LAST_BODY: Final = 64 * 1024

Next: TypeAlias = "Callable[[], Next] | None"


class Move(Patience):
    """The working copy of one turn, and what can be done to it."""

    def __init__(self, plan: Plan, options: MachineOptions, state: State, now: float) -> None:
        super().__init__(plan, options, state, now)
        self.durable = False
        self.effect: Effect | None = None
        self.last_body: Json = None

    def play(self, first: Callable[[], Next]) -> Turn:
        """Make moves until there is an effect."""
        following: Next = first
        while following is not None:
            following = following()
        if self.effect is None:
            msg = "a turn of the machine ended without an effect"
            raise AssertionError(msg)
        return Turn(self.state, self.effect, tuple(self.facts), self.durable)

    # -- beginning, resuming, ending ----------------------------------------------------------------------------------

    def due(self) -> Next:
        """Go on after a wait."""
        if self.now >= self.state.deadline:
            return self.end("suspended", reason="the time for the run is over (--timeout)")
        late = self._late()
        if late is not None:
            return lambda: self.cut_off(late)
        self.state.due = None
        match self.state.next:
            case "visit":
                return self.visit()
            case "attempt":
                return self.attempt()
            case "send":
                return self.send()
            case "enter" | "":
                return self.enter()

    def resumed(self, *, resend: bool, took_effect: bool = False) -> Next:
        """Go on with a stored state: in doubt when a request with effects is out, else what was due is due."""
        self.say(events.Resumed(**self.about(), step_id=self.frame.step if self.state.frames else ""))
        self.state.status = ""
        # From now on, also where that is sooner than before: whoever says --timeout again means it.
        self.state.deadline = self.now + self.options.timeout
        self.state.trouble_since = None
        self.state.tries = 0
        self.durable = True
        if self.state.intent and took_effect:
            return self.taken_for_done
        if self.state.intent and not resend:
            return self.in_doubt("the run was stopped after the request went out and before its answer was seen")
        self.state.intent = False
        if self.state.frames:
            self.frame.attempt_at = self.now
        return self.wait(self.state.due or self.now, "resumed")

    def taken_for_done(self) -> Next:
        """Go on behind a step whose request is known to have taken effect: its answer, and its outputs, are lost."""
        step_id = self.frame.step
        self.state.intent = False
        self.state.effects = True
        message = "the answer was never seen, so the step has no outputs"
        self.say(events.Warned(**self.about(), rule="took-effect", message=message, step_id=step_id))
        self._keep({})
        self.say(events.StepSucceeded(**self.about(), step_id=step_id, outputs={}))
        return self.following

    def interrupted(self) -> Next:
        """Stop where the run is. A request that was announced has not gone out, or this event would not come."""
        self.state.intent = False
        return self.end("interrupted", reason="interrupted")

    def in_doubt(self, reason: str) -> Next:
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
    ) -> Next:
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
                recovered=self.state.recovered and status == "succeeded",
                last_body=self.last_body,
            )
        )
        return None

    def wait(
        self,
        until: float,
        why: Literal["poll", "retry", "Retry-After", "trouble", "resumed"],
        watch: Watch | None = None,
    ) -> Next:
        """Wait, but never beyond a deadline."""
        until = min(until, self._limit())
        self.state.due = until
        if why != "resumed" and until > self.now:
            visit = self.frame.visits.get(self.frame.step, 0) + (self.state.next == "visit")
            self.say(events.Waiting(**self.about(), step_id=self.frame.step, until=until, why=why, visit=visit))
        self.effect = Wait(until, why, watch)
        return None

    # -- deadlines ----------------------------------------------------------------------------------------------------

    def cut_off(self, index: int) -> Next:
        """Give up a workflow and all that it called: the step that called it has waited long enough (§1.5)."""
        self.durable = True
        self.state.intent = False
        self.state.trouble_since = None
        under_way = self.state.next == "send"  # else its step has ended, and something was waited for
        while len(self.state.frames) > index:
            if under_way:
                reason = "it was given up: a step that waits for its workflow has waited long enough"
                self.say(events.StepFailed(**self.about(), step_id=self.frame.step, reason=reason))
            under_way = self.frame.purpose == "call"
            self.state.frames = self.state.frames[:-1]
        self.state.frames = with_own_top(self.state.frames)
        return lambda: self.failed(self._over())

    # -- frames -------------------------------------------------------------------------------------------------------

    def enter(self) -> Next:
        """Begin the top frame: first the workflows that it depends on, each once per run, then its first step."""
        for key in self.workflow.depends_on:
            done = self.state.finished.get(key)
            if done is None:
                return self.call(key, self.inherited(key), "dependency")
            if not done.succeeded:
                name = self.plan.workflows[key].workflow_id
                reason = f"the workflow {name!r} that it depends on failed: {done.reason}"
                return lambda: self.leave(succeeded=False, reason=reason)
        return self.forward(self.workflow.steps[0].step_id)

    def call(self, key: str, inputs: dict[str, Json], purpose: Literal["call", "detour", "dependency"]) -> Next:
        """Put a frame for another workflow on top. Its inputs are checked first."""
        self.durable = True
        target = self.plan.workflows[key]
        prepared, problems = self.prepared(key, inputs)
        if len(self.state.frames) >= MAX_DEPTH:
            problems = (f"workflows call each other more than {MAX_DEPTH} deep",)
        if problems:
            reason = f"the workflow {target.workflow_id!r} cannot be called: {'; '.join(problems)}"
            if purpose == "dependency":
                return lambda: self.leave(succeeded=False, reason=reason)
            if purpose == "detour":
                return lambda: self.detour_done(succeeded=False, reason=reason)
            return lambda: self.failed(Failure(reason, Seen(self.context())))
        timeout = self.step.timeout if purpose == "call" else None
        expires = None if timeout is None else self.frame.attempt_at + timeout
        self.state.frames.append(Frame(workflow=key, inputs=prepared, purpose=purpose, expires=expires))
        return self.enter

    def leave(self, *, succeeded: bool, reason: str = "", handled: bool = False) -> Next:
        """End the top frame: evaluate its outputs and give them to whoever is below."""
        self.durable = True
        frame = self.frame
        # After a failure it is no news that outputs have no value.
        seen = Seen(self.context())
        outputs = self.evaluate_outputs(self.workflow.outputs, seen, expected=succeeded)
        self.state.finished[frame.workflow] = Finished(
            inputs=frame.inputs, outputs=outputs, succeeded=succeeded, completed=frame.completed, reason=reason
        )
        self.state.recovered = self.state.recovered or frame.recovered
        if len(self.state.frames) == 1:
            return self.end("succeeded" if succeeded else "failed", reason=reason, outputs=outputs, handled=handled)
        self.state.frames = with_own_top(self.state.frames[:-1])
        match frame.purpose:
            case "dependency":
                return self.enter
            case "detour":
                return self.detour_done(succeeded=succeeded, reason=reason)
            case _:
                return self.returned(frame, outputs, succeeded=succeeded, reason=reason)

    def returned(self, callee: Frame, outputs: dict[str, Json], *, succeeded: bool, reason: str) -> Next:
        """Take back what a called workflow gave: judge the step that called it. `$outputs` are the workflow's."""
        self.frame.last_status = callee.last_status
        seen = Seen(self.context(outputs=outputs))
        if self.step.sees_status and callee.last_status is not None:
            # Nothing but its status is known of that answer here.
            seen.context.response = Answer(callee.last_status)
        name = self.plan.workflows[callee.workflow].workflow_id
        why = reason and f"the workflow {name!r} failed: {reason}"
        # Nested outputs are reachable without being declared again: what people write, see `legacy-nested-outputs`.
        look = self.look(seen, default=succeeded, otherwise=why, nested=outputs)
        if look.passed:
            return lambda: self.succeeded(seen, look)
        return lambda: self.failed(Failure(look.reason, seen, outputs=outputs))

    # -- steps --------------------------------------------------------------------------------------------------------

    def forward(self, step_id: str) -> Next:
        """Go to a step without closing a loop."""
        self.durable = True
        self.frame.step = step_id
        self.frame.entered[step_id] = self.now
        return self.visit

    def visit(self) -> Next:
        """Enter the frame's step anew: attempts and retries start again."""
        frame = self.frame
        frame.visits[frame.step] = frame.visits.get(frame.step, 0) + 1
        frame.attempt = 1
        frame.retries = {}
        return self.attempt()

    def attempt(self) -> Next:
        """Try the step: call its workflow, send its request or its message, wait for its message."""
        frame = self.frame
        frame.attempt_at = self.now
        self.say(
            events.StepStarted(
                **self.about(), step_id=frame.step, visit=frame.visits.get(frame.step, 1), attempt=frame.attempt
            )
        )
        self.state.tries = 0
        self.state.trouble_since = None
        lacking = [each for each in self.step.depends_on if not self._completed(each)]
        if lacking:
            reason = f"it depends on the step {lacking[0].step!r}{self._of(lacking[0])}, which has not been completed"
            return lambda: self.failed(Failure(reason, Seen(self.context()), final=True))
        return self.send()

    def _completed(self, key: StepKey) -> bool:
        """Tell whether a step has succeeded: in a workflow that is going on, or in one that has ended."""
        finished = self.state.finished.get(key.workflow)
        if finished is not None and key.step in finished.completed:
            return True
        return any(frame.workflow == key.workflow and key.step in frame.completed for frame in self.state.frames)

    def _of(self, key: StepKey) -> str:
        return "" if key.workflow == self.frame.workflow else f" of the workflow {key.workflow!r}"

    def send(self) -> Next:
        """Ask for what the step does: call its workflow, or build its request or message from what is known now."""
        step = self.step
        context = self.context()
        if self._timed_out():
            return lambda: self.failed(self._over())
        self.state.next = "send"
        try:
            if step.workflow is not None:
                return self.call(step.workflow, self.given(step.workflow, step.arguments, context), "call")
            if step.channel is not None:
                return self._use_channel(step.channel, context)
            return self._request(context)
        except (EvaluationError, CallError) as error:
            reason = sentence(error)
            return lambda: self.failed(Failure(reason, Seen(context)))

    def _request(self, context: Context) -> Next:
        step = self.step
        notes: Remarks = []
        call = step.call(context, notes)
        request = step.bound.request(call)
        for rule, note in notes:
            self.note(rule, note)
        intent = not step.bound.read_only(call)
        self.announce(intent=intent)
        self.say(self._sent(request))
        self.effect = Send(step.step_id, request, intent, self._patience())
        return None

    def _sent(self, request: Request) -> events.RequestSent:
        step_id, url = self.step.step_id, self.plan.shown(request)
        return events.RequestSent(**self.about(), step_id=step_id, method=request.method, url=url)

    def announce(self, *, intent: bool) -> None:
        """Have the state say that something with effects is about to go out."""
        self.state.intent = intent
        self.durable = self.durable or intent

    # -- channels -----------------------------------------------------------------------------------------------------

    def _use_channel(self, use: PlannedChannel, context: Context) -> Next:
        notes: Remarks = []
        channel, message = self.step.message(context, notes)
        for rule, note in notes:
            self.note(rule, note)
        step_id = self.step.step_id
        sends = use.action == "send"
        self.say(
            events.RequestSent(**self.about(), step_id=step_id, method="SEND" if sends else "RECEIVE", url=channel.url)
        )
        if sends:
            self.announce(intent=True)
            self.effect = Publish(step_id, channel, message, self._patience())
        else:
            # The run waits here, perhaps for long: whoever resumes it must find it waiting.
            self.durable = True
            self.effect = Receive(step_id, channel, use.wanted(context), max(0.001, self._left()))
        return None

    def published(self, event: Published) -> Next:
        """Go on: a step that sends is done when the message is handed over (1.1, "Defining Success …")."""
        self.state.intent = False
        self.state.effects = True
        self.durable = True
        context = self.context()
        try:
            _, message = self.step.message(context, [])
        except (EvaluationError, CallError):
            seen = Seen(context)
            return lambda: self.succeeded(seen, self._look_further(seen, {}), event.jitter)
        return self._judged(message, event.jitter)

    def received(self, event: Received) -> Next:
        """Judge the message that came; that none came in time is a failure of the step."""
        if event.message is None:
            late = self._late()
            if late is not None:
                return lambda: self.cut_off(late)
            if self.now >= self.state.deadline:
                return self.due()
            reason = f"no message came in {event.seconds:.3g} s" + self._awaited()
            return lambda: self.failed(Failure(reason, Seen(self.context()), final=True))
        self.durable = True
        self.state.effects = True
        channel, _ = self.step.message(self.context(), [])
        self.say(
            events.MessageReceived(
                **self.about(), step_id=self.step.step_id, channel=channel.url, seconds=event.seconds
            )
        )
        return self._judged(event.message, event.jitter)

    def _awaited(self) -> str:
        channel = self.step.channel
        return " that has the correlation id of the step" if channel and channel.correlation else ""

    def _judged(self, message: Message, jitter: float) -> Next:
        spoken: dict[str, Json] = {"header": dict(message.headers)}
        if message.payload is not MISSING:
            spoken["payload"] = message.payload
            self.last_body = message.payload
        seen = Seen(self.context(message=spoken))
        look = self.look(seen, default=True, otherwise="")
        if look.passed:
            return lambda: self.succeeded(seen, look, jitter)
        return lambda: self.failed(Failure(look.reason, seen, jitter=jitter))

    # -- answers ------------------------------------------------------------------------------------------------------

    def answered(self, event: Answered) -> Next:
        """Decode the answer and judge the success criteria."""
        step = self.step
        answer = step.bound.answer(event.response)
        self.frame.last_status = answer.status
        harmless = not self.state.intent
        if not harmless:
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
        seen = Seen(self.context_of(event.request, answer), answer, event, harmless)
        look = self.look(seen, default=200 <= answer.status < 300, otherwise=refusal(answer))
        if look.passed:
            self.state.tries = 0
            self.state.trouble_since = None
            return self.succeeded(seen, look, event.jitter)
        failure = Failure(look.reason, seen, jitter=event.jitter)
        return lambda: self.failed(failure)

    def faulted(self, event: Faulted) -> Next:
        """No answer came. The document's own failure actions decide first, then whether the fault is a passing one."""
        late = self._late()
        if late is not None:
            return lambda: self.cut_off(late)
        if self._timed_out():
            self.state.intent = False
            return lambda: self.failed(self._over())
        read_only = not self.state.intent
        if not event.sent:
            self.state.intent = False
        failure = Failure(
            event.message,
            Seen(self.context()),
            fault=event.fault,
            sent=event.sent,
            read_only=read_only,
            jitter=event.jitter,
        )
        return lambda: self.failed(failure)

    # -- after a step -------------------------------------------------------------------------------------------------

    def look(self, seen: Seen, *, default: bool, otherwise: str, nested: Mapping[str, Json] | None = None) -> Look:
        """Judge whether a step succeeded; if it did, evaluate its outputs and find the action that matches."""
        step, answer = self.step, seen.answer
        useless = f"the answer cannot be used: {answer.problem}" if answer is not None and answer.problem else ""
        if step.judges_outputs and not useless:
            mine = self.evaluate_outputs(step.outputs, seen, step_id=step.step_id, quiet=True)
            seen.context.steps = {**self.frame.outputs, step.step_id: {**(nested or {}), **mine}}
        passed, reason = self.judge_success(seen, default=default, otherwise=otherwise)
        if not passed:
            return Look(passed=False, reason=useless if step.judges_outputs and useless else reason)
        if useless and step.reads_body and not (step.reads_xml and answer is not None and isinstance(answer.body, str)):
            return Look(passed=False, reason=useless)
        return self._look_further(seen, nested or {})

    def _look_further(self, seen: Seen, nested: Mapping[str, Json]) -> Look:
        frame, step = self.frame, self.step
        outputs = {**nested, **self.evaluate_outputs(step.outputs, seen, step_id=step.step_id)}
        if self._in_detour():
            return Look(passed=True, outputs=outputs)
        seen.context.steps = {**frame.outputs, step.step_id: outputs}
        choice = self.choose(step.on_success, seen)
        if step.chooses_by_body and seen.answer is not None and (what := _nothing(seen.answer)):
            undecided = f"the answer {what}, and the criteria of the step's actions look at it"
            choice = Choice(choice.action, (*choice.problems, undecided))
        return Look(passed=True, outputs=outputs, choice=choice)

    def _in_detour(self) -> bool:
        """Tell whether the step is one that a retry runs first: its own actions do not count."""
        detour = self.frame.detour
        return detour is not None and detour.step == self.frame.step

    def succeeded(self, seen: Seen, look: Look, jitter: float = 0.0) -> Next:
        """Keep the outputs of a step that succeeded, then do what its first matching action says."""
        frame, step, outputs, choice = self.frame, self.step, look.outputs, look.choice
        if self._in_detour():
            self._keep(outputs)
            self._complete()
            self.say(events.StepSucceeded(**self.about(), step_id=step.step_id, outputs=outputs))
            return lambda: self.detour_done(succeeded=True)
        seen.context.steps = {**frame.outputs, step.step_id: outputs}
        if choice.action is None and choice.problems:
            # Falling through here would report success for something that nobody could decide.
            failure = Failure("; ".join(choice.problems), seen, outputs=outputs, jitter=jitter, read_only=False)
            return lambda: self.failed(failure)
        self._keep(outputs)
        self._complete()
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

    def _complete(self) -> None:
        """Remember a step that succeeded, where other steps depend on it."""
        frame = self.frame
        awaited = self.plan.awaited
        if awaited and StepKey(frame.workflow, frame.step) in awaited and frame.step not in frame.completed:
            frame.completed.append(frame.step)
            self.durable = True

    def following(self) -> Next:
        """Go to the next step of the list, or leave the workflow."""
        position = self.workflow.index[self.frame.step] + 1
        if position < len(self.workflow.steps):
            return self.forward(self.workflow.steps[position].step_id)
        return lambda: self.leave(succeeded=True)

    def failed(self, failure: Failure) -> Next:
        """Let the first matching action decide about a failed step, then whether the fault passes; else give up."""
        frame, step, seen = self.frame, self.step, failure.seen
        if self._in_detour():
            self._say_failed(failure, {})
            return lambda: self.detour_done(succeeded=False, reason=failure.reason)
        # Outputs of a failed step are evaluated too: recovery steps need them. `failure.outputs` are a callee's.
        outputs = {**failure.outputs, **(self.evaluate_outputs(step.outputs, seen, step_id=step.step_id))}
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
        if (failure.fault or throttled(seen.answer)) and not failure.final and self._worth_resuming():
            self.state.next = "send"
            return self.end("suspended", reason=f"step {step.step_id!r}: {failure.reason}")
        return lambda: self.leave(succeeded=False, reason=because(step.step_id, failure.reason, choice.problems))

    def _say_failed(self, failure: Failure, outputs: dict[str, Json]) -> None:
        status = failure.seen.answer.status if failure.seen.answer else None
        self.say(
            events.StepFailed(
                **self.about(), step_id=self.frame.step, reason=failure.reason, outputs=outputs, status=status
            )
        )

    def trouble(self, failure: Failure) -> Next:
        """Send again after a while; this is below the document: no visit, no retry of it is counted."""
        if self.state.trouble_since is None:
            self.state.trouble_since = self.now
        self.state.tries += 1
        asked = pacing.retry_after(failure.seen.answer, self.now)
        pause = pacing.backoff(self.state.tries, failure.jitter) if asked is None else asked
        again_at = self.now + min(pause, self._left())
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

    def act(self, action: PlannedAction, seen: Seen, jitter: float, failure: Failure | None = None) -> Next:
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
                reason = because(self.frame.step, failure.reason) if failure else ""
                return lambda: self.leave(succeeded=failure is None, reason=reason, handled=failure is not None)
            case "goto" if action.workflow:
                return self.transfer(action, seen, jitter)
            case "goto":
                return self.go_to(action.step, seen, jitter, may_watch=failure is None)
            case _:
                return self.retry(action, seen, jitter, failure)

    def go_to(self, step_id: str, seen: Seen, jitter: float, *, may_watch: bool) -> Next:
        """Go to a step of this workflow; going back, or staying, closes a loop, which is paced."""
        frame, index = self.frame, self.workflow.index
        if index[step_id] > index[frame.step]:
            return self.forward(step_id)
        since = frame.entered.setdefault(step_id, self.now)
        stays = frame.step == step_id
        if not stays:
            self.durable = True
        frame.step = step_id
        self.state.next = "visit"
        pause = self._pause(seen, since, jitter)
        return self.wait(pause.until, pause.why, self._watch(seen, since) if stays and may_watch else None)

    def _pause(self, seen: Seen, since: float, jitter: float) -> pacing.Pause:
        """Give the pause before a loop that was entered at `since` goes round again."""
        url = seen.came.request.url if seen.came else ""
        return pacing.pause(seen.answer, self.now, since=since, url=url, poll=self.options.poll, jitter=jitter)

    def _watch(self, seen: Seen, since: float) -> Watch | None:
        """Say how the poll goes on while nothing changes; None where that cannot be told beforehand."""
        step, came = self.step, seen.came
        if not step.steady or came is None or not seen.harmless or len(came.response.body) > LARGEST:
            return None
        # Secrets that are looked up may change, and who waits for a workflow may have enough of it.
        if self.state.references or any(each.expires is not None for each in self.state.frames):
            return None
        return Watch(
            request=came.request,
            timeout=self.options.request_timeout,
            known=came.response,
            visits=self.frame.visits.get(step.step_id, 0),
            since=since,
            deadline=self.state.deadline,
            poll=self.options.poll,
            started=events.StepStarted(**self.about(), step_id=step.step_id, visit=1),
            sent=self._sent(came.request),
        )

    def watched(self, event: Watched) -> Next:
        """Count the visits that changed nothing, and go on with what did."""
        frame = self.frame
        if event.visits:
            frame.visits[frame.step] = frame.visits.get(frame.step, 0) + event.visits
            frame.attempt, frame.retries = 1, {}  # what a retry had left, from the visit before
        match event.event:
            case Due():
                return self.due()
            case Interrupt():
                return self.interrupted()
            case Answered():
                self._begun(event.begun)
                return self.answered(event.event)
            case Faulted():
                self._begun(event.begun)
                return self.faulted(event.event)

    def _begun(self, at: float) -> None:
        """Take notice of a visit that began without the machine."""
        frame = self.frame
        frame.visits[frame.step] += 1
        frame.attempt, frame.attempt_at, frame.retries = 1, at, {}
        self.state.next, self.state.due, self.state.tries, self.state.trouble_since = "send", None, 0, None

    def transfer(self, action: PlannedAction, seen: Seen, jitter: float) -> Next:
        """Go to another workflow: this one ends here, and the other's outcome is its outcome (a tail call).

        One that the way led through before closes a loop, which is paced.
        """
        inputs, reason = self._action_inputs(action, seen)
        target = self.plan.workflows[action.workflow]
        prepared, problems = self.prepared(action.workflow, inputs)
        problems = (*((reason,) if reason else ()), *problems)
        if problems:
            text = f"the workflow {target.workflow_id!r} cannot be entered: {'; '.join(problems)}"
            return lambda: self.leave(succeeded=False, reason=text)
        frame = self.frame
        self.state.recovered = self.state.recovered or frame.recovered
        self.state.finished[frame.workflow] = Finished(
            inputs=frame.inputs, outputs={}, succeeded=True, completed=frame.completed
        )
        way = {frame.workflow: min(frame.entered.values(), default=self.now)} if not frame.way else frame.way
        since = way.get(action.workflow)
        self.state.next = "enter"
        if since is None:
            way = {**way, action.workflow: self.now}
            self.wait(self.now, "poll")
        else:
            back = list(way).index(action.workflow)
            way = dict(list(way.items())[: back + 1])
            self.wait(*self._pause(seen, since, jitter))
        self.state.frames[-1] = Frame(
            workflow=action.workflow,
            inputs=prepared,
            purpose=frame.purpose,
            recovered=frame.recovered,
            expires=frame.expires,
            way=way,
        )
        self.durable = True
        return None

    def _action_inputs(self, action: PlannedAction, seen: Seen) -> tuple[dict[str, Json], str]:
        """Give a target workflow's inputs: the action's parameters (1.1), else inputs of the same name (1.0)."""
        inputs = self.inherited(action.workflow)
        try:
            return {**inputs, **self.given(action.workflow, action.parameters, seen.context)}, ""
        except EvaluationError as error:
            return inputs, sentence(error)

    def retry(self, action: PlannedAction, seen: Seen, jitter: float, failure: Failure | None) -> Next:
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
                held=held(seen.answer, seen.context.message),
                attempt=frame.attempt,
                retries=dict(frame.retries),
            )
            if action.workflow:
                inputs, reason = self._action_inputs(action, seen)
                if reason:
                    return lambda: self.detour_done(succeeded=False, reason=reason)
                return self.call(action.workflow, inputs, "detour")
            return self.forward(action.step)
        return self.again(action, seen, jitter)

    def again(self, action: PlannedAction, seen: Seen, jitter: float) -> Next:
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

    def detour_done(self, *, succeeded: bool, reason: str = "") -> Next:
        """Come back from what a retry had to run first: try the origin again, or go on to its next action."""
        frame = self.frame
        detour = frame.detour
        if detour is None:
            msg = "a detour ended that had not begun"
            raise AssertionError(msg)
        frame.detour = None
        frame.step = detour.origin
        frame.attempt, frame.retries = detour.attempt, dict(detour.retries)
        self.durable = True
        action = next(each for each in self.step.on_failure if each.name == detour.action)
        answer = released(detour.held)
        # A context needs a request only for $request, which a held answer no longer has: then it is missing.
        seen = Seen(self.context(message=detour.held.message if detour.held else None), answer)
        seen.context.response = answer
        if succeeded:
            return self.again(action, seen, 0.0)
        frame.retries[action.name] = action.retry_limit
        why = f"{detour.reason}; what its retry {action.name!r} runs first failed too: {reason}"
        # The step has been told as failed: nothing below the document may try it again.
        return lambda: self.failed(Failure(why, seen, read_only=False, final=True))


def _nothing(answer: Answer) -> str:
    """Say how a body has nothing in it, "" for one that has something."""
    return "has no body" if answer.body is MISSING else "is null" if answer.body is None else ""
