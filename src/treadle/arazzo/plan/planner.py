"""From a description that was opened to a plan: each workflow that can be reached, and all that it needs, resolved."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from treadle.arazzo import model
from treadle.arazzo.criteria import Criterion, compile_criterion
from treadle.arazzo.effective import Effective, effective, expand_parameters, sole_outputs
from treadle.arazzo.expressions import Scope, Template, compile_value
from treadle.arazzo.location import Document, join
from treadle.arazzo.plan.body_parameters import with_body_parameters
from treadle.arazzo.plan.calls import check_called
from treadle.arazzo.plan.channels import plan_channel, uses_channel
from treadle.arazzo.plan.documents import (
    Findings,
    OpenedDescription,
    OpenedSource,
    Part,
    as_written,
)
from treadle.arazzo.plan.messages import PlannedChannel
from treadle.arazzo.plan.operations import find_operation
from treadle.arazzo.plan.order import ordered
from treadle.arazzo.plan.reach import set_aside
from treadle.arazzo.plan.requests import check_media_type, check_parameters, check_path, check_payload, mended
from treadle.arazzo.plan.values import (
    Plan,
    PlannedAction,
    PlannedArgument,
    PlannedStep,
    PlannedWorkflow,
    PlanOptions,
    StepKey,
)
from treadle.arazzo.plan.wanted import wanted
from treadle.arazzo.plan.workflows import Parts
from treadle.arazzo.readers import described
from treadle.arazzo.replacements import Form, PlannedReplacement, TargetError, compile_target, form_of
from treadle.arazzo.slips import did_you_mean
from treadle.errors import Diagnostic
from treadle.seams import MISSING, ArgumentLocation, Operation

__all__ = ["plan", "plan_all"]

Action = model.SuccessAction | model.FailureAction


def plan(
    description: model.Description,
    document: Document,
    sources: Mapping[str, OpenedSource],
    *,
    workflow_id: str | None = None,
    options: PlanOptions | None = None,
) -> tuple[Plan | None, list[Diagnostic]]:
    """Plan a workflow and everything that it can lead to.

    `sources` has an entry for each source description that could matter; it may open them when they are first asked
    for. Without `workflow_id` the description must have one workflow only. The plan is None exactly when a diagnostic
    is an error.
    """
    findings = Findings(options or PlanOptions())
    planner = _Planner(OpenedDescription(description, document, sources), findings)
    entry = planner.entry(workflow_id)
    if entry is not None:
        planner.reach(entry)
        planner.check_dependencies()
        planner.check_awaited()
        findings.diagnostics = set_aside(findings.diagnostics, planner.reached)
    if entry is None or findings.errors:
        return None, findings.diagnostics
    made = Plan(
        document=document.uri,
        entry=entry,
        workflows=planner.workflows,
        digest=_digest(planner.parts),
        redact=findings.options.redact,
        awaited=planner.awaited(),
    )
    return made, findings.diagnostics


def plan_all(
    description: model.Description,
    document: Document,
    sources: Mapping[str, OpenedSource],
    *,
    options: PlanOptions | None = None,
) -> tuple[Mapping[str, PlannedWorkflow], list[Diagnostic]]:
    """Plan every workflow of a description, each once, for a check of the whole of it.

    What has errors is planned as far as it goes: such workflows are good for further checks, and for nothing else.
    """
    findings = Findings(options or PlanOptions())
    planner = _Planner(OpenedDescription(description, document, sources), findings)
    for workflow in description.workflows:
        planner.reach(workflow.workflow_id)
    planner.check_dependencies()
    planner.check_awaited()
    return planner.workflows, findings.diagnostics


def _digest(parts: Parts) -> str:
    """Give the digest of the document, or of all documents where the plan has several."""
    import hashlib  # it loads OpenSSL, which a check does not need

    digests = [part.document.digest for part in parts.all.values()]
    return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


_LOCATIONS: Final[Mapping[str, ArgumentLocation]] = {
    "path": "path",
    "query": "query",
    "header": "header",
    "cookie": "cookie",
    "querystring": "querystring",
    "channel": "path",
}


class _Planner:
    """Plans workflows one by one; what it finds wrong it collects, and goes on, so that a user sees everything."""

    def __init__(self, opened: OpenedDescription, findings: Findings) -> None:
        self.parts = Parts(opened, findings)
        self.workflows: dict[str, PlannedWorkflow] = {}

    # -- workflows ----------------------------------------------------------------------------------------------------

    def entry(self, workflow_id: str | None) -> str | None:
        """Find the workflow to run."""
        part = self.parts.entry
        ids = [each.workflow_id for each in part.description.workflows]
        if workflow_id is None and len(ids) == 1:
            return ids[0]
        if workflow_id is None:
            hint = "name one of: " + ", ".join(ids)
            part.report("workflow-choice", f"the document has {len(ids)} workflows", "/workflows", hint=hint, key=True)
            return None
        if workflow_id not in ids:
            part.report(
                "workflow-choice",
                f"the document has no workflow {workflow_id!r}",
                "/workflows",
                hint=did_you_mean(workflow_id, ids) or "it has: " + ", ".join(ids),
                key=True,
            )
            return None
        return workflow_id

    def reach(self, entry: str) -> None:
        """Plan a workflow and, one after the other, those that it names."""
        waiting = [entry]
        while waiting:
            key = waiting.pop(0)
            part = self.parts.of(key)
            workflow = part.description.workflow(part.workflow_id(key))
            if key in self.workflows or workflow is None:
                continue
            self.workflows[key] = planned = self.workflow(part, workflow)
            waiting += [*planned.depends_on, *(step.workflow for step in planned.steps if step.workflow)]
            actions = [each for step in planned.steps for each in (*step.on_success, *step.on_failure)]
            waiting += [action.workflow for action in actions if action.workflow]

    def check_dependencies(self) -> None:
        """Report workflows that depend on themselves by way of another document; within one a rule does."""
        if len(self.parts.all) == 1:
            return
        for key, workflow in self.workflows.items():
            seen: set[str] = set()
            waiting = list(workflow.depends_on)
            while waiting:
                each = waiting.pop()
                if each == key and any(self.parts.of(other) is not self.parts.of(key) for other in seen):
                    message = (
                        f"the workflow {workflow.workflow_id!r} depends on itself, by way of {', '.join(sorted(seen))}"
                    )
                    self.parts.of(key).report("depends-on", message, f"{workflow.pointer}/dependsOn", key=True)
                    return
                if each not in seen and each in self.workflows:
                    seen.add(each)
                    waiting += self.workflows[each].depends_on

    def workflow(self, part: Part, workflow: model.Workflow) -> PlannedWorkflow:
        """Plan one workflow."""
        callees = {step.step_id: self.callee(part, step) for step in workflow.steps}
        depends_on = self.dependencies(part, workflow)
        scope = self.scope(part, workflow, callees, depends_on)
        steps = [self.step(part, step, workflow, scope, callees[step.step_id]) for step in workflow.steps]
        outputs = _outputs(part, workflow.outputs, scope, f"{workflow.pointer}/outputs")
        in_order = ordered(part, workflow, [_with_implied(step, scope) for step in steps])
        return PlannedWorkflow(
            workflow_id=workflow.workflow_id,
            pointer=workflow.pointer,
            steps=in_order,
            index={step.step_id: position for position, step in enumerate(in_order)},
            outputs=outputs,
            inputs=part.inputs(workflow),
            depends_on=depends_on,
            sources=part.source_fields,
            components=part.component_values,
            self_uri=part.description.self_uri or "",
            document=part.name,
            neighbours=self.parts.neighbours(part),
        )

    def scope(
        self, part: Part, workflow: model.Workflow, callees: Mapping[str, str | None], depends_on: Iterable[str]
    ) -> Scope:
        """Give what expressions of a workflow can refer to."""
        called = {step_id: self.outputs_of(callee) for step_id, callee in callees.items()}
        # The outputs of a called workflow can be used without being declared again (see `machine.returned`).
        steps = {step.step_id: frozenset(step.outputs) | called[step.step_id] for step in workflow.steps}
        return Scope(
            version=part.description.arazzo,
            inputs=part.inputs(workflow).names,
            steps=steps,
            workflows=part.signatures,
            foreign=dict(self.foreign(part, {*callees.values(), *depends_on})),
            sources=frozenset(part.source_fields),
            off=part.options.off,
            strict=part.options.strict,
            notes=[],
            answering=frozenset(step.step_id for step in workflow.steps if step.operation_id or step.operation_path),
            earlier=sole_outputs(workflow, frozenset[str]().union(*called.values())),
            nested={step.step_id: called[step.step_id] - step.outputs.keys() for step in workflow.steps},
            components=part.component_values,
        )

    def foreign(
        self, part: Part, keys: Iterable[str | None]
    ) -> Iterator[tuple[str, tuple[frozenset[str], frozenset[str]]]]:
        """Give the workflows of other documents by their bare ids, with the names of their inputs and outputs."""
        for key in keys:
            there = self.parts.of(key) if key else part
            if key and there is not part:
                workflow_id = there.workflow_id(key)
                yield workflow_id, there.signatures[workflow_id]

    def called(self, key: str) -> tuple[Part, model.Workflow]:
        """Give a workflow of the plan with its document. What was found is there."""
        part = self.parts.of(key)
        workflow = part.description.workflow(part.workflow_id(key))
        if workflow is None:
            raise AssertionError(key)
        return part, workflow

    def outputs_of(self, key: str | None) -> frozenset[str]:
        """Give the names of the outputs of a workflow of the plan."""
        if key is None:
            return frozenset()
        part, workflow = self.called(key)
        return part.signatures[workflow.workflow_id][1]

    def dependencies(self, part: Part, workflow: model.Workflow) -> tuple[str, ...]:
        """Give the keys of the workflows that must have been completed."""
        keys = [
            self.parts.find(part, name, f"{workflow.pointer}/dependsOn/{position}")
            for position, name in enumerate(workflow.depends_on)
        ]
        return tuple(key for key in keys if key is not None)

    @property
    def reached(self) -> dict[str, set[str]]:
        """The pointers of the workflows that are planned, by the label of their document."""
        found: dict[str, set[str]] = {}
        for key, workflow in self.workflows.items():
            found.setdefault(self.parts.of(key).document.label, set()).add(workflow.pointer)
        return found

    # -- dependencies of steps ----------------------------------------------------------------------------------------

    def awaited(self) -> frozenset[StepKey]:
        """Give the steps that others depend on."""
        every = (step for workflow in self.workflows.values() for step in workflow.steps)
        return frozenset(each for step in every for each in step.depends_on)

    def check_awaited(self) -> None:
        """Report steps that depend on something that this plan never runs: `dependsOn` does not run it (§1.5)."""
        for key, workflow in self.workflows.items():
            part = self.parts.of(key)
            for step in workflow.steps:
                for each in step.depends_on:
                    there = self.workflows.get(each.workflow)
                    if there is not None and (each.step in there.index or there is workflow):
                        continue  # that it is not there, in the own workflow, a rule says
                    what = "which nothing here runs" if there is None else f"which {each.workflow!r} does not have"
                    part.report(
                        "step-order",
                        f"the step {step.step_id!r} depends on the step {each.step!r} of {each.workflow!r}, {what}",
                        f"{step.pointer}/dependsOn",
                        key=True,
                        hint="`dependsOn` of a step runs nothing: name the workflow in `dependsOn` of the workflow"
                        if there is None
                        else did_you_mean(each.step, there.index),
                    )

    # -- steps --------------------------------------------------------------------------------------------------------

    def callee(self, part: Part, step: model.Step) -> str | None:
        """Find the workflow that a step calls."""
        if step.workflow_id is None:
            return None
        return self.parts.find(part, step.workflow_id, f"{step.pointer}/workflowId")

    def step(
        self, part: Part, step: model.Step, workflow: model.Workflow, scope: Scope, callee: str | None
    ) -> PlannedStep:
        """Plan one step."""
        holds = effective(step, workflow, part.description.components)
        channel, operation = self.target(part, step, holds, scope)
        body, parameters = step.request_body, holds.parameters
        if operation is not None:
            body, parameters = with_body_parameters(part, step, parameters, _fields(operation, body))
        arguments = _arguments(part, parameters, scope, for_workflow=step.workflow_id is not None)
        if operation is not None:
            check_path(part, operation)
            arguments = mended(part, operation, arguments)
            check_parameters(part, step, operation, arguments)
            if body is not None:
                check_media_type(part, body, operation)
                check_payload(part, body, _media_type(body, operation))
        outputs = _outputs(part, step.outputs, scope, f"{step.pointer}/outputs")
        if callee is not None:
            check_called(part, step, self.called(callee), arguments, outputs)
        form = form_of(_media_type(body, operation))
        depends_on = [self.parts.step(part, workflow.workflow_id, name) for name in step.depends_on]
        return PlannedStep(
            step_id=step.step_id,
            pointer=step.pointer,
            operation=operation,
            channel=channel,
            workflow=callee,
            arguments=arguments,
            content_type=body.content_type if body else None,
            payload=_payload(part, body, operation, scope) if body else None,
            form=form,
            replacements=_replacements(part, body, form, scope) if body else (),
            success=_criteria(part, step.success_criteria, scope),
            on_success=tuple(self.action(part, each, step, workflow, scope) for each in holds.on_success),
            on_failure=tuple(self.action(part, each, step, workflow, scope) for each in holds.on_failure),
            outputs=outputs,
            timeout=step.timeout / 1000 if step.timeout is not None else None,
            depends_on=tuple(each for each in depends_on if each is not None),
            reads_body=_mentions("$response.body", step, holds),
            chooses_by_body=any("$response.body" in text for text in _criteria_texts(holds.on_success)),
            reads_request=_mentions("$request.", step, holds),
            sees_status=_sees_status(part, step, holds),
        )

    def target(
        self, part: Part, step: model.Step, holds: Effective, scope: Scope
    ) -> tuple[PlannedChannel | None, Operation | None]:
        """Find the channel or the operation of a step that does not call a workflow."""
        if step.workflow_id is not None:
            return None, None
        if uses_channel(part, step):
            for each in holds.parameters:
                if each.in_ not in {"header", "path", "channel"}:
                    part.report(
                        "parameter-location",
                        f"the parameter {each.name!r} is `in: {each.in_}`, and messages have only headers",
                        each.pointer,
                        hint="one of: header, channel (for a parameter of the channel's address)",
                    )
            return plan_channel(part, step, scope), None
        if step.action is not None:
            message = f"the step {step.step_id!r} uses no channel, so its `action` means nothing"
            part.report("step-target", message, f"{step.pointer}/action", severity="warning", key=True)
        return None, find_operation(part, step, holds.parameters)

    # -- actions ------------------------------------------------------------------------------------------------------

    def action(
        self, part: Part, action: Action, step: model.Step, workflow: model.Workflow, scope: Scope
    ) -> PlannedAction:
        """Plan an action: find its target, compile its criteria and parameters."""
        limit = action.retry_limit if isinstance(action, model.FailureAction) else None
        parameters = expand_parameters(action.parameters, part.description.components)
        target = action.workflow_id
        return PlannedAction(
            name=action.name,
            type=action.type,
            step=_action_step(part, action, step, workflow),
            workflow=(target and self.parts.find(part, target, f"{action.pointer}/workflowId")) or "",
            retry_after=action.retry_after if isinstance(action, model.FailureAction) else None,
            retry_limit=1 if limit is None else limit,
            criteria=_criteria(part, action.criteria, scope),
            parameters=_arguments(part, parameters, scope, for_workflow=True),
        )


def _with_implied(step: PlannedStep, scope: Scope) -> PlannedStep:
    """Add the outputs that others use of a step, though it does not declare them (dialect `undeclared-output`)."""
    names = scope.implied.get(step.step_id)
    if not names or not scope.allows("undeclared-output"):
        return step
    quiet = Scope(version=scope.version)
    implied = {name: compile_value(f"$response.body#/{name}", quiet, kind="expression") for name in sorted(names)}
    return replace(step, outputs={**step.outputs, **implied}, reads_body=True)


def _action_step(part: Part, action: Action, step: model.Step, workflow: model.Workflow) -> str:
    """Give the id of the step that an action leads to, or "". An unknown one is reported by a rule."""
    target = action.step_id
    if target is None:
        return ""
    if workflow.step(target) is None:
        ids = [each.step_id for each in workflow.steps]
        part.report(
            "unknown-step",
            f"the workflow {workflow.workflow_id!r} has no step {target!r}",
            f"{action.pointer}/stepId",
            hint=did_you_mean(target, ids),
        )
        return ""
    if action.type == "retry" and target == step.step_id:
        part.lenient(
            "retry-self-step",
            f"the retry {action.name!r} names its own step: it is taken as a plain retry",
            f"{action.pointer}/stepId",
        )
    return target


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


def _arguments(
    part: Part, parameters: Iterable[model.Parameter], scope: Scope, *, for_workflow: bool
) -> tuple[PlannedArgument, ...]:
    """Compile the values of parameters."""
    arguments = []
    for parameter in parameters:
        pointer = f"{parameter.pointer}/value"
        value = compile_value(as_written(parameter.value), scope)
        part.taken(scope, pointer)
        location = None if for_workflow else _LOCATIONS.get(parameter.in_ or "")
        if location is None and parameter.in_ is not None and not for_workflow:
            part.report(
                "parameter-location",
                f"the parameter {parameter.name!r} is `in: {parameter.in_}`, where an operation has none",
                parameter.pointer,
                hint="the body is given as `requestBody`",
            )
        arguments.append(PlannedArgument(parameter.name, location, value, parameter.pointer))
    return tuple(arguments)


def _media_type(body: model.RequestBody | None, operation: Operation | None) -> str:
    """Give the media type of a payload: the step's own, else the operation's, JSON before others (§1.12)."""
    if body is not None and body.content_type is not None:
        return body.content_type
    types = operation.request_media_types if operation else ()
    return next((each for each in types if form_of(each) == "json"), types[0] if types else "")


def _fields(operation: Operation, body: model.RequestBody | None) -> Collection[str]:
    """Give the names of the fields that an operation describes for a body."""
    described = wanted(operation.request_schema(_media_type(body, operation)))
    return set(described["properties"]) if described is not None else set()


def _payload(part: Part, body: model.RequestBody, operation: Operation | None, scope: Scope) -> Template | None:
    """Compile the payload; its media type decides how text is put into a string template."""
    if body.payload is MISSING:
        return None
    media_type = _media_type(body, operation) or None
    schema = operation.request_schema(media_type or "") if operation else None
    needed = operation is not None and operation.body_required
    compiled = compile_value(
        body.payload, scope, kind="payload", media_type=media_type, schema=wanted(schema), required=needed
    )
    part.taken(scope, f"{body.pointer}/payload")
    return compiled


def _replacements(part: Part, body: model.RequestBody, form: Form, scope: Scope) -> tuple[PlannedReplacement, ...]:
    """Compile the replacements."""
    compiled = []
    for each in body.replacements:
        value = compile_value(as_written(each.value), scope)
        part.taken(scope, f"{each.pointer}/value")
        stated = each.target_selector_type
        kind, version = (stated.type, stated.version) if isinstance(stated, model.ExpressionType) else (stated, "")
        if kind is None and form != "xml" and each.target.startswith("$"):
            part.lenient("untyped-target", f"{each.target!r} is taken as a JSONPath", f"{each.pointer}/target")
            kind = "jsonpath"
        try:
            compiled.append(PlannedReplacement(compile_target(each.target, kind, version, form), value))
        except TargetError as error:
            meant = f"/{each.target.replace('.', '/')}" if _MEMBER.fullmatch(each.target) else ""
            hint = f"did you mean {meant}?" if meant else ""
            part.report("replacement-target", str(error), f"{each.pointer}/target", hint=hint, instead=meant)
    return tuple(compiled)


_MEMBER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*(?:\.[A-Za-z0-9_\-]+)*")


def _outputs(part: Part, outputs: Mapping[str, model.OutputValue], scope: Scope, pointer: str) -> dict[str, Template]:
    """Compile outputs."""
    compiled = {}
    for name, value in outputs.items():
        here = join(pointer, name)
        usual = isinstance(value, str | model.Selector)
        if not usual:
            message = f"the output `{name}` is {described(value)}, not an expression; it is made as it stands"
            part.lenient("output-value", message, here)
        elif isinstance(value, str) and value.startswith("//"):
            part.lenient("xpath-output", f"the output `{name}` is an XPath; it looks at $response.body", here)
            value = {"context": "$response.body", "selector": value, "type": "xpath"}  # noqa: PLW2901  (what is meant)
        compiled[name] = compile_value(as_written(value), scope, kind="expression" if usual else "value")
        part.taken(scope, here)
    return compiled


def _criteria(part: Part, criteria: Iterable[model.Criterion], scope: Scope) -> tuple[Criterion, ...]:
    """Compile criteria."""
    compiled = []
    for each in criteria:
        version = each.version or None
        compiled.append(compile_criterion(each.condition, scope, type=each.kind, version=version, context=each.context))
        part.taken(scope, each.pointer)
    return tuple(compiled)


def _sees_status(part: Part, step: model.Step, holds: Effective) -> bool:
    """Tell whether a step that calls a workflow, and so has no answer of its own, looks at a status."""
    if step.workflow_id is None or not _mentions("$statusCode", step, holds):
        return False
    message = f"the step {step.step_id!r} calls a workflow; $statusCode is taken as the status of the last answer in it"
    part.lenient("workflow-step-status", message, step.pointer)
    return True


def _mentions(text: str, step: model.Step, holds: Effective) -> bool:
    """Tell whether criteria, actions or outputs of a step mention an expression.

    Textual on purpose: a mention that is not really read costs a little time, one that is overlooked a wrong result.
    """
    actions: list[Action] = [*holds.on_success, *holds.on_failure]
    texts = [f"{each.context} {each.condition}" for each in step.success_criteria]
    texts += _criteria_texts(actions)
    texts += [str(each) for each in step.outputs.values()]
    texts += [str(each.parameters) for each in actions]
    return any(text in each for each in texts)


def _criteria_texts(actions: Iterable[Action]) -> list[str]:
    return [f"{each.context} {each.condition}" for action in actions for each in action.criteria]
