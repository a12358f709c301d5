"""What a turn of the machine sees and says: the context of expressions, verdicts, actions that match, outputs.

These are the parts of a move that decide nothing about the flow: `moves` does, with their help.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from treadle.arazzo import events
from treadle.arazzo.criteria import Criterion, Verdict
from treadle.arazzo.criteria.compare import ABSENT
from treadle.arazzo.expressions import Context, EvaluationError, Template
from treadle.arazzo.machine.effects import Answered, MachineOptions
from treadle.arazzo.machine.state import Frame, State
from treadle.arazzo.machine.words import refusal, sentence, what_there_is
from treadle.arazzo.plan import Plan, PlannedAction, PlannedArgument, PlannedStep, PlannedWorkflow
from treadle.errors import TransportFault
from treadle.seams import MISSING, Answer, Call, Json, Request

__all__ = ["Choice", "Failure", "Judging", "Look", "Seen"]


@dataclass(slots=True)
class Seen:
    """What a step's criteria, actions and outputs can look at, and what came where something was asked.

    `harmless`: the request certainly changed nothing, so it may go out again.
    """

    context: Context
    answer: Answer | None = None
    came: Answered | None = None
    harmless: bool = False


@dataclass(slots=True)
class Choice:
    """The action that matched, if one did, and those criteria that could not be evaluated."""

    action: PlannedAction | None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class Look:
    """What a step makes of what it sees: why it failed; or that it succeeded, its outputs and what comes next."""

    passed: bool
    reason: str = ""
    outputs: dict[str, Json] = field(default_factory=dict)
    choice: Choice = field(default_factory=lambda: Choice(None))


@dataclass(slots=True)
class Failure:
    """Why a step failed, and what is known about the request that failed with it.

    `final`: neither patience nor another try can help, because the step's own timeout is over.
    """

    reason: str
    seen: Seen
    fault: TransportFault | None = None
    sent: bool = True
    read_only: bool = True
    jitter: float = 0.0
    outputs: dict[str, Json] = field(default_factory=dict)
    final: bool = False


class Judging:
    """The working copy of one turn: where the run is, and what is said about it."""

    def __init__(self, plan: Plan, options: MachineOptions, state: State, now: float) -> None:
        self.plan = plan
        self.options = options
        self.state = state
        self.now = now
        self.facts: list[events.Event] = []

    @property
    def frame(self) -> Frame:
        """The workflow that is going on."""
        return self.state.frames[-1]

    @property
    def workflow(self) -> PlannedWorkflow:
        """Its plan."""
        return self.plan.workflows[self.state.frames[-1].workflow]

    @property
    def step(self) -> PlannedStep:
        """Its step."""
        frame = self.state.frames[-1]
        workflow = self.plan.workflows[frame.workflow]
        return workflow.steps[workflow.index[frame.step]]

    def say(self, event: events.Event) -> None:
        """Put a fact on record."""
        self.facts.append(event)

    def about(self) -> dict[str, Json]:
        """Give what every fact begins with."""
        outer = self.state.frames[:-1]
        path = tuple(self.plan.workflows[frame.workflow].workflow_id for frame in outer) if outer else ()
        return {"at": self.now, "run_id": self.state.run_id, "path": path}

    def note(self, rule: str, message: str) -> None:
        """Say something to those who ask why."""
        self.say(events.Warned(**self.about(), rule=rule, message=message, step_id=self.frame.step, severity="note"))

    # -- what expressions see -----------------------------------------------------------------------------------------

    def context(
        self, *, outputs: Mapping[str, Json] | None = None, message: Mapping[str, Json] | None = None
    ) -> Context:
        """Give what expressions see before a request."""
        frame, workflow = self.frame, self.workflow
        return Context(
            inputs=self.revealed(frame.inputs, workflow.secrets) if self.state.references else frame.inputs,
            steps=frame.outputs,
            workflows=self._finished(workflow) if self.state.finished else {},
            outputs=outputs or {},
            sources=self._sources(workflow) if workflow.neighbours and self.state.finished else workflow.sources,
            components=workflow.components,
            self_uri=workflow.self_uri,
            message=message,
        )

    def context_of(self, request: Request, answer: Answer | None) -> Context:
        """Give what expressions see after a request; the call is evaluated again only where `$request` is read."""
        context, step = self.context(), self.step
        if step.reads_request:
            try:
                call = step.call(context, [])
            except EvaluationError:
                call = Call()
            context.request_body = call.payload
            context.path_parameters = {each.name: each.value for each in call.arguments if each.location == "path"}
        context.request = request
        context.response = answer
        return context

    def _finished(self, workflow: PlannedWorkflow) -> Mapping[str, Mapping[str, Mapping[str, Json]]]:
        """Give the finished workflows of the same document by workflowId, and those of its neighbours (dialect).

        A name means something in its own document: what is called the same elsewhere stands behind.
        """
        own: dict[str, Mapping[str, Mapping[str, Json]]] = {}
        others: dict[str, Mapping[str, Mapping[str, Json]]] = {}
        for key, each in self.state.finished.items():
            planned = self.plan.workflows[key]
            if planned.document != workflow.document and planned.document not in workflow.neighbours.values():
                continue
            inputs = self.revealed(each.inputs, planned.secrets) if self.state.references else each.inputs
            found = own if planned.document == workflow.document else others
            found[planned.workflow_id] = {"inputs": inputs, "outputs": each.outputs}
        return {**others, **own}

    def _sources(self, workflow: PlannedWorkflow) -> dict[str, Mapping[str, Json]]:
        """Give the fields of the source descriptions, and what finished workflows of their documents gave.

        The specification has no name for the outputs of a workflow in another document that was depended on;
        `$sourceDescriptions.refunds.issue.outputs.id` fits its grammar, and means nothing else.
        """
        sources = dict(workflow.sources)
        for name, document in workflow.neighbours.items():
            outputs = {
                f"{planned.workflow_id}.outputs.{output}": value
                for key, each in self.state.finished.items()
                if (planned := self.plan.workflows[key]).document == document
                for output, value in each.outputs.items()
            }
            sources[name] = {**outputs, **workflow.sources[name]}
        return sources

    # -- inputs and secrets -------------------------------------------------------------------------------------------

    def revealed(self, inputs: Mapping[str, Json], secrets: Iterable[str]) -> dict[str, Json]:
        """Give inputs with the secrets themselves in place of the references to them."""
        known = self.state.references
        found = {name: self.options.reveal(inputs[name]) for name in secrets if inputs.get(name) in known}
        return {**inputs, **found}

    def given(self, key: str, arguments: Sequence[PlannedArgument], context: Context) -> dict[str, Json]:
        """Give the inputs that arguments make for a workflow. Raises `EvaluationError`.

        What a reference stands for goes into an input that is not secret; into a secret one goes the reference, so
        that only references are stored.
        """
        values = {each.name: each.value.evaluate(context) for each in arguments}
        if self.state.references:
            secrets = self.plan.workflows[key].secrets
            veiled = replace(context, inputs=self.frame.inputs)
            for each in arguments:
                if each.name in secrets and (kept := _evaluated(each.value, veiled)) in self.state.references:
                    values[each.name] = kept
        return {name: value for name, value in values.items() if value is not MISSING}

    def inherited(self, key: str) -> dict[str, Json]:
        """Give those inputs of the current workflow that another one has by the same name."""
        target = self.plan.workflows[key]
        inputs = {name: value for name, value in self.frame.inputs.items() if name in target.input_names}
        return self.revealed(inputs, self.workflow.secrets - target.secrets) if self.state.references else inputs

    def prepared(self, key: str, inputs: dict[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """Give the inputs of a workflow with its defaults, and what is wrong with them, a sentence each."""
        target = self.plan.workflows[key]
        if not self.state.references:
            return target.prepare(inputs)
        kept = {name: inputs[name] for name in target.secrets if inputs.get(name) in self.state.references}
        values, problems = target.prepare(self.revealed(inputs, target.secrets))
        return {**values, **kept}, problems

    # -- verdicts -----------------------------------------------------------------------------------------------------

    def judge_success(self, seen: Seen, *, default: bool, otherwise: str) -> tuple[bool, str]:
        """Judge the step's success criteria; without any, `default` decides and `otherwise` is the reason."""
        if not self.step.success:
            return default, otherwise
        passed, verdicts = self._judge(self.step.success, seen)
        if passed:
            return True, ""
        first = next(verdict for verdict in verdicts if not verdict.passed)
        why = first.problem or ", ".join(first.reasons)
        if seen.answer is not None and seen.answer.status >= 400 and not first.problem:
            # What the server says is what its reader needs; the criterion only says that it was not foreseen.
            return False, f"{refusal(seen.answer)} ({first.condition} does not hold)"
        return False, f"the criterion {first.condition!r} does not hold" + (f": {why}" if why else "")

    def choose(self, actions: Sequence[PlannedAction], seen: Seen) -> Choice:
        """Give the first action whose criteria all hold; a retry that is used up is passed over (§1.7)."""
        problems: list[str] = []
        judged: list[Verdict] = []
        for action in actions:
            if action.type == "retry" and self.frame.retries.get(action.name, 0) >= action.retry_limit:
                continue
            if not action.criteria:
                return Choice(action)
            passed, verdicts = self._judge(action.criteria, seen, action.name)
            judged += verdicts
            if passed:
                self._doubt(actions, action, judged)
                return Choice(action)
            problems += [
                f"the criterion {verdict.condition!r} of the action {action.name!r} cannot be evaluated: "
                f"{verdict.problem}"
                for verdict in verdicts
                if verdict.problem
            ]
        self._doubt(actions, None, judged)
        return Choice(None, tuple(problems))

    def _doubt(self, actions: Sequence[PlannedAction], chosen: PlannedAction | None, judged: Sequence[Verdict]) -> None:
        """Say so when a loop is left because of something that the answer does not have: few mean that."""
        loops = [each for each in actions if self.workflow.leads_back(self.frame.step, each)]
        if not loops or chosen in loops:
            return
        reason = next((reason for each in judged for reason in each.reasons if ABSENT in reason), "")
        if reason:
            message = f"the loop ends because the answer lacks something: {reason}"
            self.say(events.Warned(**self.about(), rule=events.LOOP_LEFT, message=message, step_id=self.frame.step))

    def _judge(self, criteria: Sequence[Criterion], seen: Seen, action: str = "") -> tuple[bool, Sequence[Verdict]]:
        verdicts = tuple([criterion.judge(seen.context) for criterion in criteria])
        passed = all(verdict.passed for verdict in verdicts)
        self.say(
            events.CriteriaJudged(
                **self.about(), step_id=self.frame.step, action=action, passed=passed, verdicts=verdicts
            )
        )
        return passed, verdicts

    def evaluate_outputs(
        self,
        outputs: Mapping[str, Template],
        seen: Seen,
        *,
        step_id: str = "",
        expected: bool = False,
        quiet: bool = False,
    ) -> dict[str, Json]:
        """Evaluate outputs; what resolves to nothing is left out, and said: only to those who ask unless `expected`."""
        values: dict[str, Json] = {}
        for name, template in outputs.items():
            try:
                value = template.evaluate(seen.context)
                why = ""
            except EvaluationError as error:
                value, why = MISSING, f": {sentence(error)}"
            if value is not MISSING:
                values[name] = value
            if value is not MISSING or quiet:
                continue
            message = f"the output {name!r} has no value{why or what_there_is(seen.answer)}"
            severity: Literal["warning", "note"] = "warning" if expected else "note"
            self.say(
                events.Warned(
                    **self.about(), rule="output-missing", message=message, step_id=step_id, severity=severity
                )
            )
        return values


def _evaluated(template: Template, context: Context) -> Json:
    try:
        return template.evaluate(context)
    except EvaluationError:
        return MISSING
