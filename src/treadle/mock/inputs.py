"""Inputs to try a workflow with, from the schema of its inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from treadle.arazzo.criteria import outline as asks
from treadle.arazzo.criteria.outline import Outline, outline
from treadle.arazzo.expressions import Context, Expression, nodes
from treadle.arazzo.plan import Plan, PlannedWorkflow
from treadle.arazzo.plan.indispensable import indispensable
from treadle.mock.needs import inputs_schema
from treadle.mock.paths import path_of
from treadle.mock.samples import Sampler
from treadle.seams import MISSING, Json

__all__ = ["sample_inputs", "variants"]

MOST_VARIANTS: Final = 24


def sample_inputs(workflow: PlannedWorkflow, *, optional: bool = False) -> dict[str, Json]:
    """Give inputs that the schema takes: the required ones without a default, and what a run cannot do without.

    `optional`: all that the schema knows or an expression of the workflow uses.
    """
    sampler = Sampler()
    schema = inputs_schema(workflow)
    declared = workflow.inputs.declared
    names = [name for name, each in declared.items() if optional or (each.required and each.default is MISSING)]
    names += _used(workflow) if optional else _indispensable(workflow, set(names))
    made = {name: sampler.sample(sampler.at(schema, (name,)), name) for name in dict.fromkeys(names)}
    for name, path in _navigated(workflow):
        if name in made and (optional or isinstance(made[name], (dict, list))):
            made[name] = sampler.ensure(made[name], sampler.at(schema, (name,)), path, name=name)
    return made


def _indispensable(workflow: PlannedWorkflow, given: set[str]) -> Iterator[str]:
    """Give the inputs without which a request of the workflow cannot be built, or a step cannot succeed."""
    known = given | {name for name, each in workflow.inputs.declared.items() if each.default is not MISSING}
    for step in workflow.steps:
        for name, _ in indispensable(step, known):
            known.add(name)
            yield name
        for expression in (each for criterion in step.success for each in criterion.expressions):
            if isinstance(expression, nodes.InputReference) and expression.name and expression.name not in known:
                known.add(expression.name)
                yield expression.name


def _used(workflow: PlannedWorkflow) -> Iterator[str]:
    for expression in _expressions(workflow):
        if isinstance(expression, nodes.InputReference) and expression.name:
            yield expression.name


def _navigated(workflow: PlannedWorkflow) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for expression in _expressions(workflow):
        if isinstance(expression, nodes.InputReference) and expression.tail:
            yield expression.name, path_of(expression.tail)  # type: ignore[misc]


def _expressions(workflow: PlannedWorkflow) -> Iterator[Expression]:
    for step in workflow.steps:
        yield from step.expressions
    for template in workflow.outputs.values():
        yield from template.expressions


def variants(plan: Plan) -> list[dict[str, Json]]:
    """Give guesses of a run's inputs: all that there may be, and for those that decide about the way, each way."""
    workflow = plan.workflows[plan.entry]
    base = sample_inputs(workflow, optional=True)
    deciding = _deciding(plan)
    choices: list[list[tuple[str, Json, bool]]] = []
    for name in base:
        if name in deciding:
            declared = workflow.inputs.declared.get(name)
            may_lack = declared is None or not declared.required
            values = list(_values(base[name], deciding[name]))
            choices.append([(name, value, True) for value in values] + ([(name, None, False)] if may_lack else []))
    found: list[dict[str, Json]] = []
    for chosen in itertools.islice(itertools.product(*choices), MOST_VARIANTS):
        inputs = dict(base)
        for name, value, there in chosen:
            if there:
                inputs[name] = value
            else:
                inputs.pop(name, None)
        found.append(inputs)
    # Not everything that a run may be given fits together; what it must be given does.
    found.append(sample_inputs(workflow))
    return found


def _values(sample: Json, literals: list[Json]) -> Iterator[Json]:
    yield sample
    if isinstance(sample, bool):
        yield not sample
    elif isinstance(sample, list):
        yield []
    else:
        yield from (each for each in literals if each != sample and each is not None and type(each) is type(sample))


def _deciding(plan: Plan) -> Mapping[str, list[Json]]:
    """Give the inputs that criteria look at, with what they are compared with."""
    found: dict[str, list[Json]] = {}
    for workflow in plan.workflows.values():
        for step in workflow.steps:
            actions = (*step.on_success, *step.on_failure)
            for criterion in (*step.success, *(each for action in actions for each in action.criteria)):
                made = outline(criterion, Context())
                for operand, other in _compared(made) if made is not None else ():
                    name = _input_of(operand)
                    if name:
                        literals = found.setdefault(name, [])
                        if isinstance(other, asks.Constant):
                            literals.append(other.value)
    return found


def _compared(condition: Outline) -> Iterator[tuple[asks.Operand, asks.Operand | None]]:
    match condition:
        case asks.All() | asks.Either():
            for each in condition.parts:
                yield from _compared(each)
        case asks.Not():
            yield from _compared(condition.inner)
        case asks.Compare():
            yield condition.left, condition.right
            yield condition.right, condition.left
        case asks.Test():
            yield condition.operand, None
        case asks.Matches():
            yield condition.subject, None
        case _:
            return


def _input_of(operand: asks.Operand) -> str:
    match operand:
        case asks.Looked(nodes.InputReference(name=name)):
            return name
        case asks.Selected(nodes.InputReference(name=name), path):
            return name or next((each for each in path if isinstance(each, str)), "")
        case asks.Length(of):
            return _input_of(of)
        case _:
            return ""
