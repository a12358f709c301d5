"""The order of steps (1.1, "Step Dependencies and Execution Order").

Steps run in the order of the document. Where a workflow uses `dependsOn`, its steps are put into an order that
satisfies what is declared and what outputs imply (`$steps.x.outputs.y` needs x), and that otherwise stays as close to
the document's as it can be: of the steps that are ready, the first in the document comes next. Where it does not,
a reference to the outputs of a later step is an error (a warning in 1.0, which does not say so), unless a goto or a
retry leads from that step back to the reference: then it has a value from the second time on, and that may be meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from treadle.arazzo import model
from treadle.arazzo.expressions.nodes import StepReference
from treadle.arazzo.plan.documents import Part
from treadle.arazzo.plan.values import PlannedStep

__all__ = ["ordered"]

Needs = dict[str, set[str]]


def ordered(part: Part, workflow: model.Workflow, steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    """Give the steps of a workflow in the order in which they run; what no order can satisfy is reported."""
    explicit = _explicit(part, workflow, steps)
    implied = _implied(steps)
    if not any(step.depends_on for step in steps):
        _forward_references(part, steps, implied)
        return tuple(steps)
    needs = {name: explicit[name] | implied[name] for name in explicit}
    result: list[PlannedStep] = []
    waiting = list(steps)
    while waiting:
        done = {each.step_id for each in result}
        ready = next((each for each in waiting if needs[each.step_id] <= done), None)
        if ready is None:
            _circle(part, waiting, needs)
            return tuple(steps)
        result.append(ready)
        waiting.remove(ready)
    return tuple(result)


def _explicit(part: Part, workflow: model.Workflow, steps: Sequence[PlannedStep]) -> Needs:
    """Give what `dependsOn` says about steps of this workflow."""
    here = part.key(workflow.workflow_id)
    known = {step.step_id for step in steps}
    return {
        step.step_id: {each.step for each in step.depends_on if each.workflow == here and each.step in known}
        for step in steps
    }


def _implied(steps: Sequence[PlannedStep]) -> Needs:
    """Give what references to outputs say, but for those that a loop satisfies."""
    position = {step.step_id: index for index, step in enumerate(steps)}
    leads_to = _flow(steps)
    needs: Needs = {}
    for step in steps:
        named = {each.step_id for each in step.expressions if isinstance(each, StepReference)} - {step.step_id}
        needs[step.step_id] = {
            name
            for name in named & position.keys()
            if position[name] < position[step.step_id] or not _leads(leads_to, name, step.step_id)
        }
    return needs


def _flow(steps: Sequence[PlannedStep]) -> Mapping[str, set[str]]:
    """Give where each step can lead to: the next one, where its actions go, and back from what a retry runs first."""
    flow: dict[str, set[str]] = {step.step_id: set() for step in steps}
    for step, following in pairwise(steps):
        flow[step.step_id].add(following.step_id)
    for step in steps:
        for action in (*step.on_success, *step.on_failure):
            if action.step in flow:
                flow[step.step_id].add(action.step)
                if action.type == "retry":
                    flow[action.step].add(step.step_id)
    return flow


def _leads(flow: Mapping[str, set[str]], start: str, goal: str) -> bool:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for each in flow[waiting.pop()] - seen:
            if each == goal:
                return True
            seen.add(each)
            waiting.append(each)
    return False


def _forward_references(part: Part, steps: Sequence[PlannedStep], implied: Needs) -> None:
    position = {step.step_id: index for index, step in enumerate(steps)}
    flow = _flow(steps)
    for step in steps:
        if step.step_id in _sent(step) and not _leads(flow, step.step_id, step.step_id):
            part.report(
                "forward-reference",
                f"the step {step.step_id!r} uses outputs of its own in what it sends",
                step.pointer,
                severity="error" if part.description.version >= (1, 1) else "warning",
                hint="it has none before the answer is there",
            )
        for name in sorted(implied[step.step_id], key=position.__getitem__):
            if position[name] > position[step.step_id]:
                part.report(
                    "forward-reference",
                    f"the step {step.step_id!r} uses outputs of {name!r}, which runs after it",
                    step.pointer,
                    severity="error" if part.description.version >= (1, 1) else "warning",
                    hint=f"put {name!r} before it, or add `dependsOn: [{name}]` (Arazzo 1.1)",
                )


def _sent(step: PlannedStep) -> set[str]:
    """Give the steps whose outputs a request is made of."""
    templates = [each.value for each in step.arguments] + [each.value for each in step.replacements]
    templates += [step.payload] if step.payload is not None else []
    every = (each for template in templates for each in template.expressions)
    return {each.step_id for each in every if isinstance(each, StepReference)}


def _circle(part: Part, waiting: Sequence[PlannedStep], needs: Needs) -> None:
    """Report steps that wait for each other: follow what is needed until a step comes again."""
    names = {step.step_id for step in waiting}
    way = [waiting[0].step_id]
    while way.count(way[-1]) < 2:
        way.append(min(needs[way[-1]] & names))
    circle = way[way.index(way[-1]) :]
    first = next(step for step in waiting if step.step_id in circle)
    start = circle.index(first.step_id)
    shown = [*circle[start:-1], *circle[: start + 1]] if start else circle
    part.report(
        "step-order",
        f"these steps wait for each other: {' → '.join(shown)}",
        first.pointer,
        hint="the outputs that a step uses count as dependencies, too",
    )
