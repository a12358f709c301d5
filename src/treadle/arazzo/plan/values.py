"""What a plan is made of: frozen values that the machine reads, and that nobody changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

from treadle.arazzo.criteria import Criterion
from treadle.arazzo.expressions import Context, EvaluationError, Expression, Template, nodes
from treadle.arazzo.expressions.scope import Remarks
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.plan.messages import PlannedChannel
from treadle.arazzo.replacements import Form, PlannedReplacement, replaced
from treadle.seams import MISSING, Argument, ArgumentLocation, Call, Channel, Json, Message, Operation, Request

__all__ = [
    "Plan",
    "PlanOptions",
    "PlannedAction",
    "PlannedArgument",
    "PlannedStep",
    "PlannedWorkflow",
    "StepKey",
]


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What the caller decides. `off` names dialect rules; `redact` makes a URL fit to be shown."""

    strict: bool = False
    off: frozenset[str] = frozenset()
    redact: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class PlannedArgument:
    """A parameter of a step; `location` is None where a workflow is called: then it is an input."""

    name: str
    location: ArgumentLocation | None
    value: Template
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """A success or failure action with its target found: `step` or `workflow` (a key of the plan), or neither."""

    name: str
    type: Literal["end", "goto", "retry"]
    step: str = ""
    workflow: str = ""
    retry_after: float | None = None
    retry_limit: int = 1
    criteria: tuple[Criterion, ...] = ()
    parameters: tuple[PlannedArgument, ...] = ()


class StepKey(NamedTuple):
    """A step anywhere in a plan; `workflow` is a key of it."""

    workflow: str
    step: str


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step that is ready to be tried. Exactly one of `operation`, `channel` and `workflow` (a key) is set."""

    step_id: str
    pointer: str
    operation: Operation | None = None
    channel: PlannedChannel | None = None
    workflow: str | None = None
    arguments: tuple[PlannedArgument, ...] = ()
    content_type: str | None = None
    payload: Template | None = None
    form: Form = "json"
    """What kind of payload it is: how `replacements` find their places in it."""
    replacements: tuple[PlannedReplacement, ...] = ()
    success: tuple[Criterion, ...] = ()
    on_success: tuple[PlannedAction, ...] = ()
    on_failure: tuple[PlannedAction, ...] = ()
    outputs: Mapping[str, Template] = field(default_factory=dict)
    timeout: float | None = None
    depends_on: tuple[StepKey, ...] = ()
    """Steps that must have been completed before: 1.1's `dependsOn`."""
    reads_body: bool = False
    """Whether criteria, actions or outputs look at the response body: then it must be what its media type says."""
    chooses_by_body: bool = False
    """Whether the criteria of success actions look at the response body: without one nobody can tell what is next."""
    reads_request: bool = False
    sees_status: bool = False
    """Whether a step that calls a workflow looks at the status of the last answer in it."""

    @property
    def bound(self) -> Operation:
        """The operation of a step that has one."""
        if self.operation is None:
            msg = f"the step {self.step_id!r} calls no operation"
            raise AssertionError(msg)
        return self.operation

    @property
    def asking(self) -> Iterator[Expression]:
        """The expressions of the call: what the step asks depends on their values, and on nothing else."""
        templates = [each.value for each in self.arguments]
        templates += [] if self.payload is None else [self.payload]
        templates += [each.value for each in self.replacements]
        for template in templates:
            yield from template.expressions

    @property
    def judging(self) -> Iterator[Expression]:
        """The expressions that decide about success, give the outputs, and find the action after a success."""
        for criterion in self.success:
            yield from criterion.expressions
        for template in self.outputs.values():
            yield from template.expressions
        for action in self.on_success:
            for criterion in action.criteria:
                yield from criterion.expressions

    @cached_property
    def judges_outputs(self) -> bool:
        """Whether a success criterion looks at the step's own outputs: those of the answer that is judged."""
        every = (each for criterion in self.success for each in criterion.expressions)
        return any(isinstance(each, nodes.StepReference) and each.step_id == self.step_id for each in every)

    @cached_property
    def reads_xml(self) -> bool:
        """Whether an XPath looks at the answer: then XML will do, also where the description promises JSON."""
        criteria = (*self.success, *(each for action in self.on_success for each in action.criteria))
        selectors = (each for template in self.outputs.values() for each in template.selectors)
        return any(getattr(each, "kind", "") == "xpath" for each in (*criteria, *selectors))

    @cached_property
    def steady(self) -> bool:
        """Whether a visit after a visit asks the same, and makes the same of the same status and body.

        Inputs and the outputs of other steps do not change while a step goes to itself; its own outputs may.
        """
        if self.operation is None or self.timeout is not None:
            return False
        return not any(_may_change(each, self.step_id) for each in (*self.asking, *self.judging))

    @property
    def expressions(self) -> Iterator[Expression]:
        """Every expression of the step, for static checks."""
        actions = (*self.on_success, *self.on_failure)
        yield from self.asking
        if self.channel and self.channel.correlation:
            yield from self.channel.correlation.expressions
        yield from self.judging
        for criterion in (each for action in self.on_failure for each in action.criteria):
            yield from criterion.expressions
        for parameter in (each for action in actions for each in action.parameters):
            yield from parameter.value.expressions

    def call(self, context: Context, notes: Remarks) -> Call:
        """Evaluate what the step asks of its operation. Raises `EvaluationError`; what was dropped goes to `notes`."""
        arguments = []
        context.method = self.operation.method if self.operation else ""
        for each in self.arguments:
            value = each.value.evaluate(context, notes)
            if value is not MISSING:
                arguments.append(Argument(each.name, each.location or "query", value))
            elif each.location == "path":
                raise EvaluationError(f"the path parameter {each.name!r} has no value")
        payload = MISSING if self.payload is None else self.payload.evaluate(context, notes)
        if self.replacements:
            values = [(each.target, each.value.evaluate(context, notes)) for each in self.replacements]
            payload = replaced(payload, self.form, values)
        return Call(tuple(arguments), self.content_type, payload)

    def message(self, context: Context, notes: Remarks) -> tuple[Channel, Message]:
        """Evaluate what the step says on its channel. Raises `EvaluationError`; what was dropped goes to `notes`."""
        if self.channel is None:
            msg = f"the step {self.step_id!r} uses no channel"
            raise AssertionError(msg)
        call = self.call(context, notes)
        return self.channel.channel(call.arguments), self.channel.message(call)


def _may_change(expression: Expression, own: str) -> bool:
    match expression:
        case nodes.HeaderReference() | nodes.RequestParameter() | nodes.MessagePayload():
            return True
        case nodes.Body(side=side):
            return side == "request"
        case nodes.StepReference(step_id=step_id):
            return step_id == own
        case _:
            return False


@dataclass(frozen=True, kw_only=True)
class PlannedWorkflow:
    """A workflow that is ready to be run. `index` maps step ids to positions in `steps`.

    `document` is the name that the plan gives the document that it stands in, "" for the document of the entry;
    `neighbours` are the names of the other Arazzo documents by the name of the source description.
    """

    workflow_id: str
    pointer: str
    steps: tuple[PlannedStep, ...]
    index: Mapping[str, int]
    outputs: Mapping[str, Template]
    inputs: Inputs
    depends_on: tuple[str, ...] = ()
    sources: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    components: Mapping[str, Json] = field(default_factory=dict)
    self_uri: str = ""
    document: str = ""
    neighbours: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def input_names(self) -> frozenset[str]:
        """The names of the declared inputs."""
        return self.inputs.names

    @cached_property
    def secrets(self) -> frozenset[str]:
        """The names of the inputs whose values must not be shown."""
        return self.inputs.secrets

    def leads_back(self, step_id: str, action: PlannedAction) -> bool:
        """Tell whether an action of a step closes a loop: it goes to the step itself or to one before it."""
        return action.type == "goto" and bool(action.step) and self.index[action.step] <= self.index[step_id]

    def prepare(self, given: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """Give the inputs with defaults, and what is wrong with them, a sentence each."""
        values, diagnostics = self.inputs.prepare(given)
        return values, tuple(each.message for each in diagnostics if each.severity == "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A description that can be run from the workflow `entry`. `digest` tells whether it is still the same.

    The keys of `workflows` are workflowIds; those of another document have the way to it before them, the names of
    source descriptions: `refunds#issue`, `refunds/bank#transfer`. `awaited` are the steps that others depend on.
    """

    document: str
    entry: str
    workflows: Mapping[str, PlannedWorkflow]
    digest: str
    redact: Callable[[str], str] = str
    awaited: frozenset[StepKey] = frozenset()

    def shown(self, request: Request) -> str:
        """Give a request's URL as it may be shown and stored."""
        return self.redact(request.url)
