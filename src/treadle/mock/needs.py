"""What the outputs of a document need to find in answers.

An output names a place in an answer; later steps, and the workflow's own outputs, may go on from there
(`$steps.list.outputs.items[0].id`). Following every expression back to the answer that it comes from gives, for each
step, the places that must exist, and, where the value is used as a parameter that somebody describes, its schema.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from treadle.arazzo.criteria.outline import query_path
from treadle.arazzo.expressions import Expression, Template, nodes
from treadle.arazzo.expressions.selectors import Selector
from treadle.arazzo.plan import Plan, PlannedArgument, PlannedStep, PlannedWorkflow
from treadle.mock.paths import path_of
from treadle.mock.samples import EACH, Path, Sampler
from treadle.seams import Operation
from treadle.sources.walk import Node

__all__ = ["Need", "inputs_schema", "needs_of"]

# Outputs that come from each other can be followed for ever, each time a level deeper.
_MOST_WISHES: Final = 20_000
_LONGEST_TAIL: Final = 40


@dataclass(frozen=True, slots=True)
class Need:
    """A place in an answer that must exist: a path into the body, or a header. `hint` is what a user of it wants.

    `must`: a request cannot be built without it, so the place must exist even where the description has another shape.
    """

    path: Path = ()
    header: str = ""
    hint: Node | None = None
    must: bool = False


@dataclass(frozen=True, slots=True)
class _Wish:
    """Somebody wants `tail` of an output: of a step, or ("") of a whole workflow."""

    workflow: str
    step_id: str
    name: str
    tail: Path
    hint: Node | None = None
    must: bool = False

    def onward(self, workflow: str, step_id: str, name: str, tail: Path) -> _Wish:
        """Give the wish that this one is at the place that an output comes from."""
        return replace(self, workflow=workflow, step_id=step_id, name=name, tail=(*tail, *self.tail))


def needs_of(plan: Plan) -> Mapping[tuple[str, str], tuple[Need, ...]]:
    """Give the needs of every step of a plan, by workflow and step."""
    found: dict[tuple[str, str], dict[tuple[object, ...], Need]] = {}
    waiting = deque(wish for key, workflow in plan.workflows.items() for wish in _wishes(plan, key, workflow))
    # A wish is followed once: an output may come from itself. Kept whole, so that the id of its hint stays its own.
    met: dict[tuple[object, ...], _Wish] = {}
    while waiting:
        wish = waiting.popleft()
        mark = (wish.workflow, wish.step_id, wish.name, wish.tail, id(wish.hint), wish.must)
        if mark in met or len(met) > _MOST_WISHES or len(wish.tail) > _LONGEST_TAIL:
            continue
        met[mark] = wish
        workflow = plan.workflows.get(wish.workflow)
        if workflow is None:
            continue
        if not wish.step_id:
            template = workflow.outputs.get(wish.name)
            waiting += _through(wish.workflow, template, wish) if template else ()
            continue
        if wish.step_id not in workflow.index:
            continue
        step = workflow.steps[workflow.index[wish.step_id]]
        template = step.outputs.get(wish.name)
        if template is None:
            if step.workflow:
                waiting.append(wish.onward(step.workflow, "", wish.name, ()))
            continue
        for need in _direct(template, wish):
            known = found.setdefault((wish.workflow, wish.step_id), {})
            key = (need.path, need.header)
            before = known.get(key, need)
            known[key] = replace(need, hint=need.hint or before.hint, must=need.must or before.must)
        waiting += _through(wish.workflow, template, wish, callee=step.workflow or "")
    return {key: tuple(each.values()) for key, each in found.items()}


def _wishes(plan: Plan, key: str, workflow: PlannedWorkflow) -> Iterator[_Wish]:
    """Give what a workflow's own expressions want."""
    for step in workflow.steps:
        for name in step.outputs:
            yield _Wish(key, step.step_id, name, ())
        for argument in step.arguments:
            hint = _hint(plan, step, argument)
            for expression in argument.value.expressions:
                yield from _wish(plan, key, expression, hint, must=argument.location == "path")
        for expression in _expressions(step):
            yield from _wish(plan, key, expression, None)
    for name in workflow.outputs:
        yield _Wish(key, "", name, ())


def _expressions(step: PlannedStep) -> Iterator[Expression]:
    yield from step.payload.expressions if step.payload else ()
    for replacement in step.replacements:
        yield from replacement.value.expressions
    for criterion in step.success:
        yield from criterion.expressions
    for action in (*step.on_success, *step.on_failure):
        for criterion in action.criteria:
            yield from criterion.expressions
        for argument in action.parameters:
            yield from argument.value.expressions


def _wish(plan: Plan, key: str, expression: Expression, hint: Node | None, *, must: bool = False) -> Iterator[_Wish]:
    match expression:
        case nodes.StepReference(step_id=step_id, name=name, tail=tail) if name:
            yield _Wish(key, step_id, name, path_of(tail), hint, must)
        case nodes.WorkflowReference(workflow_id=workflow_id, part="outputs", name=name, tail=tail) if name:
            mine = plan.workflows[key].document
            for other, workflow in plan.workflows.items():
                if workflow.workflow_id == workflow_id and workflow.document == mine:
                    yield _Wish(other, "", name, path_of(tail), hint, must)


def _hint(plan: Plan, step: PlannedStep, argument: PlannedArgument) -> Node | None:
    """Give the schema of a parameter whose value is a single expression."""
    if len(argument.value.expressions) != 1:
        return None
    if step.workflow:
        callee = plan.workflows.get(step.workflow)
        return Sampler().at(inputs_schema(callee), (argument.name,)) if callee else None
    operation: Operation | None = step.operation
    for declared in operation.parameters if operation else ():
        if declared.name == argument.name and declared.location == argument.location:
            return Node.whole(declared.schema, "") if isinstance(declared.schema, dict) else None
    return None


def inputs_schema(workflow: PlannedWorkflow) -> Node:
    """Give the schema of a workflow's inputs, with the document that its references mean."""
    inputs = workflow.inputs
    return replace(Node.whole(inputs.document.value, inputs.document.uri), pointer=inputs.pointer, value=inputs.schema)


def _direct(template: Template, wish: _Wish) -> Iterator[Need]:
    for selector in template.selectors:
        match selector.context:
            case nodes.Body(side="response", tail=tail):
                yield Need((*path_of(tail), *_selected(selector), *wish.tail), hint=wish.hint, must=wish.must)
    contexts = [selector.context for selector in template.selectors]
    for expression in template.expressions:
        if expression in contexts:
            continue
        match expression:
            case nodes.Body(side="response", tail=tail):
                yield Need((*path_of(tail), *wish.tail), hint=wish.hint, must=wish.must)
            case nodes.HeaderReference(side="response", name=name):
                yield Need(header=name, hint=wish.hint, must=wish.must)


def _selected(selector: Selector) -> Path:
    """Give the path of a Selector Object, as far as one can be said."""
    if selector.kind == "jsonpointer":
        return tuple(selector.text.removeprefix("#").split("/")[1:])
    steps = query_path(selector.text) if selector.kind == "jsonpath" else None
    return tuple(each if isinstance(each, (str, int)) else EACH for each in steps or ())


def _through(key: str, template: Template, wish: _Wish, callee: str = "") -> Iterator[_Wish]:
    """Give what an output of other outputs passes on."""
    for expression in template.expressions:
        match expression:
            case nodes.StepReference(step_id=step_id, name=name, tail=tail) if name:
                yield wish.onward(key, step_id, name, path_of(tail))
            case nodes.OutputReference(name=name, tail=tail) if callee:
                yield wish.onward(callee, "", name, path_of(tail))
