"""Everything that can be resolved before the first request, resolved.

`plan` takes a built description and the sources that were opened for it, and gives either a `Plan`, in which every
operation is bound, every expression and criterion is compiled and every target is known, or the diagnostics that say
why there is none. So what is wrong with a document is known before anything is sent.

What is checked elsewhere: the structure of the document (`build`), its rules (`rules`), inputs (`inputs`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from treadle.arazzo import model
from treadle.arazzo.criteria import Criterion, compile_criterion
from treadle.arazzo.effective import effective, expand_parameters
from treadle.arazzo.expressions import Context, EvaluationError, Note, Scope, Template, compile_value
from treadle.arazzo.inputs import Inputs
from treadle.arazzo.location import Document, join
from treadle.arazzo.rules import dialect
from treadle.errors import Diagnostic, Severity
from treadle.seams import MISSING, Argument, ArgumentLocation, Call, Json, Operation, Request, Source

__all__ = [
    "OpenedSource",
    "Plan",
    "PlanOptions",
    "PlannedAction",
    "PlannedArgument",
    "PlannedReplacement",
    "PlannedStep",
    "PlannedWorkflow",
    "plan",
]


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source description after an attempt to open it.

    `problem` says why it could not be read. Both `source` and `problem`: it could not be read, but a server was named
    for it, so steps that spell their request out can be sent there.
    """

    source: Source | None
    problem: Diagnostic | None = None
    base_url: str = ""


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
class PlannedReplacement:
    """A place in the payload (JSON Pointer tokens) and what to put there."""

    tokens: tuple[str, ...]
    value: Template


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step that is ready to be tried. Exactly one of `operation` and `workflow` (a key of the plan) is set."""

    step_id: str
    pointer: str
    operation: Operation | None = None
    workflow: str | None = None
    arguments: tuple[PlannedArgument, ...] = ()
    content_type: str | None = None
    payload: Template | None = None
    replacements: tuple[PlannedReplacement, ...] = ()
    success: tuple[Criterion, ...] = ()
    on_success: tuple[PlannedAction, ...] = ()
    on_failure: tuple[PlannedAction, ...] = ()
    outputs: Mapping[str, Template] = field(default_factory=dict)
    timeout: float | None = None
    reads_body: bool = False
    """Whether criteria, actions or outputs look at the response body: then it must be what its media type says."""
    chooses_by_body: bool = False
    """Whether the criteria of success actions look at the response body: without one nobody can tell what is next."""
    reads_request: bool = False

    @property
    def bound(self) -> Operation:
        """The operation of a step that has one."""
        if self.operation is None:
            msg = f"the step {self.step_id!r} calls a workflow"
            raise AssertionError(msg)
        return self.operation

    def call(self, context: Context, notes: list[str]) -> Call:
        """Evaluate what the step asks of its operation. Raises `EvaluationError`; what was dropped goes to `notes`."""
        arguments = []
        for each in self.arguments:
            value = each.value.evaluate(context, notes)
            if value is not MISSING:
                arguments.append(Argument(each.name, each.location or "query", value))
            elif each.location == "path":
                raise EvaluationError(f"the path parameter {each.name!r} has no value")
        payload = MISSING if self.payload is None else self.payload.evaluate(context, notes)
        for replacement in self.replacements:
            payload = _replaced(payload, replacement.tokens, replacement.value.evaluate(context, notes))
        return Call(tuple(arguments), self.content_type, payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWorkflow:
    """A workflow that is ready to be run. `index` maps step ids to positions in `steps`."""

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

    @property
    def input_names(self) -> frozenset[str]:
        """The names of the declared inputs."""
        return self.inputs.names

    @property
    def secrets(self) -> frozenset[str]:
        """The names of the inputs whose values must not be shown."""
        return self.inputs.secrets

    def prepare(self, given: Mapping[str, Json]) -> tuple[dict[str, Json], tuple[str, ...]]:
        """Give the inputs with defaults, and what is wrong with them, a sentence each."""
        values, diagnostics = self.inputs.prepare(given)
        return values, tuple(each.message for each in diagnostics if each.severity == "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A description that can be run from the workflow `entry`. `digest` tells whether it is still the same."""

    document: str
    entry: str
    workflows: Mapping[str, PlannedWorkflow]
    digest: str
    redact: Callable[[str], str] = str

    def shown(self, request: Request) -> str:
        """Give a request's URL as it may be shown and stored."""
        return self.redact(request.url)


def plan(
    description: model.Description,
    document: Document,
    sources: Mapping[str, OpenedSource],
    *,
    workflow_id: str | None = None,
    options: PlanOptions | None = None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """Plan a workflow and everything that it can lead to.

    `sources` has an entry for each source description that could matter. Without `workflow_id` the description must
    have one workflow only. The plan is None exactly when a diagnostic is an error.
    """
    planner = _Planner(description, document, sources, options or PlanOptions())
    entry = planner.entry(workflow_id)
    if entry is not None:
        planner.reach(entry)
    if entry is None or any(each.severity == "error" for each in planner.diagnostics):
        return None, planner.diagnostics
    made = Plan(
        document=document.uri,
        entry=entry,
        workflows=planner.workflows,
        digest=document.digest,
        redact=planner.options.redact,
    )
    return made, planner.diagnostics


def _replaced(payload: Json, tokens: Sequence[str], value: Json) -> Json:
    """Put a value where the tokens lead, as RFC 6902's `add` does: parents must exist, `-` appends."""
    if not tokens:
        return value
    head, *rest = tokens
    if isinstance(payload, dict):
        if rest and head not in payload:
            raise EvaluationError(f"the payload has no member {head!r} to replace something in")
        if value is MISSING and not rest:
            return {key: each for key, each in payload.items() if key != head}
        return {**payload, head: _replaced(payload.get(head), rest, value)}
    if isinstance(payload, list):
        position = len(payload) if head == "-" else int(head) if head.isdecimal() else -1
        if not 0 <= position <= len(payload) - bool(rest):
            raise EvaluationError(f"the payload has no element {head!r} to replace")
        before, after = payload[:position], payload[position + 1 :]
        old = payload[position] if position < len(payload) else None
        return [*before, _replaced(old, rest, value), *after]
    raise EvaluationError(f"the payload has nothing at {head!r} to replace something in")


_LOCATIONS: Final[Mapping[str, ArgumentLocation]] = {
    "path": "path",
    "query": "query",
    "header": "header",
    "cookie": "cookie",
    "querystring": "querystring",
}


class _Planner:
    """Plans workflows one by one; what it finds wrong it collects, and goes on, so that a user sees everything."""

    def __init__(
        self,
        description: model.Description,
        document: Document,
        sources: Mapping[str, OpenedSource],
        options: PlanOptions,
    ) -> None:
        self.description = description
        self.document = document
        self.opened = sources
        self.options = options
        self.workflows: dict[str, PlannedWorkflow] = {}
        self.diagnostics: list[Diagnostic] = []
        self.source_fields: dict[str, dict[str, Json]] = {
            each.name: {"url": each.url, "type": each.type} for each in description.source_descriptions
        }
        self.signatures: dict[str, tuple[frozenset[str], frozenset[str]]] = {
            each.workflow_id: (_declared(each.inputs), frozenset(each.outputs)) for each in description.workflows
        }

    # -- findings -----------------------------------------------------------------------------------------------------

    def report(
        self, rule: str, message: str, pointer: str, *, severity: Severity = "error", hint: str = "", key: bool = False
    ) -> None:
        place = self.document.place(pointer, key=key)
        self.diagnostics.append(Diagnostic(rule, message, place, severity, hint))

    def lenient(self, rule: str, message: str, pointer: str, *, hint: str = "") -> None:
        """Report that a dialect rule was needed: an error where it is switched off."""
        refused = self.options.strict or rule in self.options.off
        known = dialect.RULES[rule]
        self.report(
            rule, message, pointer, severity="error" if refused else known.severity, hint=hint or known.properly
        )

    def taken(self, scope: Scope, pointer: str) -> None:
        """Turn the notes of a compilation into diagnostics, each at its place."""
        notes: list[Note] = list(scope.notes)
        scope.notes.clear()
        for note in notes:
            place = self.document.place(pointer + note.pointer)
            self.diagnostics.append(Diagnostic(note.rule, note.message, place, note.severity, note.hint))

    # -- workflows ----------------------------------------------------------------------------------------------------

    def entry(self, workflow_id: str | None) -> str | None:
        """Find the workflow to run."""
        ids = [each.workflow_id for each in self.description.workflows]
        if workflow_id is None and len(ids) == 1:
            return ids[0]
        if workflow_id is None:
            hint = "name one of: " + ", ".join(ids)
            self.report("workflow-choice", f"the document has {len(ids)} workflows", "/workflows", hint=hint, key=True)
            return None
        if workflow_id not in ids:
            self.report(
                "workflow-choice",
                f"the document has no workflow {workflow_id!r}",
                "/workflows",
                hint=_did_you_mean(workflow_id, ids) or "it has: " + ", ".join(ids),
                key=True,
            )
            return None
        return workflow_id

    def reach(self, entry: str) -> None:
        """Plan a workflow and, one after the other, those that it names."""
        waiting = [entry]
        while waiting:
            key = waiting.pop(0)
            workflow = self.description.workflow(key)
            if key in self.workflows or workflow is None:
                continue
            self.workflows[key] = planned = self.workflow(workflow)
            waiting += [*planned.depends_on, *(step.workflow for step in planned.steps if step.workflow)]
            actions = [each for step in planned.steps for each in (*step.on_success, *step.on_failure)]
            waiting += [action.workflow for action in actions if action.workflow]

    def workflow(self, workflow: model.Workflow) -> PlannedWorkflow:
        """Plan one workflow."""
        scope = self.scope(workflow)
        steps = tuple(self.step(step, workflow, scope) for step in workflow.steps)
        schema = {} if workflow.inputs is None else workflow.inputs
        return PlannedWorkflow(
            workflow_id=workflow.workflow_id,
            pointer=workflow.pointer,
            steps=steps,
            index={step.step_id: position for position, step in enumerate(steps)},
            outputs=self.outputs(workflow.outputs, scope, f"{workflow.pointer}/outputs"),
            inputs=Inputs(schema, self.document, join(workflow.pointer, "inputs"), strict=self.options.strict),
            depends_on=self.dependencies(workflow),
            sources=self.source_fields,
            components=self.component_values(),
            self_uri=self.description.self_uri or "",
        )

    def scope(self, workflow: model.Workflow) -> Scope:
        """Give what expressions of a workflow can refer to."""
        steps = {}
        for step in workflow.steps:
            declared = frozenset(step.outputs)
            callee = self.signatures.get(step.workflow_id or "")
            # The outputs of a called workflow can be used without being declared again (see `machine.returned`).
            steps[step.step_id] = declared | callee[1] if callee else declared
        return Scope(
            version=self.description.arazzo,
            inputs=_declared(workflow.inputs),
            steps=steps,
            workflows=self.signatures,
            sources=frozenset(self.source_fields),
            off=self.options.off,
            strict=self.options.strict,
            notes=[],
        )

    def component_values(self) -> Mapping[str, Json]:
        value = self.document.value.get("components") if isinstance(self.document.value, dict) else None
        return value if isinstance(value, dict) else {}

    def dependencies(self, workflow: model.Workflow) -> tuple[str, ...]:
        """Give the keys of the workflows that must have been completed; unknown ones are reported by a rule."""
        keys = []
        for position, name in enumerate(workflow.depends_on):
            if name.startswith("$sourceDescriptions."):
                self.foreign(name, f"{workflow.pointer}/dependsOn/{position}")
            elif self.description.workflow(name):
                keys.append(name)
        return tuple(keys)

    def foreign(self, name: str, pointer: str) -> None:
        self.report(
            "foreign-workflow",
            f"{name}: workflows of other documents cannot be run yet",
            pointer,
            hint="copy the workflow into this document",
        )

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(self, step: model.Step, workflow: model.Workflow, scope: Scope) -> PlannedStep:
        """Plan one step."""
        holds = effective(step, workflow, self.description.components)
        self.refuse_unsupported(step, workflow)
        operation = self.operation(step, holds.parameters) if step.workflow_id is None else None
        callee = self.callee(step) if step.workflow_id is not None else None
        arguments = self.arguments(holds.parameters, scope, for_workflow=step.workflow_id is not None)
        if operation is not None:
            self.required(step, operation, arguments)
        body = step.request_body
        return PlannedStep(
            step_id=step.step_id,
            pointer=step.pointer,
            operation=operation,
            workflow=callee,
            arguments=arguments,
            content_type=body.content_type if body else None,
            payload=self.payload(body, operation, scope) if body else None,
            replacements=self.replacements(body, scope) if body else (),
            success=self.criteria(step.success_criteria, scope),
            on_success=tuple(self.action(each, step, workflow, scope) for each in holds.on_success),
            on_failure=tuple(self.action(each, step, workflow, scope) for each in holds.on_failure),
            outputs=self.outputs(step.outputs, scope, f"{step.pointer}/outputs"),
            timeout=step.timeout / 1000 if step.timeout is not None else None,
            reads_body=_mentions("$response.body", step, holds.on_success, holds.on_failure),
            chooses_by_body=any("$response.body" in text for text in _criteria_texts(holds.on_success)),
            reads_request=_mentions("$request.", step, holds.on_success, holds.on_failure),
        )

    def refuse_unsupported(self, step: model.Step, workflow: model.Workflow) -> None:
        """Say what the engine cannot do yet, before anything is sent."""
        if step.channel_path is not None:
            self.report(
                "asyncapi-step",
                f"the step {step.step_id!r} uses an AsyncAPI channel, and no transport for channels is configured",
                f"{step.pointer}/channelPath",
            )
        before = {each.step_id for each in workflow.steps[: _position(step, workflow)]}
        for position, name in enumerate(step.depends_on):
            if name not in before:
                self.report(
                    "step-order",
                    f"the step {step.step_id!r} depends on {name!r}, which does not stand before it",
                    f"{step.pointer}/dependsOn/{position}",
                    hint="steps run in the order of the document: put the step that is needed first",
                )

    def callee(self, step: model.Step) -> str | None:
        """Find the workflow that a step calls."""
        name = step.workflow_id or ""
        pointer = f"{step.pointer}/workflowId"
        if name.startswith("$sourceDescriptions."):
            self.foreign(name, pointer)
        elif self.description.workflow(name) is None:
            hint = _did_you_mean(name, self.signatures)
            self.report("unknown-workflow", f"there is no workflow {name!r}", pointer, hint=hint)
        else:
            return name
        return None

    def arguments(
        self, parameters: Iterable[model.Parameter], scope: Scope, *, for_workflow: bool
    ) -> tuple[PlannedArgument, ...]:
        """Compile the values of parameters."""
        arguments = []
        for parameter in parameters:
            pointer = f"{parameter.pointer}/value"
            value = compile_value(_plain(parameter.value), scope)
            self.taken(scope, pointer)
            location = None if for_workflow else _LOCATIONS.get(parameter.in_ or "")
            if location is None and not for_workflow:
                said = f"in: {parameter.in_}" if parameter.in_ else "no `in`"
                self.report(
                    "parameter-location",
                    f"the parameter {parameter.name!r} has {said}; it must say where it goes",
                    parameter.pointer,
                    hint="one of: " + ", ".join(_LOCATIONS),
                )
            arguments.append(PlannedArgument(parameter.name, location, value, parameter.pointer))
        return tuple(arguments)

    def required(self, step: model.Step, operation: Operation, arguments: Iterable[PlannedArgument]) -> None:
        """Report path parameters that nothing fills: such a request cannot be built."""
        given = {each.name for each in arguments if each.location == "path"}
        for declared in operation.parameters:
            if declared.location == "path" and declared.name not in given:
                self.report(
                    "missing-parameter",
                    f"the operation {operation.operation_id or operation.path!r} needs the path parameter "
                    f"{declared.name!r}",
                    step.pointer,
                    hint=f"add to `parameters`: {{name: {declared.name}, in: path, value: …}}",
                )

    def payload(self, body: model.RequestBody, operation: Operation | None, scope: Scope) -> Template | None:
        """Compile the payload; its media type decides how text is put into a string template."""
        if body.payload is MISSING:
            return None
        types = operation.request_media_types if operation else ()
        media_type = body.content_type or (types[0] if types else None)
        compiled = compile_value(body.payload, scope, kind="payload", media_type=media_type)
        self.taken(scope, f"{body.pointer}/payload")
        return compiled

    def replacements(self, body: model.RequestBody, scope: Scope) -> tuple[PlannedReplacement, ...]:
        """Compile the replacements: JSON Pointer targets."""
        compiled = []
        for each in body.replacements:
            value = compile_value(_plain(each.value), scope)
            self.taken(scope, f"{each.pointer}/value")
            selector = each.target_selector_type
            kind = selector.type if isinstance(selector, model.ExpressionType) else selector
            target = each.target.removeprefix("#")
            if kind not in {None, "jsonpointer"} or (target and not target.startswith("/")):
                self.report(
                    "replacement-target",
                    f"only JSON Pointer targets can be replaced yet, not {each.target!r}",
                    f"{each.pointer}/target",
                )
                continue
            tokens = tuple(token.replace("~1", "/").replace("~0", "~") for token in target.split("/")[1:])
            compiled.append(PlannedReplacement(tokens, value))
        return tuple(compiled)

    def outputs(self, outputs: Mapping[str, model.OutputValue], scope: Scope, pointer: str) -> dict[str, Template]:
        """Compile outputs."""
        compiled = {}
        for name, value in outputs.items():
            compiled[name] = compile_value(_plain(value), scope, kind="expression")
            self.taken(scope, join(pointer, name))
        return compiled

    def criteria(self, criteria: Iterable[model.Criterion], scope: Scope) -> tuple[Criterion, ...]:
        """Compile criteria."""
        compiled = []
        for each in criteria:
            version = each.version or None
            compiled.append(
                compile_criterion(each.condition, scope, type=each.kind, version=version, context=each.context)
            )
            self.taken(scope, f"{each.pointer}/condition")
        return tuple(compiled)

    def action(
        self,
        action: model.SuccessAction | model.FailureAction,
        step: model.Step,
        workflow: model.Workflow,
        scope: Scope,
    ) -> PlannedAction:
        """Plan an action: find its target, compile its criteria and parameters."""
        limit = action.retry_limit if isinstance(action, model.FailureAction) else None
        parameters = expand_parameters(action.parameters, self.description.components)
        return PlannedAction(
            name=action.name,
            type=action.type,
            step=self.action_step(action, step, workflow),
            workflow=self.action_workflow(action),
            retry_after=action.retry_after if isinstance(action, model.FailureAction) else None,
            retry_limit=1 if limit is None else limit,
            criteria=self.criteria(action.criteria, scope),
            parameters=self.arguments(parameters, scope, for_workflow=True),
        )

    def action_step(
        self, action: model.SuccessAction | model.FailureAction, step: model.Step, workflow: model.Workflow
    ) -> str:
        """Give the id of the step that an action leads to, or "". An unknown one is reported by a rule."""
        target = action.step_id
        if target is None:
            return ""
        if workflow.step(target) is None:
            ids = [each.step_id for each in workflow.steps]
            self.report(
                "unknown-step",
                f"the workflow {workflow.workflow_id!r} has no step {target!r}",
                f"{action.pointer}/stepId",
                hint=_did_you_mean(target, ids),
            )
            return ""
        if action.type == "retry" and target == step.step_id:
            self.lenient(
                "retry-self-step",
                f"the retry {action.name!r} names its own step: it is taken as a plain retry",
                f"{action.pointer}/stepId",
            )
        return target

    def action_workflow(self, action: model.SuccessAction | model.FailureAction) -> str:
        """Give the key of the workflow that an action leads to, or ""."""
        target = action.workflow_id
        if target is None:
            return ""
        pointer = f"{action.pointer}/workflowId"
        if target.startswith("$sourceDescriptions."):
            self.foreign(target, pointer)
        elif self.description.workflow(target) is None:
            hint = _did_you_mean(target, self.signatures)
            self.report("unknown-workflow", f"there is no workflow {target!r}", pointer, hint=hint)
        else:
            return target
        return ""

    # -- operations ---------------------------------------------------------------------------------------------------

    def operation(self, step: model.Step, parameters: Sequence[model.Parameter]) -> Operation | None:
        """Find the operation of a step."""
        if step.operation_id is not None:
            return self.by_id(step, parameters)
        if step.operation_path is not None:
            return self.by_path(step)
        return None

    def by_id(self, step: model.Step, parameters: Sequence[model.Parameter]) -> Operation | None:
        """Find an operation by `operationId`: qualified, or in all sources that describe operations."""
        written = step.operation_id or ""
        pointer = f"{step.pointer}/operationId"
        name, operation_id = self.qualified(written)
        if name:
            candidates = [name]
        else:
            described = self.description.source_descriptions
            candidates = [each.name for each in described if each.type not in {"arazzo", "asyncapi"}]
        found = [(each, self.opened[each]) for each in candidates if each in self.opened]
        matches = [
            (each, opened, operation)
            for each, opened in found
            if opened.source is not None
            for operation in opened.source.find(operation_id)
        ]
        readable = [match for match in matches if match[1].problem is None]
        matches = readable or matches
        if not matches:
            self.unresolved(step, operation_id, found, pointer)
            return None
        if len(matches) > 1:
            places = ", ".join(f"{each}: {operation.method} {operation.path}" for each, _, operation in matches)
            self.report(
                "ambiguous-operation",
                f"the operationId {operation_id!r} is not unique: {places}",
                pointer,
                hint=f"write $sourceDescriptions.<name>.{operation_id}, or mend the API description",
            )
            return None
        chosen, opened, operation = matches[0]
        if opened.problem is not None:
            return self.spelled_out(step, parameters, chosen, opened, operation)
        if not name and len(candidates) > 1:
            self.lenient(
                "unqualified-operation-id",
                f"there are {len(candidates)} sources; {operation_id!r} was found in {chosen!r} only",
                pointer,
                hint=f"write $sourceDescriptions.{chosen}.{operation_id}",
            )
        elif name and not written.startswith("$"):
            self.lenient(
                "unqualified-operation-id",
                f"{written!r} is taken as the operation {operation_id!r} of the source {name!r}",
                pointer,
                hint=f"write $sourceDescriptions.{name}.{operation_id}",
            )
        return operation

    def qualified(self, written: str) -> tuple[str, str]:
        """Split `$sourceDescriptions.<name>.<operationId>`, also without the first word (dialect)."""
        rest = written.strip("{}").removeprefix("$sourceDescriptions.")
        for name in sorted(self.source_fields, key=len, reverse=True):
            if rest.startswith(f"{name}."):
                return name, rest[len(name) + 1 :]
        return "", written

    def spelled_out(
        self,
        step: model.Step,
        parameters: Sequence[model.Parameter],
        name: str,
        opened: OpenedSource,
        operation: Operation,
    ) -> Operation | None:
        """Use a source that could not be read, for a step that says everything itself."""
        problem = opened.problem
        if not any(each.in_ == "header" and each.name.lower() == "x-amz-target" for each in parameters):
            self.report(
                "source-unreadable",
                f"the source {name!r} cannot be read, and the step {step.step_id!r} does not spell its request out",
                f"{step.pointer}/operationId",
                hint=problem.message if problem else "",
            )
            return None
        self.lenient(
            "source-unreadable",
            f"the source {name!r} cannot be read; the step {step.step_id!r} is sent as it is spelled out, "
            f"POST {opened.base_url}",
            f"{step.pointer}/operationId",
            hint=problem.message if problem else "",
        )
        return operation

    def unresolved(
        self, step: model.Step, operation_id: str, found: Sequence[tuple[str, OpenedSource]], pointer: str
    ) -> None:
        """Report an operation that is in no source."""
        problems = [opened.problem for _, opened in found if opened.source is None and opened.problem]
        if problems:
            for problem in problems:
                if problem not in self.diagnostics:
                    self.diagnostics.append(replace(problem, severity="error"))
            return
        ids = [each.operation_id for _, opened in found if opened.source for each in opened.source.operations()]
        names = ", ".join(name for name, _ in found) or "no source"
        self.report(
            "unknown-operation",
            f"the step {step.step_id!r} needs the operation {operation_id!r}, which is not in {names}",
            pointer,
            hint=_did_you_mean(operation_id, ids),
        )

    def by_path(self, step: model.Step) -> Operation | None:
        """Find an operation by `operationPath`: the source, then a JSON Pointer into it."""
        written = step.operation_path or ""
        pointer = f"{step.pointer}/operationPath"
        head, hash_sign, fragment = written.partition("#")
        name = self.path_source(head)
        if not hash_sign or name is None:
            self.report(
                "operation-path",
                f"{written!r} does not name a source and a place in it",
                pointer,
                hint="the form is '{$sourceDescriptions.<name>.url}#/paths/~1pets/get'",
            )
            return None
        if head != f"{{$sourceDescriptions.{name}.url}}":
            self.lenient("operation-path-unbraced", f"{head!r} is taken as the source {name!r}", pointer)
        opened = self.opened.get(name)
        if opened is None or opened.source is None or opened.problem is not None:
            if opened and opened.problem:
                self.diagnostics.append(replace(opened.problem, severity="error"))
            return None
        operation = opened.source.at(fragment)
        if operation is None:
            paths = [f"/paths/{_escaped(each.path)}/{each.method.lower()}" for each in opened.source.operations()]
            self.report(
                "unknown-operation",
                f"the source {name!r} has no operation at {fragment!r}",
                pointer,
                hint=_did_you_mean(fragment, paths),
            )
        return operation

    def path_source(self, head: str) -> str | None:
        """Give the name of the source in the first part of an `operationPath`, in any of the forms people write."""
        inner = head.strip("{}").removeprefix("$sourceDescriptions.").removesuffix(".url")
        return inner if inner in self.source_fields else None


def _escaped(path: str) -> str:
    return path.replace("~", "~0").replace("/", "~1")


def _position(step: model.Step, workflow: model.Workflow) -> int:
    return next(position for position, each in enumerate(workflow.steps) if each is step)


def _declared(schema: Json) -> frozenset[str]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else frozenset()


def _plain(value: Json) -> Json:
    """Give a value as the document has it: a Selector Object is compiled where its members stand."""
    if not isinstance(value, model.Selector):
        return value
    kind = value.type
    written = {"type": kind.type, "version": kind.version} if isinstance(kind, model.ExpressionType) else kind
    return {"context": value.context, "selector": value.selector, "type": written}


def _mentions(
    text: str,
    step: model.Step,
    on_success: Iterable[model.SuccessAction],
    on_failure: Iterable[model.FailureAction],
) -> bool:
    """Tell whether criteria, actions or outputs of a step mention an expression.

    Textual on purpose: a mention that is not really read costs a little time, one that is overlooked a wrong result.
    """
    actions: list[model.SuccessAction | model.FailureAction] = [*on_success, *on_failure]
    texts = [f"{each.context} {each.condition}" for each in step.success_criteria]
    texts += _criteria_texts(actions)
    texts += [str(each) for each in step.outputs.values()]
    texts += [str(each.parameters) for each in actions]
    return any(text in each for each in texts)


def _criteria_texts(actions: Iterable[model.SuccessAction | model.FailureAction]) -> list[str]:
    return [f"{each.context} {each.condition}" for action in actions for each in action.criteria]


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
