"""What later steps ask of an answer: criteria about outputs of an earlier step, or of a workflow that was called.

`$steps.find.outputs.state == 'ready'` can be satisfied by the answer to `find` alone, however many steps later it is
asked. Every such condition is followed back to the step whose answer decides it, and written as a condition on that
answer. They are hopes: an answer that cannot satisfy them is given all the same, and the later step says what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from treadle.arazzo.criteria import Criterion
from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.outline import Outline, outline
from treadle.arazzo.expressions import Context, Expression, Template, nodes
from treadle.arazzo.plan import Plan, PlannedAction, PlannedStep, PlannedWorkflow
from treadle.mock.places import over_operands
from treadle.mock.values import is_bad

__all__ = ["Hopes", "hopes_of", "of_answer"]

_DEEPEST = 20
"""Outputs that one output may go through."""


@dataclass(slots=True)
class Hopes:
    """Conditions on the answer to one step.

    `always` are those of success criteria; `back` those of actions that lead back, which a poll wants for the first
    visits; `ahead` those of the action that is wanted afterwards.
    """

    always: list[Outline] = field(default_factory=list)
    back: list[Outline] = field(default_factory=list)
    ahead: list[Outline] = field(default_factory=list)

    def at(self, *, round_again: bool) -> tuple[Outline, ...]:
        """Give the conditions of a visit."""
        return (*self.always, *(self.back if round_again and self.back else self.ahead))


_Place = tuple[str, str]
"""A workflow of the plan and a step of it."""


def hopes_of(plan: Plan, takes: Mapping[str, str]) -> Mapping[_Place, Hopes]:
    """Give the hopes of every step of a plan; `takes` names the action that a step is to take."""
    found: dict[_Place, Hopes] = {}
    for key, workflow in plan.workflows.items():
        for step in workflow.steps:
            for query in _queries(step):
                found.setdefault((key, step.step_id), Hopes()).always.append(query)
            for kind, criterion in _asked(workflow, step, takes):
                for place, condition in _conditions(plan, key, step, criterion):
                    getattr(found.setdefault(place, Hopes()), kind).append(condition)
    return found


def _queries(step: PlannedStep) -> Iterator[Outline]:
    """Give the XPaths by which outputs look into the answer: they want to find something."""
    for selector in (each for template in step.outputs.values() for each in template.selectors):
        if selector.kind == "xpath" and selector.context.reads_answer_body:
            yield asks.XPath(selector.context, selector.text)


def of_answer(plan: Plan, place: _Place, condition: Outline) -> Outline:
    """Write what a condition of a step says of its own outputs as what it says of the answer."""
    key, step_id = place
    step = plan.workflows[key].steps[plan.workflows[key].index[step_id]]

    def change(operand: asks.Operand) -> asks.Operand:
        found = _source(plan, key, step, operand)
        return found[1] if found is not None and found[0] == place else operand

    return over_operands(condition, change)


def _asked(workflow: PlannedWorkflow, step: PlannedStep, takes: Mapping[str, str]) -> Iterator[tuple[str, Criterion]]:
    """Give the criteria that a step wants to hold, with the list of `Hopes` that they belong to."""
    yield from (("always", each) for each in step.success)
    wanted = [each for each in (*step.on_success, *step.on_failure) if each.name == takes.get(step.step_id)]
    if wanted:
        yield from (("always", each) for each in wanted[0].criteria)
        return
    back = [each for each in step.on_success if workflow.leads_back(step.step_id, each)]
    ahead = [each for each in step.on_success if each not in back]
    ahead.sort(key=lambda each: is_bad(asks.All(tuple(_outlines(each)))))
    for kind, actions in (("back", back), ("ahead", ahead)):
        yield from ((kind, each) for action in actions[:1] for each in action.criteria)


def _outlines(action: PlannedAction) -> Iterator[Outline]:
    for criterion in action.criteria:
        made = outline(criterion, Context())
        if made is not None:
            yield made


def _conditions(plan: Plan, key: str, step: PlannedStep, criterion: Criterion) -> Iterator[tuple[_Place, Outline]]:
    """Write what a criterion says of outputs as conditions on the answers that they come from."""
    made = outline(criterion, Context())
    for atom in _atoms(made) if made is not None else ():
        match atom:
            case asks.Compare():
                yield from _compared(plan, key, step, atom)
            case asks.Test():
                found = _source(plan, key, step, atom.operand)
                if found is not None:
                    yield found[0], asks.Test(found[1], exists=atom.exists)
            case asks.Matches():
                found = _source(plan, key, step, atom.subject)
                if found is not None:
                    yield found[0], asks.Matches(found[1], atom.pattern, whole=atom.whole)


def _atoms(condition: Outline) -> Iterator[Outline]:
    match condition:
        case asks.All():
            for each in condition.parts:
                yield from _atoms(each)
        case asks.Either():
            yield from _atoms(condition.parts[0]) if condition.parts else ()
        case _:
            yield condition


def _compared(plan: Plan, key: str, step: PlannedStep, atom: asks.Compare) -> Iterator[tuple[_Place, Outline]]:
    left, right = _source(plan, key, step, atom.left), _source(plan, key, step, atom.right)
    if left is not None and _known(atom.right, left[0], key):
        yield left[0], asks.Compare(left[1], atom.operator, atom.right)
    elif right is not None and _known(atom.left, right[0], key):
        yield right[0], asks.Compare(atom.left, atom.operator, right[1])


def _known(operand: asks.Operand, place: _Place, key: str) -> bool:
    """Tell whether an operand has its value already when that step is answered."""
    if isinstance(operand, asks.Looked):
        return isinstance(operand.expression, nodes.InputReference) and place[0] == key
    return isinstance(operand, asks.Constant)


# ---------------------------------------------------------------------------------------------------------------------
# Where a value comes from
# ---------------------------------------------------------------------------------------------------------------------


def _source(
    plan: Plan, key: str, step: PlannedStep, operand: asks.Operand
) -> tuple[_Place, asks.Looked | asks.Selected | asks.Length] | None:
    """Write an operand that is an output as the part of the answer that it comes from."""
    match operand:
        case asks.Looked():
            found = _followed(plan, key, step, operand.expression)
            return None if found is None else (found[0], asks.Looked(found[1]))
        case asks.Selected() if operand.context is not None:
            found = _followed(plan, key, step, operand.context)
            return None if found is None else (found[0], asks.Selected(found[1], operand.path))
        case asks.Length():
            inner = _source(plan, key, step, operand.of)
            return (inner[0], asks.Length(inner[1])) if inner and isinstance(inner[1], asks.Selected) else None
    return None


def _followed(plan: Plan, key: str, step: PlannedStep, expression: Expression) -> tuple[_Place, Expression] | None:
    """Follow a reference to an output, through other outputs, to an answer; None for every other expression."""
    tail: nodes.Tail = ()
    for _ in range(_DEEPEST):
        template: Template | None
        match expression:
            case nodes.StepReference(step_id=step_id, name=name) if step_id in plan.workflows[key].index:
                step = plan.workflows[key].steps[plan.workflows[key].index[step_id]]
                template = step.outputs.get(name)
                if template is None and step.workflow:
                    key = step.workflow
                    template = plan.workflows[key].outputs.get(name)
            case nodes.OutputReference(name=name) if step.workflow:
                key = step.workflow
                template = plan.workflows[key].outputs.get(name)
            case nodes.WorkflowReference(workflow_id=workflow_id, part="outputs", name=name):
                key = _named(plan, key, workflow_id)
                template = plan.workflows[key].outputs.get(name) if key else None
            case _:
                return None
        tail = (*getattr(expression, "tail", ()), *tail)
        if template is None or len(template.expressions) != 1 or template.selectors:
            return None
        expression = template.expressions[0]
        if isinstance(expression, nodes.Body) and expression.side == "response":
            return (key, step.step_id), nodes.Body("response", (*expression.tail, *tail))
        if not tail and _of_answer(expression):
            return (key, step.step_id), expression
    return None


def _of_answer(expression: Expression) -> bool:
    if isinstance(expression, nodes.HeaderReference):
        return expression.side == "response"
    return isinstance(expression, nodes.Plain) and expression.name == "statusCode"


def _named(plan: Plan, key: str, workflow_id: str) -> str:
    document = plan.workflows[key].document
    own = (
        other for other, each in plan.workflows.items() if (each.workflow_id, each.document) == (workflow_id, document)
    )
    return next(own, "")
