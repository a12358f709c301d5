"""What of a description can be rewritten: a walk over its workflows as they were planned.

The names that a workflow knows decide how an expression is read, so everything is looked at in the scope of the
workflow that uses it. A component can be used by several: it is rewritten only if all of them would have the same text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from treadle.arazzo.criteria import language_of
from treadle.arazzo.effective import effective, sole_outputs
from treadle.arazzo.expressions import Scope
from treadle.arazzo.fixes.conditions import rewritten
from treadle.arazzo.fixes.edits import Change, Editor
from treadle.arazzo.fixes.expressions import in_text, proper
from treadle.arazzo.location import Document, join, tokens
from treadle.arazzo.model import Criterion, Description, FailureAction, Parameter, Step, SuccessAction, Workflow
from treadle.arazzo.plan.operations import path_of
from treadle.arazzo.plan.values import PlannedAction, PlannedStep, PlannedWorkflow
from treadle.errors import Diagnostic
from treadle.seams import MISSING, Json

__all__ = ["applied", "proposed", "repairs"]


def proposed(
    document: Document,
    description: Description,
    workflows: Mapping[str, PlannedWorkflow],
    found: Iterable[Diagnostic],
) -> list[Change]:
    """Give the changes that can be made, all of them at once. `found` are the findings of the check.

    What the text of the document does not let be changed for certain is left out.
    """
    reported = {(each.rule, each.place.pointer): each for each in found if each.place and each.severity != "error"}
    votes: dict[str, list[list[Change]]] = {}
    for workflow in description.workflows:
        planned = workflows.get(workflow.workflow_id)
        if planned is None:
            continue
        scope = _scope(description, workflows, workflow, planned)
        walk = _Walk(document, description, workflow, planned, scope, reported)
        for pointer, changes in walk.places():
            votes.setdefault(pointer, []).append(changes)
    agreed = [each[0] for each in votes.values() if all(other == each[0] for other in each)]
    groups = [changes for changes in agreed if changes]
    editor = Editor(document) if groups else None
    changes = [change for changes in groups if editor and editor.can(changes) for change in changes]
    # What moves has its turn when nothing inside of it is to be written otherwise any more.
    return [each for each in changes if each.what != "moved"] or changes


def repairs(document: Document, found: Iterable[Diagnostic]) -> list[Change]:
    """Give the changes that put errors, and sources that are found elsewhere, right, as far as the text lets them."""
    wanted = {
        Change(each.place.pointer, each.rule, each.repair.text, what=each.repair.what): None
        for each in found
        if each.repair and each.place and each.place.document == document.label
        if each.severity == "error" or each.rule == "source-root-relative"
    }
    editor = Editor(document) if wanted else None
    return [change for change in wanted if editor and editor.can([change])]


def applied(value: Json, changes: Iterable[Change]) -> Json:
    """Give the value of the document that the changes must lead to: what the edited text is held against."""
    whole = [copy.deepcopy(value)]
    # From the inside out: a new shape or name changes the way to what is inside.
    for change in sorted(changes, key=lambda each: (-len(tokens(each.pointer)), each.what == "key")):
        way = ["0", *tokens(change.pointer)]
        holder: Any = whole
        for name in way[:-1]:
            holder = holder[int(name)] if isinstance(holder, list) else holder[name]
        last = int(way[-1]) if isinstance(holder, list) else way[-1]
        if change.before is not None:
            holder[last][change.before[0]] = change.before[1]
        elif change.what == "moved":
            _move(holder, change)
        elif change.what == "key":
            _rename(holder, last, change.text)
        elif change.what != "value":
            holder[last] = _reshaped(holder[last], change)
        elif change.text is not None:
            holder[last] = change.text
        else:
            del holder[last]
    return whole[0]


def _rename(holder: Any, name: Any, to: str | None) -> None:
    members = [(to if key == name else key, each) for key, each in holder.items()]
    holder.clear()
    holder.update(members)


def _move(step: Any, change: Change) -> None:
    inside = {each["name"]: each["value"] for each in step["parameters"] if each.get("in") == "body"}
    left = [each for each in step.pop("parameters") if each.get("in") != "body"]
    step["requestBody"] = {"payload": next(iter(inside.values())) if change.text == "payload" else inside}
    if left:
        step["parameters"] = left


def _reshaped(value: Any, change: Change) -> Json:
    if change.what == "joined":
        return {name: member for each in value for name, member in each.items()}
    return [value] if change.what == "listed" else {str(change.text): value}


def _scope(
    description: Description, workflows: Mapping[str, PlannedWorkflow], workflow: Workflow, planned: PlannedWorkflow
) -> Scope:
    """Give what the expressions of a workflow can refer to, as the planner does."""
    outputs = {key: frozenset(each.outputs) for key, each in workflows.items()}
    called = {step.step_id: outputs.get(step.workflow or "", frozenset()) for step in planned.steps}
    return Scope(
        version=description.arazzo,
        inputs=planned.input_names,
        steps={step.step_id: frozenset(step.outputs) | called[step.step_id] for step in workflow.steps},
        workflows={
            each.workflow_id: (workflows[each.workflow_id].input_names, frozenset(each.outputs))
            for each in description.workflows
            if each.workflow_id in workflows
        },
        sources=frozenset(each.name for each in description.source_descriptions),
        earlier=sole_outputs(workflow, frozenset[str]().union(*called.values())),
    )


_OF_WORKFLOWS: Final = ("unqualified-workflow-id", "spelled-out-workflow")


class _Walk:
    """One workflow. Each place gives the changes that belong together, also where there are none."""

    def __init__(
        self,
        document: Document,
        description: Description,
        workflow: Workflow,
        planned: PlannedWorkflow,
        scope: Scope,
        reported: Mapping[tuple[str, str], Diagnostic],
    ) -> None:
        self.document = document
        self.description = description
        self.workflow = workflow
        self.planned = planned
        self.scope = scope
        self.reported = reported

    def places(self) -> Iterator[tuple[str, list[Change]]]:
        """Give every place, with its changes."""
        steps = {step.step_id: step for step in self.planned.steps}
        for step in self.workflow.steps:
            yield from self.step(step, steps[step.step_id])
        yield from self.values(self.workflow.outputs, f"{self.workflow.pointer}/outputs")

    def step(self, step: Step, planned: PlannedStep) -> Iterator[tuple[str, list[Change]]]:
        """Look at a step, with what holds for it of its workflow."""
        holds = effective(step, self.workflow, self.description.components)
        yield from self.target(step, planned)
        yield from self.parameters(holds.parameters)
        for parameter in holds.parameters:
            yield from self.misplaced(step, parameter, planned)
        yield from self.in_body(step, holds.parameters)
        if step.request_body is not None:
            body = step.request_body
            if isinstance(body.payload, str):
                yield from self.text(body.payload, f"{body.pointer}/payload", whole=body.payload.startswith("$"))
            elif body.payload is not MISSING:
                yield from self.values(body.payload, f"{body.pointer}/payload")
            for each in body.replacements:
                yield from self.values(each.value, f"{each.pointer}/value")
        yield from self.criteria(step.success_criteria)
        yield from self.values(step.outputs, f"{step.pointer}/outputs")
        for succeeded, ready in zip(holds.on_success, planned.on_success, strict=False):
            yield from self.action(step, succeeded, ready)
        for failed, ready in zip(holds.on_failure, planned.on_failure, strict=False):
            yield from self.action(step, failed, ready)

    # -- values -------------------------------------------------------------------------------------------------------

    def parameters(self, parameters: Iterable[Parameter]) -> Iterator[tuple[str, list[Change]]]:
        for each in parameters:
            yield from self.values(each.value, f"{each.pointer}/value")

    def values(self, value: Json, pointer: str) -> Iterator[tuple[str, list[Change]]]:
        """Look at every text of a value."""
        if isinstance(value, str):
            yield from self.text(value, pointer)
        elif isinstance(value, Mapping):
            for name, each in value.items():
                yield from self.values(each, join(pointer, str(name)))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                yield from self.values(each, join(pointer, index))
        elif (context := getattr(value, "context", None)) is not None:  # a Selector Object
            yield from self.text(context, f"{pointer}/context")

    def text(self, text: str, pointer: str, *, whole: bool = True) -> Iterator[tuple[str, list[Change]]]:
        better = in_text(text, self.scope, whole=whole)
        yield pointer, [] if better is None else [Change(pointer, better.rules[0], better.text)]

    # -- criteria -----------------------------------------------------------------------------------------------------

    def criteria(self, criteria: Iterable[Criterion]) -> Iterator[tuple[str, list[Change]]]:
        for each in criteria:
            yield each.pointer, self.criterion(each)

    def criterion(self, criterion: Criterion) -> list[Change]:
        """Give the changes of a criterion: of its condition, its members, its context."""
        better = rewritten(criterion, self.scope)
        language = language_of(criterion.condition, criterion.kind, criterion.context)
        changes: list[Change] = []
        simple = better is not None and "type" in better.gone
        if language != criterion.kind and not simple and self.lacks(f"{criterion.pointer}/type"):
            changes.append(Change(criterion.pointer, "forgotten-type", before=("type", language)))
        gone: set[str] = set()
        if better is not None:
            rule = better.rules[0]
            if better.condition != criterion.condition or criterion.split:
                changes.append(Change(f"{criterion.pointer}/condition", rule, better.condition))
            members = ((name, f"{criterion.pointer}/{name}") for name in better.gone)
            gone = {name for name, pointer in members if not self.lacks(pointer)}
            changes += [Change(f"{criterion.pointer}/{name}", rule) for name in sorted(gone)]
        if criterion.context is not None and "context" not in gone and not criterion.split:
            context = proper(criterion.context, self.scope)
            if context is not None:
                changes.append(Change(f"{criterion.pointer}/context", context.rules[0], context.text))
        elif language in {"jsonpath", "xpath"} and not simple and self.lacks(f"{criterion.pointer}/context"):
            implied = ("context", "$response.body")
            changes.append(Change(criterion.pointer, "implied-context", before=implied))
        return changes

    def lacks(self, pointer: str) -> bool:
        return self.document.find(pointer) is MISSING

    # -- actions and targets ------------------------------------------------------------------------------------------

    def action(
        self, step: Step, action: SuccessAction | FailureAction, planned: PlannedAction
    ) -> Iterator[tuple[str, list[Change]]]:
        yield from self.criteria(action.criteria)
        parameters = [each for each in action.parameters if isinstance(each, Parameter)]
        yield from self.parameters(parameters)
        pointer = f"{action.pointer}/stepId"
        own = action.pointer.startswith(f"{step.pointer}/")
        if own and action.type == "retry" and action.step_id == step.step_id:
            yield pointer, [Change(pointer, "retry-self-step")]
        pointer = f"{action.pointer}/workflowId"
        yield pointer, self.qualified(pointer, planned.workflow)

    def target(self, step: Step, planned: PlannedStep) -> Iterator[tuple[str, list[Change]]]:
        """Look at what a step calls."""
        pointer = f"{step.pointer}/operationId"
        operation = planned.operation
        if ("unqualified-operation-id", pointer) in self.reported and operation is not None:
            name = f"$sourceDescriptions.{operation.source}.{operation.operation_id}"
            known = self.description.source(operation.source) is not None and operation.operation_id
            yield pointer, [Change(pointer, "unqualified-operation-id", name)] if known else []
        elif ("operation-id-case", pointer) in self.reported and operation is not None and step.operation_id:
            head = step.operation_id[: len(step.operation_id) - len(operation.operation_id)]
            yield pointer, [Change(pointer, "operation-id-case", head + operation.operation_id)]
        pointer = f"{step.pointer}/operationPath"
        for rule in ("operation-path-unbraced", "loose-operation-path"):
            if (rule, pointer) in self.reported and operation is not None:
                yield pointer, [Change(pointer, rule, path_of(operation))]
        pointer = f"{step.pointer}/workflowId"
        yield pointer, self.qualified(pointer, planned.workflow or "")

    def qualified(self, pointer: str, key: str) -> list[Change]:
        """Write a workflowId of another document with the name of its source."""
        name, _, workflow_id = key.partition("#")
        rule = next((each for each in _OF_WORKFLOWS if (each, pointer) in self.reported), "")
        if not rule or not workflow_id or self.description.source(name) is None:
            return []
        return [Change(pointer, rule, f"$sourceDescriptions.{name}.{workflow_id}")]

    def misplaced(self, step: Step, parameter: Parameter, planned: PlannedStep) -> Iterator[tuple[str, list[Change]]]:
        """Write a path parameter that was spelt or placed otherwise as it was taken."""
        if ("path-parameter", parameter.pointer) not in self.reported:
            return
        taken = next((each for each in planned.arguments if each.pointer == parameter.pointer), None)
        own = parameter.pointer.startswith(f"{step.pointer}/")
        changes = []
        if own and taken is not None and taken.location is not None and parameter.in_ is not None:
            if taken.name != parameter.name:
                changes.append(Change(f"{parameter.pointer}/name", "path-parameter", taken.name))
            if taken.location != parameter.in_:
                changes.append(Change(f"{parameter.pointer}/in", "path-parameter", taken.location))
        yield parameter.pointer, changes

    def in_body(self, step: Step, parameters: Iterable[Parameter]) -> Iterator[tuple[str, list[Change]]]:
        """Write a step's own parameters of the body as its request body, if it has no other."""
        pointer = f"{step.pointer}/parameters"
        inside = [each for each in parameters if each.in_ == "body"]
        if not inside or step.request_body is not None or not all(_below(pointer, each.pointer) for each in inside):
            return
        finding = self.reported.get(("body-parameter", inside[0].pointer))
        if finding is not None and finding.repair is not None:
            yield pointer, [Change(pointer, "body-parameter", finding.repair.text, what="moved")]


def _below(pointer: str, other: str) -> bool:
    return other.startswith(f"{pointer}/")
